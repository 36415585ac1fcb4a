package idp_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/mcpd/mcpd/idp"
)

func (h *house) published() jose.JSONWebKeySet {
	h.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(h.stranger().get(h.url+"/jwks").wants(200).body), &set); err != nil {
		h.Fatal(err)
	}
	return set
}

// signedBy returns the id of the key that signed an ID token, after checking the signature with the published keys.
func (h *house) signedBy(token string) string {
	h.Helper()
	t, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		h.Fatal(err)
	}
	var claims jwt.Claims
	if err := t.Claims(h.published(), &claims); err != nil {
		h.Fatalf("the ID token does not verify: %v", err)
	}
	return t.Headers[0].KeyID
}

// Keys are replaced while everything goes on: the new one is published before it signs, the old one stays
// until nothing that it signed is looked at any more.
func TestKeyRotation(t *testing.T) {
	h := newHouse(t)
	a, p := h.registered(loopback), h.signedIn("alice")
	openid := url.Values{"scope": {"openid mcp"}}
	first := a.redeem(a.code(p, openid), nil).wants(h, 200, "")
	old := h.signedBy(first.ID)
	waiting := p.browse(a.ask(url.Values{"prompt": {"consent"}})).wants(200)

	if err := h.issuer.RotateKeys(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if n := len(h.published().Keys); n != 2 {
		t.Fatalf("%d keys are published", n)
	}
	if q := waiting.press("allow", nil).answer(); q.Get("code") == "" {
		t.Errorf("a sign-in under way ended: %v", q)
	}
	if id := h.signedBy(a.redeem(a.code(p, openid), nil).wants(h, 200, "").ID); id != old {
		t.Error("a key signed before clients could know it")
	}
	h.later(11 * time.Minute)
	second := a.redeem(a.code(p, openid), nil).wants(h, 200, "")
	young := h.signedBy(second.ID)
	if young == old {
		t.Error("the new key never signs")
	}
	if id := h.signedBy(first.ID); id != old {
		t.Error("the old key is gone")
	}
	h.good(first.Access, "alpha")
	a.refresh(first.Refresh, nil).wants(h, 200, "")
	inUse := func() (ids []string) {
		for _, k := range h.issuer.Keys() {
			if k.Signs {
				ids = append(ids, k.ID)
			}
		}
		return ids
	}
	if ids := inUse(); len(ids) != 2 || ids[0] != young {
		t.Errorf("in use: %v, of %+v", ids, h.issuer.Keys())
	}

	// A restart changes nothing; a day later the old key goes, by the sweep of any issuer.
	o := idp.Options{
		Issuer: h.url, Config: idp.DefaultConfig(), Store: keep{h.store}, Loopback: true, Now: h.now, SweepEvery: time.Millisecond,
		Resource: func(string) (string, string, bool) { return "", "", false }, Allowed: func(string, idp.User) bool { return false },
	}
	h.later(25 * time.Hour)
	again, err := idp.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}()
	for len(again.Keys()) != 3 { // one that signs, and two that seal
		if t.Context().Err() != nil {
			t.Fatalf("%+v", again.Keys())
		}
		<-time.After(time.Millisecond)
	}

	// A key was stolen: what it signed is void at once.
	if err := h.issuer.RotateKeys(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if set := h.published(); len(set.Keys) != 1 || set.Keys[0].KeyID == young {
		t.Errorf("%+v", set)
	}
	if q := p.browse(a.ask(url.Values{"prompt": {"none"}, "id_token_hint": {second.ID}})).answer(); q.Get("error") != "login_required" {
		t.Errorf("a hint by a stolen key: %v", q)
	}
	waiting.press("allow", nil).wants(400)
	got := a.redeem(a.code(p, openid), nil).wants(h, 200, "")
	h.signedBy(got.ID)
	h.good(got.Access, "alpha")
}

// Requests during a rotation see the old keys or the new, and never a mixture.
func TestKeyRotationUnderLoad(t *testing.T) {
	h := newHouse(t)
	a, p := h.registered(loopback), h.signedIn("alice")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { // ends with cancel, or an error
		for ctx.Err() == nil {
			if err := h.issuer.RotateKeys(t.Context(), false); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for range 5 {
		g := p.get(a.ask(url.Values{"scope": {"openid mcp"}})).wants(302)
		if g.location() == nil {
			t.Fatal("no redirect")
		}
		h.published()
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A client sends its person to sign out. They are asked, and come back only to where the client may send them.
func TestEndSession(t *testing.T) {
	const out = "https://app.example/out"
	h := newHouse(t, func(o *idp.Options) {
		o.Config.Clients = map[string]idp.ClientConfig{"portal": {Redirects: []string{"https://portal.example/cb"}, LogoutRedirects: []string{"https://portal.example/bye?x=1"}}}
	})
	_, reg := h.postJSON("/register", map[string]any{"client_name": "Out App", "redirect_uris": []string{loopback}, "post_logout_redirect_uris": []string{out}})
	a := &app{house: h, id: reg["client_id"].(string), redirect: loopback, verifier: strings.Repeat("v", 43)}
	p := h.signedIn("alice")
	hint := a.redeem(a.code(p, url.Values{"scope": {"openid mcp"}}), nil).wants(h, 200, "").ID
	h.later(time.Hour) // however old
	end := func(q url.Values) string { return h.url + "/end_session?" + q.Encode() }

	g := p.browse(end(url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {out}, "state": {"a&b"}})).wants(200).says("Out App asks you to sign out")
	p.get(h.url + "/account").wants(200) // asked, and no more than that
	action, form := g.form("signout", nil)
	p.do("POST", action, form, http.Header{"Sec-Fetch-Site": {"cross-site"}}).wants(403)
	if to := g.press("signout", nil).wants(303).location().String(); to != out+"?state=a%26b" {
		t.Errorf("back to %s", to)
	}
	if g := p.get(h.url + "/account").wants(303); g.location().Path != "/login" {
		t.Error("still signed in")
	}
	// Nobody is signed in: no page of ours sends them on without their press.
	g = p.browse(end(url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {out}})).wants(200).says("signed out")
	if back := g.byID("back"); back == nil || attr(back, "href") != out {
		t.Errorf("no way back: %s", g.body)
	}
	p.signIn()
	g = p.do("POST", h.url+"/end_session", url.Values{"client_id": {"portal"}, "post_logout_redirect_uri": {"https://portal.example/bye?x=1"}}, http.Header{"Sec-Fetch-Site": {"cross-site"}})
	if to := g.follow().press("signout", nil).wants(303).location().String(); to != "https://portal.example/bye?x=1" {
		t.Errorf("back to %s", to)
	}

	// Where it does not lead: the person may sign out, and stays here.
	p.signIn()
	for name, q := range map[string]url.Values{
		"no client":         {"post_logout_redirect_uri": {out}},
		"no proof":          {"client_id": {a.id}, "post_logout_redirect_uri": {out}},
		"not registered":    {"id_token_hint": {hint}, "post_logout_redirect_uri": {"https://evil.example/"}},
		"more than that":    {"id_token_hint": {hint}, "post_logout_redirect_uri": {out + "/x"}},
		"another's":         {"id_token_hint": {hint}, "post_logout_redirect_uri": {"https://portal.example/bye?x=1"}},
		"unknown client":    {"client_id": {"cli_nobody"}, "post_logout_redirect_uri": {out}},
		"nothing said":      {},
		"a client's own":    {"client_id": {"portal"}},
		"redirect, not out": {"id_token_hint": {hint}, "post_logout_redirect_uri": {loopback}},
	} {
		g := p.browse(end(q)).wants(200).says("Sign out?")
		if strings.Contains(g.body, "evil") || strings.Contains(g.body, "asks you") {
			t.Errorf("%s: %s", name, g.body)
		}
	}
	for name, q := range map[string]url.Values{
		"forged":        {"id_token_hint": {"eyJhbGciOiJub25lIn0.e30."}, "post_logout_redirect_uri": {out}},
		"other subject": {"id_token_hint": {hint[:len(hint)-8] + "AAAAAAAA"}, "post_logout_redirect_uri": {out}},
		"two clients":   {"id_token_hint": {hint}, "client_id": {"portal"}, "post_logout_redirect_uri": {out}},
	} {
		if g := p.browse(end(q)).wants(400); g.header.Get("Location") != "" {
			t.Errorf("%s: redirected", name)
		}
	}
	p.get(h.url + "/logout?req=x").wants(400)
	p.get(h.url + "/account").wants(200)
}
