package idp_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpd/mcpd/idp"
)

func TestMetadata(t *testing.T) {
	h := newHouse(t)
	var first string
	for _, path := range []string{
		"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration",
		"/.well-known/oauth-authorization-server/alpha/mcp", "/.well-known/openid-configuration/alpha/mcp",
	} {
		g := h.stranger().get(h.url + path).wants(200)
		if g.header.Get("Content-Type") != "application/json" || g.header.Get("Access-Control-Allow-Origin") != "*" || g.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %v", path, g.header)
		}
		if first == "" {
			first = g.body
		}
		if g.body != first {
			t.Errorf("%s differs", path)
		}
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(first), &m); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"issuer": h.url, "authorization_endpoint": h.url + "/authorize", "token_endpoint": h.url + "/token", "registration_endpoint": h.url + "/register",
		"revocation_endpoint": h.url + "/revoke", "jwks_uri": h.url + "/jwks", "userinfo_endpoint": h.url + "/userinfo",
		"authorization_response_iss_parameter_supported": true,
		"code_challenge_methods_supported":               []any{"S256"},
		"response_types_supported":                       []any{"code"},
		"grant_types_supported":                          []any{"authorization_code", "refresh_token"},
		"token_endpoint_auth_methods_supported":          []any{"none", "client_secret_basic", "client_secret_post", "private_key_jwt"},
		"client_id_metadata_document_supported":          true,
		"scopes_supported":                               []any{"mcp", "mcp:read", "mcp:write", "openid", "profile", "offline_access"},
		"introspection_endpoint":                         h.url + "/introspect",
		"introspection_endpoint_auth_methods_supported":  []any{"client_secret_basic", "client_secret_post", "private_key_jwt"},
		"pushed_authorization_request_endpoint":          h.url + "/par",
		"device_authorization_endpoint":                  nil,
		"end_session_endpoint":                           h.url + "/end_session",
	} {
		if fmt.Sprint(m[name]) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", name, m[name], want)
		}
	}
	// The same document for tenant hosts, whatever the path.
	w := newRecorder()
	h.issuer.Metadata().ServeHTTP(w, mustRequest(t, "GET", "https://alpha.example/x"))
	if w.body.String() != first || w.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("Metadata: %s", w.body.String())
	}
	// Nothing of the library is there that is not in the table.
	for _, path := range []string{"/healthz", "/ready", "/oauth/token", "/keys", "/device", "/oauth/introspect", "/device_authorization", "/authorize/callback?id=x"} {
		if g := h.stranger().get(h.url + path); g.status != 404 {
			t.Errorf("%s: %d", path, g.status)
		}
	}
	reserved := idp.Paths()
	for _, path := range []string{".well-known", "authorize", "token", "register", "revoke", "introspect", "par", "device", "device_authorization", "end_session", "jwks", "userinfo", "login", "signin", "consent", "account", "logout", "favicon.ico"} {
		if !slices.Contains(reserved, path) {
			t.Errorf("%s is not reserved", path)
		}
	}
}

// Any origin may read what is for programs, without cookies; no page is readable by another origin.
func TestCORS(t *testing.T) {
	h := newHouse(t)
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/register", "/token", "/revoke", "/jwks", "/userinfo"} {
		g := h.stranger().do("OPTIONS", h.url+path, nil, http.Header{"Origin": {"https://a.example"}, "Access-Control-Request-Method": {"POST"}}).wants(204)
		if g.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(g.header.Get("Access-Control-Allow-Headers"), "Authorization") || g.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %v", path, g.header)
		}
	}
	for _, path := range []string{"/authorize", "/login", "/consent", "/account"} {
		g := h.stranger().do("OPTIONS", h.url+path, nil, http.Header{"Origin": {"https://a.example"}, "Access-Control-Request-Method": {"POST"}}).wants(405)
		if g.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %v", path, g.header)
		}
	}
}

func TestRevoke(t *testing.T) {
	h := newHouse(t)
	a, other := h.registered(loopback), h.registered(loopback)
	got := a.redeem(a.code(h.signedIn("alice"), nil), nil).wants(h, 200, "")
	revoke := func(client, token, hint string, want int) {
		t.Helper()
		status, _, b := h.postForm("/revoke", url.Values{"client_id": {client}, "token": {token}, "token_type_hint": {hint}}, nil)
		if status != want {
			t.Fatalf("%d %s", status, b)
		}
	}
	h.good(got.Access, "alpha")
	revoke(other.id, got.Access, "", 200)
	revoke(other.id, got.Refresh, "", 200)
	revoke(a.id, "nonsense", "", 200)
	revoke("cli_nobody", got.Access, "", 401)
	revoke(a.id, "", "", 400)
	h.good(got.Access, "alpha")
	revoke(a.id, got.Access, "refresh_token", 200)
	h.bad(got.Access, "alpha")
	next := a.refresh(got.Refresh, nil).wants(h, 200, "")
	h.good(next.Access, "alpha")
	revoke(a.id, next.Refresh, "access_token", 200)
	h.bad(next.Access, "alpha")
	a.refresh(next.Refresh, nil).wants(h, 400, "invalid_grant")
}

