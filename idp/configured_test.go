package idp_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcpd/mcpd/idp"
)

const longSecret = "0123456789abcdef0123456789abcdef"

// A client that the operator wrote down: it signs people in like any other, and is not forgotten.
func TestConfiguredClient(t *testing.T) {
	h := newHouse(t, func(o *idp.Options) {
		o.Config.Clients = map[string]idp.ClientConfig{
			"portal": {Name: "Company Portal", Secret: longSecret, Redirects: []string{"https://portal.example/cb"}},
			"native": {Redirects: []string{"http://127.0.0.1/cb"}},
		}
	})
	a := &app{house: h, id: "portal", redirect: "https://portal.example/cb", verifier: strings.Repeat("v", 43)}
	p := h.signedIn("alice")
	p.browse(a.ask(nil)).wants(200).says("Company Portal")
	code := a.code(p, nil)
	a.redeem(code, nil).wants(h, 401, "invalid_client")
	got := a.redeem(code, url.Values{"client_secret": {longSecret}}).wants(h, 200, "")
	h.good(got.Access, "alpha")
	h.token(url.Values{"grant_type": {"client_credentials"}, "client_id": {"portal"}, "client_secret": {longSecret}, "resource": {h.resource("alpha")}}).wants(h, 400, "unauthorized_client")
	p.browse((&app{house: h, id: "native", redirect: "http://127.0.0.1:1/cb", verifier: a.verifier}).ask(nil)).wants(200).says("native")
	h.later(365 * 24 * time.Hour)
	if n, err := h.store.Sweep(t.Context(), idp.Sweep{Now: h.now(), UnusedBefore: h.now(), Limit: 1000}); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	p.browse(a.ask(nil)).wants(200)
}

// What is configured is what holds, whatever was before: a client that is gone takes its tokens with it.
func TestConfiguredClientChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mcpd.db")
	open := func(clients map[string]idp.ClientConfig) (*house, idp.Store) {
		store, err := idp.OpenStore(file)
		if err != nil {
			t.Fatal(err)
		}
		h := newHouse(t, func(o *idp.Options) { o.Store, o.Config.Clients = keep{store}, clients })
		h.store = store
		return h, store
	}
	ci := idp.ClientConfig{Secret: longSecret, Service: true}
	first, store := open(map[string]idp.ClientConfig{"ci": ci, "old": ci})
	ask := func(h *house, client, secret string) tokens {
		return h.token(url.Values{"grant_type": {"client_credentials"}, "client_id": {client}, "client_secret": {secret}, "resource": {h.resource("alpha")}})
	}
	ask(first, "ci", longSecret).wants(first, 200, "")
	old := ask(first, "old", longSecret).wants(first, 200, "")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	ci.Secret = strings.ToUpper(longSecret)
	second, store := open(map[string]idp.ClientConfig{"ci": ci})
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	ask(second, "ci", longSecret).wants(second, 401, "invalid_client")
	ask(second, "ci", ci.Secret).wants(second, 200, "")
	ask(second, "old", longSecret).wants(second, 401, "invalid_client")
	if _, err := store.Tokens().Access(t.Context(), idp.DigestOf(old.Access)); err == nil {
		t.Error("a token of a client that is gone")
	}
}

// A program in its own name: no person, one server, no refresh token, and nobody can sign in as it.
func TestClientCredentials(t *testing.T) {
	key := newKey(t)
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k"}}})
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, func(o *idp.Options) {
		o.Config.Clients = map[string]idp.ClientConfig{"ci": {Secret: longSecret, Service: true}, "robot": {Keys: string(set), Service: true}}
	})
	ask := func(changes url.Values) tokens {
		f := url.Values{"grant_type": {"client_credentials"}, "client_id": {"ci"}, "client_secret": {longSecret}, "resource": {h.resource("alpha")}}
		for k, v := range changes {
			if f[k] = v; v == nil {
				f.Del(k)
			}
		}
		return h.token(f)
	}
	got := ask(nil).wants(h, 200, "")
	if got.Refresh != "" || got.ID != "" || got.Scope != "mcp" || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%+v", got)
	}
	if g := h.good(got.Access, "alpha"); g.UserName != "service:ci" || g.ClientID != "ci" || !strings.HasPrefix(g.UserID, "svc_") {
		t.Errorf("%+v", g)
	}
	h.bad(got.Access, "beta")
	for name, c := range map[string]struct {
		change url.Values
		status int
		code   string
	}{
		"no resource":      {url.Values{"resource": nil}, 400, "invalid_target"},
		"foreign resource": {url.Values{"resource": {"https://evil.example/mcp"}}, 400, "invalid_target"},
		"two resources":    {url.Values{"resource": {h.resource("alpha"), h.resource("beta")}}, 400, "invalid_target"},
		"no secret":        {url.Values{"client_secret": nil}, 401, "invalid_client"},
		"wrong secret":     {url.Values{"client_secret": {"x"}}, 401, "invalid_client"},
		"more scope":       {url.Values{"scope": {"mcp openid"}}, 400, "invalid_scope"},
	} {
		t.Run(name, func(t *testing.T) { ask(c.change).wants(h, c.status, c.code) })
	}
	claims := map[string]any{"iss": "robot", "sub": "robot", "aud": h.url, "jti": "1", "exp": h.now().Add(time.Minute).Unix()}
	signed := ask(url.Values{
		"client_id": nil, "client_secret": nil, "client_assertion": {assert(t, key, jose.ES256, "k", claims)},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	}).wants(h, 200, "")
	if g := h.good(signed.Access, "alpha"); g.UserName != "service:robot" {
		t.Errorf("%+v", g)
	}

	name := "service:ci"
	h.banned.Store(&name)
	h.bad(got.Access, "alpha")
	ask(nil).wants(h, 400, "unauthorized_client")
	h.banned.Store(nil)
	if _, err := h.issuer.SignInLink(t.Context(), name, time.Minute); err == nil {
		t.Error("a link to sign in as a service")
	}
	if err := h.issuer.SetPassword(t.Context(), name, "long enough"); err == nil {
		t.Error("a password for a service")
	}
	h.stranger().get(h.url+"/login").press("signin", url.Values{"username": {name}, "password": {""}}).wants(403)
	if users, err := h.issuer.Users(t.Context()); err != nil || len(users) != 0 {
		t.Errorf("services among the people: %v %v", users, err)
	}
	if !strings.Contains(h.stranger().get(h.url+"/.well-known/oauth-authorization-server").body, `"client_credentials"`) {
		t.Error("not advertised")
	}
	if _, err := h.issuer.RemoveUser(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	h.bad(got.Access, "alpha")
}

