package idp_test

import (
	"net/url"
	"strings"
	"testing"
)

// The whole way, as a program and a person go it.
func TestFlow(t *testing.T) {
	h := newHouse(t)
	a := h.registered(loopback)
	if _, err := h.issuer.CreateUser(t.Context(), "alice", "correct horse"); err != nil {
		t.Fatal(err)
	}
	p := h.stranger()

	// The port of the moment is not the registered one.
	a.redirect = "http://127.0.0.1:40404/callback"
	login := p.browse(a.ask(url.Values{"unknown": {"x"}, "scope": {"mcp openid profile what"}})).wants(200).says("Test App").says("alpha")
	login.press("signin", url.Values{"username": {"alice"}, "password": {"wrong horse"}}).wants(403).says("do not belong together")
	consent := login.press("signin", url.Values{"username": {"Alice"}, "password": {"correct horse"}}).wants(303).follow().wants(200)
	consent.says("Test App").says("alpha").says("127.0.0.1:40404").says("runs on this computer").says("alice")
	q := consent.press("allow", nil).wants(302).answer()
	if q.Get("state") != "st&te <1>" || q.Get("iss") != h.url || !strings.HasPrefix(q.Get("code"), "mcpd_ac_") {
		t.Fatalf("answer: %v", q)
	}
	got := a.redeem(q.Get("code"), nil).wants(h, 200, "")
	if got.Type != "Bearer" || got.Expires != 3600 || got.Scope != "mcp openid profile" || got.ID == "" || got.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("tokens: %+v", got)
	}
	g := h.good(got.Access, "alpha")
	if g.UserName != "alice" || g.ClientID != a.id || g.ClientName != "Test App" {
		t.Fatalf("grant: %+v", g)
	}
	h.bad(got.Access, "beta")
	h.bad(got.ID, "alpha")
	h.bad(got.Refresh, "alpha")

	next := a.refresh(got.Refresh, nil).wants(h, 200, "")
	if next.Refresh == got.Refresh || next.Refresh == "" || next.Scope != "mcp openid profile" {
		t.Fatalf("refreshed: %+v", next)
	}
	h.good(next.Access, "alpha")

	// Consent is remembered, for this server only.
	if q := p.browse(a.ask(nil)).answer(); q.Get("code") == "" {
		t.Fatalf("second time: %v", q)
	}
	p.browse(a.ask(url.Values{"resource": {h.resource("beta")}})).wants(200).says("beta")
	p.browse(a.ask(url.Values{"prompt": {"consent"}})).wants(200).says("alpha")
}