func TestUserinfo(t *testing.T) {
	h := newHouse(t)
	a := h.registered(loopback)
	p := h.signedIn("alice")
	ask := func(token string) *page {
		return h.stranger().do("GET", h.url+"/userinfo", nil, http.Header{"Authorization": {"Bearer " + token}})
	}
	got := a.redeem(a.code(p, url.Values{"scope": {"openid profile mcp"}}), nil).wants(h, 200, "")
	if g := ask(got.Access).wants(200); !strings.Contains(g.body, `"preferred_username":"alice"`) || !strings.Contains(g.body, `"sub":"usr_`) {
		t.Error(g.body)
	}
	plain := a.redeem(a.code(p, nil), nil).wants(h, 200, "")
	if plain.ID != "" {
		t.Error("an ID token without openid")
	}
	if g := ask(plain.Access).wants(403); !strings.Contains(g.header.Get("WWW-Authenticate"), `error="insufficient_scope"`) {
		t.Errorf("%v", g.header)
	}
	if g := ask("mcpd_at_x").wants(401); !strings.Contains(g.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("%v", g.header)
	}
	h.stranger().get(h.url + "/userinfo?access_token=" + got.Access).wants(401)
}

func TestAccount(t *testing.T) {
	h := newHouse(t)
	a := h.registered(loopback)
	p, other := h.signedIn("alice"), h.signedIn("bob")
	got := a.redeem(a.code(p, nil), nil).wants(h, 200, "")
	h.good(got.Access, "alpha")
	personal, err := h.issuer.Mint(t.Context(), idp.MintRequest{User: "alice", Resource: h.resource("beta"), TTL: time.Hour, Label: "backup script"})
	if err != nil {
		t.Fatal(err)
	}
	h.good(personal, "beta")
	g := p.get(h.url + "/account").wants(200).says("Test App").says("backup script")
	_, form := other.get(h.url+"/account").form("signout", nil)
	all, err := h.store.Tokens().Connections(t.Context(), h.good(got.Access, "alpha").UserID, h.now())
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	same := http.Header{"Sec-Fetch-Site": {"same-origin"}}
	for _, c := range all {
		other.do("POST", h.url+"/account/disconnect", url.Values{"csrf": {form.Get("csrf")}, "connection": {c.ID}}, same).wants(303)
	}
	h.good(got.Access, "alpha")
	_, form = g.form("signout", nil)
	for _, c := range all {
		p.do("POST", h.url+"/account/disconnect", url.Values{"csrf": {form.Get("csrf")}, "connection": {c.ID}}, same).wants(303)
	}
	h.bad(got.Access, "alpha")
	h.bad(personal, "beta")
	p.browse(a.ask(nil)).wants(200).says("Test App") // the consent is gone too
}

func TestMint(t *testing.T) {
	h := newHouse(t)
	h.user("alice")
	token, err := h.issuer.Mint(t.Context(), idp.MintRequest{User: "ALICE", Resource: h.resource("alpha") + "/", TTL: time.Hour, Label: "backup"})
	if err != nil {
		t.Fatal(err)
	}
	if len(token) != 34 || !strings.HasPrefix(token, "mcpd_at_") {
		t.Fatalf("token of %d characters", len(token))
	}
	if g := h.good(token, "alpha"); g.UserName != "alice" || g.ClientName != "backup" || g.ClientID != "" {
		t.Fatalf("%+v", g)
	}
	h.bad(token, "beta")
	for _, bad := range []string{"", "mcpd_at_", token + "x", token[:len(token)-1], strings.ToLower(token), " " + token, "mcpd_rt_" + token[8:], strings.Repeat("x", 10_000)} {
		h.bad(bad, "alpha")
	}
	h.later(time.Hour)
	h.bad(token, "alpha")
	name := "alice"
	h.banned.Store(&name)
	for _, c := range []struct {
		user, resource string
		ttl            time.Duration
		says           string
	}{
		{"bob", h.resource("alpha"), time.Hour, `no user "bob"`},
		{"alice", h.resource("gamma"), time.Hour, "not the URL of a server"},
		{"alice", h.resource("alpha"), 0, "some time"},
		{"alice", h.resource("alpha"), time.Hour, "may not use alpha"},
	} {
		if _, err := h.issuer.Mint(t.Context(), idp.MintRequest{User: c.user, Resource: c.resource, TTL: c.ttl}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v", c, err)
		}
	}
}