// Who may know about a token: the client it was given to, and whom the operator lets.
func TestIntrospection(t *testing.T) {
	h := newHouse(t, func(o *idp.Options) {
		o.Config.Clients = map[string]idp.ClientConfig{
			"guard": {Secret: longSecret, Introspect: true},
			"web":   {Secret: longSecret, Redirects: []string{"https://web.example/cb"}},
			"other": {Secret: longSecret, Redirects: []string{"https://other.example/cb"}},
		}
	})
	a := &app{house: h, id: "web", redirect: "https://web.example/cb", verifier: strings.Repeat("v", 43)}
	got := a.redeem(a.code(h.signedIn("alice"), nil), url.Values{"client_secret": {longSecret}}).wants(h, 200, "")
	ask := func(client, secret, token string) (int, map[string]any) {
		status, header, b := h.postForm("/introspect", url.Values{"token": {token}}, basic(client, secret))
		var out map[string]any
		if err := json.Unmarshal(b, &out); err != nil || header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %v %s", status, header, b)
		}
		return status, out
	}
	for _, client := range []string{"guard", "web"} {
		status, out := ask(client, longSecret, got.Access)
		want := map[string]any{
			"active": true, "iss": h.url, "client_id": "web", "username": "alice", "aud": h.resource("alpha"), "scope": "mcp", "token_type": "Bearer",
			"sub": h.good(got.Access, "alpha").UserID, "exp": out["exp"],
		}
		if status != 200 || fmt.Sprint(out) != fmt.Sprint(want) {
			t.Errorf("%s: %d %v", client, status, out)
		}
		if _, out := ask(client, longSecret, got.Refresh); out["active"] != true || out["token_type"] != "refresh_token" {
			t.Errorf("%s: %v", client, out)
		}
	}
	inactive := func(what, client, token string) {
		t.Helper()
		if status, out := ask(client, longSecret, token); status != 200 || fmt.Sprint(out) != "map[active:false]" {
			t.Errorf("%s: %d %v", what, status, out)
		}
	}
	inactive("another client's", "other", got.Access)
	inactive("another client's", "other", got.Refresh)
	inactive("none", "guard", "x")
	inactive("none", "guard", "mcpd_at_AAAAAAAAAAAAAAAAAAAAAAAAAA")
	inactive("none", "guard", "mcpd_rt_AAAAAAAAAAAAAAAAAAAAAAAAAA")
	if status, out := ask("guard", "wrong", got.Access); status != 401 || out["error"] != "invalid_client" {
		t.Errorf("%d %v", status, out)
	}
	public := h.registered(loopback)
	if status, _, b := h.postForm("/introspect", url.Values{"token": {got.Access}, "client_id": {public.id}}, nil); status/100 != 4 {
		t.Errorf("a public client: %d %s", status, b)
	}
	if status, _, b := h.postForm("/introspect", url.Values{"token": {got.Access}, "token_type_hint": {"x"}}, http.Header{"Authorization": {"Bearer " + got.Access}}); status/100 != 4 {
		t.Errorf("the token itself as proof: %d %s", status, b)
	}
	name := "alice"
	h.banned.Store(&name)
	inactive("who may not any more", "guard", got.Access)
	h.banned.Store(nil)
	a.refresh(got.Refresh, url.Values{"client_secret": {longSecret}}).wants(h, 200, "")
	inactive("used", "guard", got.Refresh)
	h.later(2 * time.Hour)
	inactive("expired", "guard", got.Access)
}

func TestConfiguredClientRefused(t *testing.T) {
	for want, client := range map[string]idp.ClientConfig{
		"clients.x.secret: ":           {Secret: "short"},
		"clients.x.keys: a client":     {Secret: longSecret, Keys: "https://a.example/keys"},
		"clients.x.keys: is not":       {Keys: "https://me@a.example/keys"},
		"clients.x.keys: it":           {Keys: "x"},
		"clients.x.redirects[1]: ":     {Redirects: []string{"https://a.example/", "http://a.example/"}},
		"clients.x.logout_redirects: ": {LogoutRedirects: []string{"javascript:x"}},
		"clients.x: needs":             {Service: true},
		"clients.x: needs a":           {Introspect: true},
	} {
		c := idp.DefaultConfig()
		c.Clients = map[string]idp.ClientConfig{"x": client}
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for _, id := range []string{"", "X", "cli_x", "https://a.example/x", "a b", "a:b", "-x", strings.Repeat("x", 65)} {
		c := idp.DefaultConfig()
		c.Clients = map[string]idp.ClientConfig{id: {}}
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "client_id") {
			t.Errorf("%q: %v", id, err)
		}
	}
}
