package idp_test

import (
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/mcpd/mcpd/idp"
)

// A server that tells reading from writing: what a client gets, what its person reads, and how it gets more.
func TestSplitScopes(t *testing.T) {
	h := newHouse(t, func(o *idp.Options) { o.Splits = func(server string) bool { return server == "alpha" } })
	a, p := h.registered(loopback), h.signedIn("alice")
	scope := func(s string) url.Values { return url.Values{"scope": {s}} }

	p.browse(a.ask(scope("mcp mcp:read"))).wants(200).says("read from “alpha”")
	first := a.redeem(a.code(p, scope("mcp mcp:read other")), nil).wants(h, 200, "")
	if first.Scope != "mcp mcp:read" {
		t.Errorf("scope %q", first.Scope)
	}
	a.refresh(first.Refresh, scope("mcp mcp:write")).wants(h, 400, "invalid_scope")

	g := p.browse(a.ask(scope("mcp mcp:read mcp:write"))).wants(200).says("use all tools") // more than was agreed to
	second := a.redeem(g.press("allow", nil).answer().Get("code"), nil).wants(h, 200, "")
	if got := h.good(second.Access, "alpha").Scopes; !slices.Equal(got, []string{"mcp", "mcp:read", "mcp:write"}) {
		t.Errorf("scopes %q", got)
	}
	narrow := a.refresh(second.Refresh, scope("mcp mcp:read")).wants(h, 200, "")
	if narrow.Scope != "mcp mcp:read" {
		t.Errorf("a narrower refresh: %q", narrow.Scope)
	}

	if all := a.redeem(a.code(p, url.Values{"scope": nil}), nil).wants(h, 200, ""); all.Scope != "mcp mcp:read mcp:write" {
		t.Errorf("who asks for nothing: %q", all.Scope)
	}
	p.browse(a.ask(url.Values{"scope": {"mcp"}, "prompt": {"consent"}})).wants(200).says("for anything more you are asked again")

	// Where all is one, the others mean nothing, now and at every refresh.
	beta := url.Values{"scope": {"mcp mcp:read mcp:write openid"}, "resource": {h.resource("beta")}}
	one := a.redeem(a.code(p, beta), url.Values{"resource": {h.resource("beta")}}).wants(h, 200, "")
	if one.Scope != "mcp openid" {
		t.Errorf("scope %q", one.Scope)
	}
	a.refresh(one.Refresh, scope("mcp mcp:read mcp:write openid")).wants(h, 200, "")
}

func TestPersonalTokens(t *testing.T) {
	h := newHouse(t)
	h.user("alice")
	mint := func(m idp.MintRequest) string {
		t.Helper()
		m.User, m.Resource, m.TTL = "alice", h.resource("alpha"), time.Hour
		token, err := h.issuer.Mint(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	wide, narrow := mint(idp.MintRequest{}), mint(idp.MintRequest{Tools: []string{"get_*", "list"}, ReadOnly: true, Label: "bot"})
	if g := h.good(narrow, "alpha"); !slices.Equal(g.Tools, []string{"get_*", "list"}) || !slices.Equal(g.Scopes, []string{"mcp", "mcp:read"}) {
		t.Errorf("%+v", g)
	}
	if g := h.good(wide, "alpha"); g.Tools != nil || !slices.Contains(g.Scopes, "mcp:write") {
		t.Errorf("%+v", g)
	}
	for _, tools := range [][]string{{""}, {"a b"}, {"a\n"}} {
		if _, err := h.issuer.Mint(t.Context(), idp.MintRequest{User: "alice", Resource: h.resource("alpha"), TTL: time.Hour, Tools: tools}); err == nil {
			t.Errorf("%q was taken for a tool", tools)
		}
	}
	all, err := h.issuer.PersonalTokens(t.Context())
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	for _, bad := range []string{"", "abc", "zzzzzzzz", "mcpd_at_AAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		if _, err := h.issuer.RevokePersonal(t.Context(), bad); err == nil {
			t.Errorf("%q names a token", bad)
		}
	}
	if got, err := h.issuer.RevokePersonal(t.Context(), narrow); err != nil || got.Label != "bot" || len(got.ID) != 12 {
		t.Fatal(got, err)
	}
	h.bad(narrow, "alpha")
	h.good(wide, "alpha")
	h.later(2 * time.Hour)
	if all, err := h.issuer.PersonalTokens(t.Context()); err != nil || len(all) != 0 {
		t.Error("listed after its end", all, err)
	}
}
