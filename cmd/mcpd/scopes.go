package main

import (
	"net/http"
	"slices"

	"github.com/mcpd/mcpd/bridge"
	"github.com/mcpd/mcpd/idp"
	"github.com/mcpd/mcpd/router"
)

// The values of ServerConfig.Scopes.
const (
	oneScope    = "mcp"
	splitScopes = "read-write"
)

// splits tells whether tokens for a server tell reading from writing.
func (w *world) splits(server string) bool {
	t := w.tenant(server)
	return t != nil && t.cfg.Scopes == splitScopes
}

// asked is what a client is to sign in for first, besides the scope that every token has.
func (c *ServerConfig) asked() []string {
	if c.Scopes == splitScopes {
		return []string{idp.ScopeRead}
	}
	return nil
}

// permit holds a request against what its token is limited to: tools by name, and scopes where the server has several.
func (d *daemon) permit(server string, r *http.Request, want bridge.Want) *bridge.Denial {
	p, ok := router.PrincipalOf(r.Context())
	if !ok {
		return nil // no sign-in, no tokens
	}
	if len(p.Tools) > 0 {
		switch {
		case want.Alien:
			return &bridge.Denial{Text: "this token is for calling some tools only"}
		case want.Tool != "" && !anyGlob(p.Tools, want.Tool):
			return &bridge.Denial{Text: "this token is for calling other tools"}
		}
	}
	if d.writes(server, &p) {
		return nil
	}
	switch want.Method {
	case "initialize", "ping", "server/discover":
		return nil
	}
	reads := want.Reads()
	if reads && slices.Contains(p.Scopes, idp.ScopeRead) {
		return nil
	}
	need := []string{idp.ScopeMCP, idp.ScopeRead, idp.ScopeWrite}
	if reads {
		need = need[:2]
	}
	return &bridge.Denial{
		Text: "this takes the scope " + need[len(need)-1] + ", which the token does not have", Challenge: router.StepUp(r.Context(), need),
	}
}

// writes tells whether a token is not for reading only. Somebody who agreed to reading stays a reader, also where all is one now.
func (d *daemon) writes(server string, p *router.Principal) bool {
	return slices.Contains(p.Scopes, idp.ScopeWrite) || !slices.Contains(p.Scopes, idp.ScopeRead) && !d.world.Load().splits(server)
}

// shows is permit for lists of tools: what a token can never be for is not in them. A tool that a client can sign in again for is, or
// it would not know that it can. nil is everything.
func (d *daemon) shows(server string, r *http.Request) func(bridge.Tool) bool {
	p, ok := router.PrincipalOf(r.Context())
	if !ok {
		return nil
	}
	reader := p.Fixed && !d.writes(server, &p)
	if len(p.Tools) == 0 && !reader {
		return nil
	}
	return func(t bridge.Tool) bool {
		return (t.Reads || !reader) && (len(p.Tools) == 0 || anyGlob(p.Tools, t.Name))
	}
}

func anyGlob(patterns []string, text string) bool {
	return slices.ContainsFunc(patterns, func(g string) bool { return glob(g, text) })
}
