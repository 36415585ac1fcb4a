package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpd/mcpd/idp"
)

// tokenRequest asks for a personal token. TTL is in seconds.
type tokenRequest struct {
	User     string   `json:"user"`
	Server   string   `json:"server"`
	TTL      int64    `json:"ttl"`
	Label    string   `json:"label"`
	Tools    []string `json:"tools,omitempty"`
	ReadOnly bool     `json:"read_only,omitempty"`
}

// tokenAnswer carries the token, shown this once, and the one URL it is good for. Token is "" when auth.mode = "none".
type tokenAnswer struct {
	Token string `json:"token"`
	URL   string `json:"url"`
}

// tokenInfo is a token as the commands list it: without itself.
type tokenInfo struct {
	ID       string    `json:"id"` // the beginning of its SHA-256
	User     string    `json:"user"`
	Server   string    `json:"server"`
	Label    string    `json:"label,omitempty"`
	Tools    []string  `json:"tools,omitempty"` // empty: all
	ReadOnly bool      `json:"read_only"`
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires"`
}

func (c *cli) tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "token", Short: "make, list and revoke tokens for programs", Args: between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Sprintf("unknown command %q for %q: want create, list or revoke", args[0], "mcpd token")}
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(c.tokenCreateCommand(), c.tokenListCommand(), c.tokenRevokeCommand())
	return cmd
}

func (c *cli) tokenCreateCommand() *cobra.Command {
	var req tokenRequest
	var ttl, service string
	cmd := &cobra.Command{
		Use: "create --server SERVER", Short: "print a new token, good for one server, on standard output", Args: exactly(0),
		Long: `Makes a token for a program that cannot sign in by itself, and prints it: this once, mcpd keeps its hash only. It is
good for one server, as long as its user may use that, and can be limited to some tools.

It acts as a person (--user), or as a service of its own (--service NAME), who is made when there is none: a service
is nobody who can sign in, and a server lets it in by "service:NAME" in its allow list.`,
		Example: `  mcpd token create --server github --service ci --tool 'get_*' --tool list_issues --ttl 90d`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if req.Server == "" {
				return usageError{"which server? give --server NAME"}
			}
			life, err := parseDuration(ttl)
			if err != nil || life < time.Second {
				return usageError{fmt.Sprintf("--ttl must be a duration such as 12h or 90d and at least 1s, not %s", ttl)}
			}
			if service != "" {
				req.User = servicePrefix + service
			}
			admin, err := c.admin()
			if err != nil {
				return err
			}
			req.TTL = int64(life / time.Second)
			var t tokenAnswer
			if err := admin.post(cmd.Context(), "/v1/tokens", req, &t); err != nil {
				return err
			}
			fmt.Fprintln(c.stdout, t.Token)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&req.User, "user", "", "the `USER` it acts as (default: the only user there is)")
	f.StringVar(&service, "service", "", "the service it acts as: the user service:`NAME`")
	f.StringVar(&req.Server, "server", "", "the `SERVER` it is good for")
	f.StringArrayVar(&req.Tools, "tool", nil, "a tool that it may call, a `PATTERN` such as 'get_*'; may be given again (default: all)")
	f.BoolVar(&req.ReadOnly, "read-only", false, "only lists, prompts, resources and the tools that the server says change nothing")
	f.StringVar(&req.Label, "label", "", "a `NAME` to know it by")
	f.StringVar(&ttl, "ttl", "24h", "how long it is good for, such as 12h or 90d")
	cmd.MarkFlagsMutuallyExclusive("user", "service")
	_ = cmd.RegisterFlagCompletionFunc("server", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return c.serverNames(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
	})
	_ = cmd.RegisterFlagCompletionFunc("user", func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return c.completeUsers(cmd, nil, typed)
	})
	return cmd
}

func (c *cli) tokens(ctx context.Context) (all []tokenInfo, err error) {
	admin, err := c.admin()
	if err != nil {
		return nil, err
	}
	return all, admin.get(ctx, "/v1/tokens", &all)
}

