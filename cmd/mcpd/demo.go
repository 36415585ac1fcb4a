package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
	_ "time/tzdata" // the demo's time tool works on machines without zone files

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/spf13/cobra"
)

// demoCommand is the MCP server inside the binary: something real to call where neither Node nor Python is there.
func (c *cli) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use: "demo-server", Short: "a small MCP server on stdin and stdout, to try mcpd with", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := demoServer().Run(cmd.Context(), &mcp.IOTransport{Reader: io.NopCloser(c.stdin), Writer: nopWriteCloser{c.stdout}})
			if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		},
	}
}

type nopWriteCloser struct{ io.Writer }

func (nopWriteCloser) Close() error { return nil }

type (
	echoArgs struct {
		Text string `json:"text" jsonschema:"what to say back"`
	}
	timeArgs struct {
		Zone string `json:"zone,omitempty" jsonschema:"IANA time zone such as Europe/Berlin; default UTC"`
	}
	timeResult struct {
		Time string `json:"time" jsonschema:"the time now, RFC 3339"`
		Zone string `json:"zone" jsonschema:"the time zone it is given in"`
	}
	slowArgs struct {
		Seconds int `json:"seconds,omitempty" jsonschema:"how long to work, 1 to 60; default 3"`
	}
	greetArgs struct{}
)

func demoServer() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "mcpd-demo", Title: "mcpd demo", Version: readBuild().Version}, &mcp.ServerOptions{
		Instructions: "A small server to try mcpd with: echo, time, slow (reports progress) and greet (asks a question).",
		Capabilities: &mcp.ServerCapabilities{},
	})
	readOnly := &mcp.ToolAnnotations{ReadOnlyHint: true}
	mcp.AddTool(s, &mcp.Tool{Name: "echo", Description: "Say the text back.", Annotations: readOnly}, demoEcho)
	mcp.AddTool(s, &mcp.Tool{Name: "time", Description: "Tell the time now in a time zone.", Annotations: readOnly}, demoTime)
	mcp.AddTool(s, &mcp.Tool{Name: "slow", Description: "Work for some seconds and report progress each second.", Annotations: readOnly}, demoSlow)
	mcp.AddTool(s, &mcp.Tool{Name: "greet", Description: "Ask for a name, then greet.", Annotations: readOnly}, demoGreet)
	return s
}

func text(format string, args ...any) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprintf(format, args...)}}}
}

func demoEcho(_ context.Context, _ *mcp.CallToolRequest, in echoArgs) (*mcp.CallToolResult, any, error) {
	return text("%s", in.Text), nil, nil
}

func demoTime(_ context.Context, _ *mcp.CallToolRequest, in timeArgs) (*mcp.CallToolResult, timeResult, error) {
	loc := time.UTC
	if in.Zone != "" {
		var err error
		if loc, err = time.LoadLocation(in.Zone); err != nil {
			return nil, timeResult{}, fmt.Errorf("unknown time zone %q: give an IANA name such as Europe/Berlin", in.Zone)
		}
	}
	return nil, timeResult{Time: time.Now().In(loc).Format(time.RFC3339), Zone: loc.String()}, nil
}

func demoSlow(ctx context.Context, req *mcp.CallToolRequest, in slowArgs) (*mcp.CallToolResult, any, error) {
	n := in.Seconds
	if n == 0 {
		n = 3
	}
	if n < 1 || n > 60 {
		return nil, nil, fmt.Errorf("seconds must be 1 to 60, not %d", n)
	}
	token := req.Params.GetProgressToken()
	for i := 1; i <= n; i++ {
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(time.Second):
		}
		if token == nil {
			continue
		}
		p := &mcp.ProgressNotificationParams{ProgressToken: token, Progress: float64(i), Total: float64(n), Message: fmt.Sprintf("%d of %d seconds", i, n)}
		if err := req.Session.NotifyProgress(ctx, p); err != nil {
			return nil, nil, fmt.Errorf("cannot report progress: %w", err)
		}
	}
	return text("worked for %d seconds", n), nil, nil
}

// demoGreet elicits: in the 2026-07-28 revision by answering "input required", before that by a
// request of its own; the SDK's server does either.
func demoGreet(_ context.Context, req *mcp.CallToolRequest, _ greetArgs) (*mcp.CallToolResult, any, error) {
	answer, ok := req.Params.InputResponses["name"].(*mcp.ElicitResult)
	if !ok {
		return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"name": &mcp.ElicitParams{
			Message: "What is your name?",
			RequestedSchema: map[string]any{"type": "object", "required": []string{"name"},
				"properties": map[string]any{"name": map[string]any{"type": "string", "title": "Name", "maxLength": 80}}},
		}}}, nil, nil
	}
	if name, _ := answer.Content["name"].(string); answer.Action == "accept" && name != "" {
		return text("Hello, %s!", name), nil, nil
	}
	return text("Hello, whoever you are!"), nil, nil
}
