package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/mcpd/mcpd/bridge"
	"github.com/mcpd/mcpd/idp"
	"github.com/mcpd/mcpd/router"
)

// What an allow rule begins with that is not about a name.
const (
	servicePrefix  = "service:"
	groupPrefix    = "group:"
	providerPrefix = "provider:"
)

// allowed is the policy: deny by default. An empty allow list lets nobody in, but for local mode,
// where every listener is loopback and whoever signed in is the owner of the machine.
func (w *world) allowed(server string, u idp.User) bool {
	t, ok := w.tenants[server]
	if !ok {
		return false
	}
	if len(t.cfg.Allow) == 0 {
		return w.urls.local()
	}
	return slices.ContainsFunc(t.cfg.Allow, func(rule string) bool { return matchAllow(rule, u) })
}

// welcome reports whether somebody may use anything at all. Others do not become users by signing in elsewhere.
func (w *world) welcome(u idp.User) bool {
	return slices.ContainsFunc(w.names(), func(server string) bool { return w.allowed(server, u) })
}

// servers are those that somebody may use, by name.
func (w *world) servers(u idp.User) (all []idp.Server) {
	for _, name := range w.names() {
		if w.allowed(name, u) {
			all = append(all, idp.Server{Name: name, URL: w.tenants[name].url})
		}
	}
	return all
}

// matchAllow tells whether one allow entry means a user. Names are compared without case; groups and
// providers as they are written, for two groups may differ in nothing else. A service is nobody who has
// signed in: only a rule that speaks of services means it.
func matchAllow(rule string, u idp.User) bool {
	if group, ok := strings.CutPrefix(rule, groupPrefix); ok {
		return !u.Service() && slices.ContainsFunc(u.Groups, func(g string) bool { return glob(group, g) })
	}
	if provider, ok := strings.CutPrefix(rule, providerPrefix); ok {
		return !u.Service() && u.Provider != "" && glob(provider, u.Provider)
	}
	rule, name := strings.ToLower(rule), strings.ToLower(u.Name)
	if strings.HasPrefix(name, servicePrefix) && !strings.HasPrefix(rule, servicePrefix) {
		return false
	}
	return glob(rule, name)
}

// glob compares a text with a pattern, in which "*" stands for any run of characters.
func glob(pattern, text string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == text
	}
	if !strings.HasPrefix(text, head) {
		return false
	}
	text = text[len(head):]
	for {
		part, next, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(text, part)
		}
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text, rest = text[i+len(part):], next
	}
}

// checkAllow wants a rule that can mean somebody.
func checkAllow(entry string) error {
	for _, prefix := range []string{groupPrefix, providerPrefix} {
		if of, ok := strings.CutPrefix(entry, prefix); ok {
			if strings.TrimSpace(of) == "" || strings.ContainsFunc(of, unicode.IsControl) {
				return fmt.Errorf("names nothing after %q", prefix)
			}
			return nil
		}
	}
	switch {
	case strings.TrimSpace(entry) == "":
		return errors.New("is empty; name a user, or \"*\" for everybody who has signed in")
	case strings.ContainsFunc(entry, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return errors.New("has a space in it, which no user name has")
	case strings.Contains(entry, ":") && !strings.HasPrefix(entry, servicePrefix):
		return errors.New("has a colon in it, which no user name has; what may stand before one is group, provider or service")
	}
	return nil
}

// ended follows what the issuer has revoked: requests that are under way end, and with all of a person their workers.
func (d *daemon) ended(e idp.Ended) {
	d.router.HangUp(func(_ string, p router.Principal) bool {
		return p.ID == e.UserID && (e.Grant == "" || p.Grant == e.Grant)
	})
	if e.Grant != "" {
		return
	}
	d.supervisor.StopKeys(func(_, key string) bool { return bridge.Owner(key) == e.UserID })
	for _, t := range d.world.Load().tenants {
		t.bridge.Forget(e.UserID)
	}
}

// enforce ends what the policy that holds now would not let begin: requests under way, and workers. Tokens need
// nothing: each is held against the policy whenever it is used.
func (d *daemon) enforce(ctx context.Context) {
	if d.issuer == nil {
		return
	}
	users, err := d.issuer.Everybody(ctx)
	if err != nil {
		d.log.Error("cannot end what is not allowed any more", zap.Error(err))
		return
	}
	known := make(map[string]idp.User, len(users))
	for _, u := range users {
		known[u.ID] = u
	}
	w := d.world.Load()
	d.evict(func(server, id string) bool {
		u, ok := known[id] // who is not has come since, and was held against this policy
		return ok && !w.allowed(server, u)
	})
}

// changed is enforce for one person, of whom their provider says something else now.
func (d *daemon) changed(u idp.User) {
	w := d.world.Load()
	d.evict(func(server, id string) bool { return id == u.ID && !w.allowed(server, u) })
}

// evict ends requests under way, and workers, of those who are out.
func (d *daemon) evict(out func(server, id string) bool) {
	d.router.HangUp(func(server string, p router.Principal) bool { return out(server, p.ID) })
	d.supervisor.StopKeys(func(server, key string) bool { return out(server, bridge.Owner(key)) })
}

func (c *cli) revokeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "revoke USER", Short: "end everything of a person at once: browsers, clients, tokens, workers", Args: exactly(1),
		Long: `Ends everything of a person, or of a service ("service:NAME"), at once: their browsers are signed out, the tokens of
all their clients and their personal tokens are void, calls and streams end, and so do their workers.

They may sign in again. To keep them out, take them out of the servers' allow lists, or remove them with
'mcpd user remove', which does all of this too.`,
		ValidArgsFunction: c.completeUsers,
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, err := c.admin()
			if err != nil {
				return err
			}
			var u userAnswer
			if err := admin.post(cmd.Context(), "/v1/users/"+url.PathEscape(args[0])+"/revoke", nil, &u); err != nil {
				return err
			}
			fmt.Fprintf(c.stderr, "revoked everything of %s\n", u.Name)
			return nil
		},
	}
}

// completeUsers offers the names of the people to the shell.
func (c *cli) completeUsers(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if admin, err := c.admin(); err == nil && len(args) == 0 {
		var users []userAnswer
		if admin.get(cmd.Context(), "/v1/users", &users) == nil { // without a daemon there are no offers
			for _, u := range users {
				names = append(names, u.Name)
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (d *daemon) adminRevoke(_ http.ResponseWriter, r *http.Request) (any, error) {
	if err := d.needIssuer(); err != nil {
		return nil, err
	}
	u, err := d.issuer.Revoke(r.Context(), r.PathValue("user"))
	return userAnswer{Name: u.Name, ID: u.ID, Created: u.Created}, err
}