func (c *cli) tokenListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "list the tokens that were made and are good, by the beginning of their hash", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := c.tokens(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.stdout, all)
			}
			w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tUSER\tSERVER\tTOOLS\tMADE\tUNTIL\tLABEL")
			for _, t := range all {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.User, t.Server, t.limits(),
					t.Created.Local().Format("2006-01-02 15:04"), t.Expires.Local().Format("2006-01-02 15:04"), t.Label)
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// limits is what the token may call, for people.
func (t tokenInfo) limits() string {
	tools := strings.Join(t.Tools, " ")
	switch {
	case t.ReadOnly && tools == "":
		return "read-only"
	case t.ReadOnly:
		return tools + " read-only"
	case tools == "":
		return "all"
	}
	return tools
}

func (c *cli) tokenRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "end a token at once, with the calls that it has under way", Args: exactly(1),
		Long: "Ends a token at once. ID is what 'mcpd token list' shows, its beginning, or the token itself.",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) (offers []string, _ cobra.ShellCompDirective) {
			if all, err := c.tokens(cmd.Context()); err == nil && len(args) == 0 { // without a daemon there are no offers
				for _, t := range all {
					offers = append(offers, cobra.CompletionWithDesc(t.ID, strings.TrimSpace(t.User+" at "+t.Server+" "+t.Label)))
				}
			}
			return offers, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, err := c.admin()
			if err != nil {
				return err
			}
			var t tokenInfo
			if err := admin.do(cmd.Context(), http.MethodDelete, "/v1/tokens/"+url.PathEscape(args[0]), nil, &t); err != nil {
				return err
			}
			fmt.Fprintf(c.stderr, "revoked %s of %s at %s\n", t.ID, t.User, t.Server)
			return nil
		},
	}
}

func infoOf(t idp.PersonalToken) tokenInfo {
	return tokenInfo{
		ID: t.ID, User: t.User, Server: t.Server, Label: t.Label, Tools: t.Tools, ReadOnly: !slices.Contains(t.Scopes, idp.ScopeWrite),
		Created: t.Created, Expires: t.Expires,
	}
}

func (d *daemon) adminToken(_ http.ResponseWriter, r *http.Request) (any, error) {
	var req tokenRequest
	if err := readAdmin(r, &req); err != nil {
		return nil, err
	}
	t, ok := d.world.Load().tenants[req.Server]
	if !ok {
		return nil, d.noServer(req.Server)
	}
	if d.issuer == nil {
		if req.Label == callLabel {
			return tokenAnswer{URL: t.url}, nil
		}
		return nil, d.needIssuer()
	}
	if req.User == "" {
		var err error
		if req.User, err = d.onlyUser(r.Context()); err != nil {
			return nil, err
		}
	}
	token, err := d.issuer.Mint(r.Context(), idp.MintRequest{
		User: req.User, Resource: t.url, TTL: time.Duration(req.TTL) * time.Second, Label: req.Label, Tools: req.Tools, ReadOnly: req.ReadOnly,
	})
	if err != nil {
		return nil, err
	}
	return tokenAnswer{Token: token, URL: t.url}, nil
}

func (d *daemon) adminTokens(_ http.ResponseWriter, r *http.Request) (any, error) {
	if err := d.needIssuer(); err != nil {
		return nil, err
	}
	known, err := d.issuer.PersonalTokens(r.Context())
	if err != nil {
		return nil, err
	}
	all := make([]tokenInfo, len(known))
	for i, t := range known {
		all[i] = infoOf(t)
	}
	return all, nil
}

func (d *daemon) adminRevokeToken(_ http.ResponseWriter, r *http.Request) (any, error) {
	if err := d.needIssuer(); err != nil {
		return nil, err
	}
	t, err := d.issuer.RevokePersonal(r.Context(), r.PathValue("token"))
	return infoOf(t), err
}

// onlyUser is the user a command means that names none: possible only where there is just one.
func (d *daemon) onlyUser(ctx context.Context) (string, error) {
	users, err := d.issuer.Users(ctx)
	if err != nil {
		return "", err
	}
	if len(users) != 1 {
		return "", &adminError{http.StatusConflict, fmt.Sprintf("there are %d users: say which with --user", len(users))}
	}
	return users[0].Name, nil
}