func TestPeople(t *testing.T) {
	h := newHouse(t)
	for _, name := range []string{"", " ", "a b", "*", "group:x", "a/b", "a\nb", "<b>", strings.Repeat("x", 300), "\u202ea"} {
		if _, err := h.issuer.CreateUser(t.Context(), name, ""); err == nil {
			t.Errorf("a user %q", name)
		}
	}
	for _, name := range []string{"alice", "Bob.Smith@example.com", "Ärger", "x"} {
		u, err := h.issuer.CreateUser(t.Context(), name, "")
		if err != nil || strings.Contains(u.ID, ":") {
			t.Errorf("%q: %v %v", name, u, err)
		}
	}
	if _, err := h.issuer.CreateUser(t.Context(), "ALICE", ""); err == nil {
		t.Error("ALICE beside alice")
	}
	if _, err := h.issuer.CreateUser(t.Context(), "carol", "short"); err == nil {
		t.Error("a short password")
	}
	if err := h.issuer.SetPassword(t.Context(), "nobody", "long enough"); err == nil {
		t.Error("a password for nobody")
	}
	if err := h.issuer.SetPassword(t.Context(), "alice", "long enough"); err != nil {
		t.Error(err)
	}
	h.stranger().get(h.url+"/login").press("signin", url.Values{"username": {"alice"}, "password": {"long enough"}}).wants(303)
	h.stranger().get(h.url+"/login").press("signin", url.Values{"username": {"x"}, "password": {""}}).wants(403)
	users, err := h.issuer.Users(t.Context())
	if err != nil || len(users) != 4 {
		t.Errorf("%v %v", users, err)
	}
	if _, err := h.issuer.RemoveUser(t.Context(), "nobody"); err == nil {
		t.Error("nobody was removed")
	}
}

// The sweep runs by itself, and Close ends it.
func TestSweepAndRestart(t *testing.T) {
	h := newHouse(t)
	a := h.registered(loopback)
	got := a.redeem(a.code(h.signedIn("alice"), url.Values{"scope": {"openid mcp"}}), nil).wants(h, 200, "")
	// A second issuer on the same store: what the first one gave is good there, by the same keys.
	o := idp.Options{
		Issuer: h.url, Config: idp.DefaultConfig(), Store: keep{h.store}, Loopback: true,
		Resource: func(r string) (string, string, bool) { return r, "alpha", true }, Allowed: func(string, idp.User) bool { return true },
	}
	again, err := idp.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Verify(t.Context(), got.Access, h.resource("alpha")); err != nil {
		t.Error(err)
	}
	w := newRecorder()
	again.Handler().ServeHTTP(w, mustRequest(t, "GET", h.url+"/jwks"))
	if keys := h.stranger().get(h.url + "/jwks").body; keys != w.body.String() || strings.Contains(keys, `"d"`) || !strings.Contains(keys, `"ES256"`) {
		t.Errorf("keys: %s, then %s", keys, w.body.String())
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// keep is a store that outlives its issuer.
type keep struct{ idp.Store }

func (keep) Close() error { return nil }

func TestOptions(t *testing.T) {
	for _, issuer := range []string{"", "localhost", "https://a.example/", "https://a.example/x", "http://a.example", "https://a.example?x", "https://me@a.example"} {
		o := idp.Options{Issuer: issuer, Config: idp.DefaultConfig(), Store: keep{}, Loopback: true, Resource: func(string) (string, string, bool) { return "", "", false }, Allowed: func(string, idp.User) bool { return false }}
		if _, err := idp.New(t.Context(), o); err == nil {
			t.Errorf("issuer %q", issuer)
		}
	}
	c := idp.DefaultConfig()
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	c.Mode, c.AccessTTL, c.RefreshGrace, c.Registration.Rate, c.Registration.Schemes = "x", 0, time.Hour, 0, []string{"javascript"}
	err := c.Validate()
	for _, key := range []string{"mode:", "access_ttl:", "refresh_grace:", "registration.rate:", "registration.schemes:"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("no error about %s in %v", key, err)
		}
	}
}
