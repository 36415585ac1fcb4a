package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/spf13/cobra"
)

// callLabel is what the short-lived tokens of `mcpd call` are known by.
const callLabel = "mcpd call"

type callFlags struct {
	user    string
	asJSON  bool
	timeout time.Duration
}

func (c *cli) callCommand() *cobra.Command {
	var f callFlags
	cmd := &cobra.Command{
		Use: "call SERVER TOOL [JSON]", Short: "call one tool through the front door, as a client would", Args: between(2, 3),
		Long: `Call one tool over HTTP with a short-lived token, exactly as a client does, and print its answer.
JSON is the object of the tool's arguments; the default is {}.`,
		Example:           `  mcpd call demo echo '{"text":"hi"}'`,
		ValidArgsFunction: c.completeServers,
		RunE: func(cmd *cobra.Command, args []string) error {
			arguments := json.RawMessage("{}")
			if len(args) == 3 {
				arguments = json.RawMessage(args[2])
			}
			var object map[string]json.RawMessage
			if err := json.Unmarshal(arguments, &object); err != nil {
				return usageError{fmt.Sprintf("the arguments must be a JSON object such as '{\"text\":\"hi\"}': %v", err)}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
			defer cancel()
			res, err := c.callTool(ctx, f, args[0], args[1], arguments)
			if err != nil {
				return fmt.Errorf("cannot call %s of %s: %w", args[1], args[0], err)
			}
			return c.printResult(res, f.asJSON)
		},
	}
	cmd.Flags().StringVar(&f.user, "user", "", "the `USER` to call as (default: the only user there is)")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print the whole result as JSON")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 2*time.Minute, "how long to wait")
	return cmd
}

func (c *cli) callTool(ctx context.Context, f callFlags, server, tool string, arguments json.RawMessage) (*mcp.CallToolResult, error) {
	admin, err := c.admin()
	if err != nil {
		return nil, err
	}
	var t tokenAnswer
	req := tokenRequest{User: f.user, Server: server, TTL: int64(f.timeout/time.Second) + 60, Label: callLabel}
	if err := admin.post(ctx, "/v1/tokens", req, &t); err != nil {
		return nil, err
	}
	options := &mcp.ClientOptions{Capabilities: &mcp.ClientCapabilities{}}
	if isTerminal(c.stdin) { // only a person can answer a server's questions
		options.ElicitationHandler = (&answerer{bufio.NewReader(c.stdin), c.stderr}).elicit
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "mcpd-call", Version: readBuild().Version}, options)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: t.URL, HTTPClient: &http.Client{Transport: bearer{t.Token, http.DefaultTransport}}, DisableStandaloneSSE: true, MaxRetries: -1,
	}, nil)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	return session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
}

// bearer puts the token on every request.
type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.token == "" {
		return b.next.RoundTrip(r)
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

// printResult writes text contents as text and names the others; a tool that says it failed ends with exit code 1.
func (c *cli) printResult(res *mcp.CallToolResult, asJSON bool) error {
	if asJSON {
		if err := printJSON(c.stdout, res); err != nil {
			return err
		}
	} else if err := c.printContents(res); err != nil {
		return err
	}
	if res.IsError {
		return silentError{}
	}
	return nil
}

func (c *cli) printContents(res *mcp.CallToolResult) error {
	out := c.stdout
	if res.IsError {
		out = c.stderr
	}
	var errs []error
	for _, content := range res.Content {
		var err error
		switch v := content.(type) {
		case *mcp.TextContent:
			_, err = fmt.Fprintln(out, v.Text)
		case *mcp.ImageContent:
			_, err = fmt.Fprintf(out, "[image %s, %d bytes; --json prints it]\n", v.MIMEType, len(v.Data))
		case *mcp.AudioContent:
			_, err = fmt.Fprintf(out, "[audio %s, %d bytes; --json prints it]\n", v.MIMEType, len(v.Data))
		case *mcp.ResourceLink:
			_, err = fmt.Fprintf(out, "[resource %s]\n", v.URI)
		case *mcp.EmbeddedResource:
			_, err = fmt.Fprintf(out, "[resource %s]\n%s\n", v.Resource.URI, v.Resource.Text)
		}
		errs = append(errs, err)
	}
	if len(res.Content) == 0 && res.StructuredContent != nil {
		errs = append(errs, printJSON(out, res.StructuredContent))
	}
	return errors.Join(errs...)
}
