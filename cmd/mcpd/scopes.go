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
		case want.Tool != "" && !slices.ContainsFunc(p.Tools, func(g string) bool { return glob(g, want.Tool) }):
			return &bridge.Denial{Text: "this token is for calling other tools"}
		}
	}
	reader := slices.Contains(p.Scopes, idp.ScopeRead)
	if slices.Contains(p.Scopes, idp.ScopeWrite) || !reader && !d.world.Load().splits(server) {
		return nil // else somebody who agreed to reading stays a reader, also where all is one now
	}
	switch want.Method {
	case "initialize", "ping", "server/discover":
		return nil
	}
	reads := want.Reads()
	if reads && reader {
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
