package idp_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/modelcontextprotocol/go-sdk/auth/extauth"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"golang.org/x/oauth2"

	"github.com/mcpd/mcpd/idp"
	"github.com/mcpd/mcpd/idp/upstream"
	"github.com/mcpd/mcpd/idp/upstream/upstreamtest"
)

const jwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// managed is a house that takes the word of a provider named corp from the clients agent and signer.
func managed(t *testing.T, change ...func(*idp.Options)) (*house, *upstreamtest.Service) {
	return corporate(t, append([]func(*idp.Options){func(o *idp.Options) {
		o.Config.Clients = map[string]idp.ClientConfig{
			"agent": {Name: "Agent", Secret: longSecret}, "other": {Secret: longSecret}, "public": {Redirects: []string{loopback}},
		}
		corp := o.Config.Providers["corp"]
		corp.Assertions.Clients = []string{"agent", "pub*", "https://*"}
		o.Config.Providers["corp"] = corp
	}}, change...)...)
}

type assertionChange = func(claims map[string]any, options *jose.SignerOptions)

func (h *house) assertion(s *upstreamtest.Service, change assertionChange) string {
	h.Helper()
	text, err := s.Assertion(h.url, h.resource("alpha"), "agent", change)
	if err != nil {
		h.Fatal(err)
	}
	return text
}

func (h *house) bring(assertion string, changes url.Values) tokens {
	h.Helper()
	f := url.Values{"grant_type": {jwtBearer}, "assertion": {assertion}, "client_id": {"agent"}, "client_secret": {longSecret}}
	for k, v := range changes {
		if f[k] = v; v == nil {
			f.Del(k)
		}
	}
	return h.token(f)
}

// A program brings the provider's word, and its person is asked nothing: one server, no refresh token, and no more than was said.
func TestAssertion(t *testing.T) {
	h, s := managed(t, func(o *idp.Options) { o.Splits = func(server string) bool { return server == "beta" } })
	got := h.bring(h.assertion(s, nil), nil).wants(h, 200, "")
	if got.Refresh != "" || got.ID != "" || got.Scope != "mcp" || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%+v", got)
	}
	if g := h.good(got.Access, "alpha"); g.UserName != "alice@corp.example" || g.ClientID != "agent" || g.ClientName != "Agent" {
		t.Errorf("%+v", g)
	}
	h.bad(got.Access, "beta")
	first := h.named("alice@corp.example")
	if first.Provider != "corp" || first.Subject != "17" || !slices.Equal(first.Groups, []string{"staff"}) {
		t.Errorf("%+v", first)
	}

	// The person is the one who signs in, and sees the program.
	p := h.stranger()
	p.browse(h.url+"/login").with("corp", nil).wants(303).follow().says("Agent")
	if again := h.named("alice@corp.example"); again.ID != first.ID {
		t.Errorf("two users: %+v %+v", first, again)
	}

	// The scope is what assertion, request and server all have.
	beta := func(scope string, ask url.Values) tokens {
		return h.bring(h.assertion(s, func(c map[string]any, _ *jose.SignerOptions) {
			c["resource"] = []string{strings.ToUpper(h.url[:4]) + h.url[4:] + "/beta/mcp/"} // a list of one, spelled another way
			if c["scope"] = scope; scope == "" {
				delete(c, "scope")
			}
		}), ask)
	}
	for _, c := range []struct{ given, asked, want string }{
		{"", "", "mcp mcp:read mcp:write"}, {"", "mcp:read", "mcp:read"}, {"mcp mcp:read admin", "", "mcp mcp:read"}, {"mcp:read", "mcp:read", "mcp:read"},
	} {
		ask := url.Values{"resource": {h.resource("beta")}}
		if c.asked != "" {
			ask.Set("scope", c.asked)
		}
		if got := beta(c.given, ask).wants(h, 200, ""); got.Scope != c.want {
			t.Errorf("%q of %q: %q, want %q", c.asked, c.given, got.Scope, c.want)
		}
	}
	beta("mcp:read", url.Values{"scope": {"mcp:write"}}).wants(h, 400, "invalid_scope")
	beta("admin", nil).wants(h, 400, "invalid_scope")

	// What the provider says of the groups now is what counts; an assertion that says nothing of them changes nothing.
	h.bring(h.assertion(s, func(c map[string]any, _ *jose.SignerOptions) { delete(c, "groups") }), nil).wants(h, 200, "")
	if u := h.named("alice@corp.example"); !slices.Equal(u.Groups, []string{"staff"}) {
		t.Errorf("%+v", u)
	}
	h.bring(h.assertion(s, func(c map[string]any, _ *jose.SignerOptions) { c["groups"] = []string{"admins"}; delete(c, "email") }), nil).wants(h, 200, "")
	if u := h.named("alice@corp.example"); !slices.Equal(u.Groups, []string{"admins"}) {
		t.Errorf("%+v", u)
	}
	_, _, body := h.postForm("/introspect", url.Values{"token": {got.Access}}, basic("agent", longSecret))
	var about map[string]any
	if err := json.Unmarshal(body, &about); err != nil || about["active"] != true || about["username"] != "alice@corp.example" {
		t.Errorf("%s %v", body, err)
	}
	meta := h.stranger().get(h.url + "/.well-known/oauth-authorization-server").body
	if !strings.Contains(meta, jwtBearer) || !strings.Contains(meta, `"urn:ietf:params:oauth:grant-profile:id-jag"`) {
		t.Errorf("not advertised: %s", meta)
	}
}

// Whatever is not exactly the word of that provider, for that client, for one server of ours, now, and for the first time.
func TestAssertionAttacks(t *testing.T) {
	h, s := managed(t)
	h.stopClock()
	claim := func(name string, v any) assertionChange {
		return func(c map[string]any, _ *jose.SignerOptions) {
			if c[name] = v; v == nil {
				delete(c, name)
			}
		}
	}
	typ := func(kind jose.ContentType) assertionChange {
		return func(_ map[string]any, o *jose.SignerOptions) { o.WithType(kind) }
	}
	in := func(d time.Duration) int64 { return h.now().Add(d).Unix() }
	for name, change := range map[string]assertionChange{
		"an ID token's typ":      typ("JWT"),
		"an access token's typ":  typ("at+jwt"),
		"no typ":                 func(_ map[string]any, o *jose.SignerOptions) { delete(o.ExtraHeaders, jose.HeaderType) },
		"unknown key id":         func(_ map[string]any, o *jose.SignerOptions) { o.WithHeader("kid", "9") },
		"another audience":       claim("aud", "https://other.example"),
		"the token endpoint":     claim("aud", h.url+"/token"),
		"the issuer, almost":     claim("aud", h.url+"/"),
		"two audiences":          claim("aud", []string{h.url, "https://other.example"}),
		"no audience":            claim("aud", nil),
		"another client":         claim("client_id", "other"),
		"no client":              claim("client_id", nil),
		"no id":                  claim("jti", nil),
		"expired":                claim("exp", in(-time.Minute)),
		"no end":                 claim("exp", nil),
		"for ever":               claim("exp", in(2*time.Hour)),
		"from tomorrow":          claim("iat", in(time.Hour)),
		"no beginning":           claim("iat", nil),
		"not yet":                claim("nbf", in(5*time.Minute)),
		"foreign resource":       claim("resource", "https://evil.example/mcp"),
		"the issuer as resource": claim("resource", h.url),
		"no resource":            claim("resource", nil),
		"two resources":          claim("resource", []string{h.resource("alpha"), h.resource("beta")}),
		"unknown issuer":         claim("iss", "https://evil.example"),
		"another provider":       claim("iss", "http://127.0.0.1:1"),
		"no issuer":              claim("iss", nil),
		"no subject":             claim("sub", nil),
		"subject is a number":    claim("sub", 17),
		"bound to a key":         claim("cnf", map[string]any{"jkt": "x"}),
		"details":                claim("authorization_details", []any{map[string]any{"type": "x"}}),
		"unchecked address":      claim("email_verified", false),
		"no address":             claim("email", nil),
		"unspeakable address":    claim("email", "a<b>@corp.example"),
		"long":                   claim("x", strings.Repeat("x", 9000)),
	} {
		t.Run(name, func(t *testing.T) { h.bring(h.assertion(s, change), nil).wants(h, 400, "invalid_grant") })
	}

	claims := map[string]any{
		"iss": s.URL, "sub": "17", "aud": h.url, "resource": h.resource("alpha"), "client_id": "agent", "jti": "1", "iat": in(0), "exp": in(time.Minute),
		"email": "alice@corp.example", "email_verified": true,
	}
	for name, text := range map[string]string{
		"another's key":  assert(t, newKey(t), jose.ES256, "1", claims),
		"shared secret":  assert(t, []byte("0123456789abcdef0123456789abcdef"), jose.HS256, "1", claims),
		"no signature":   "eyJhbGciOiJub25lIiwidHlwIjoib2F1dGgtaWQtamFnK2p3dCJ9.eyJpc3MiOiJ4In0.",
		"not a JWT":      "x",
		"cut":            h.assertion(s, nil)[:200],
		"nothing":        " ",
		"more than text": h.assertion(s, nil) + ".x",
	} {
		t.Run(name, func(t *testing.T) { h.bring(text, nil).wants(h, 400, "invalid_grant") })
	}
	if u := h.named("alice@corp.example"); u.ID != "" {
		t.Errorf("somebody came of it: %+v", u)
	}

	good := h.assertion(s, nil)
	for name, c := range map[string]struct {
		change url.Values
		status int
		code   string
	}{
		"no secret":          {url.Values{"client_secret": nil}, 401, "invalid_client"},
		"wrong secret":       {url.Values{"client_secret": {"x"}}, 401, "invalid_client"},
		"unknown client":     {url.Values{"client_id": {"nobody"}}, 401, "invalid_client"},
		"no client":          {url.Values{"client_id": nil, "client_secret": nil}, 401, "invalid_client"},
		"not let by config":  {url.Values{"client_id": {"other"}}, 400, "unauthorized_client"},
		"a public client":    {url.Values{"client_id": {"public"}, "client_secret": nil}, 400, "unauthorized_client"},
		"another resource":   {url.Values{"resource": {h.resource("beta")}}, 400, "invalid_target"},
		"a foreign resource": {url.Values{"resource": {"https://evil.example/mcp"}}, 400, "invalid_target"},
		"more scope":         {url.Values{"scope": {"mcp openid"}}, 400, "invalid_scope"},
		"no assertion":       {url.Values{"assertion": nil}, 400, "invalid_request"},
		"two":                {url.Values{"assertion": {good, good}}, 400, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) { h.bring(good, c.change).wants(h, c.status, c.code) })
	}
	h.bring(good, nil).wants(h, 200, "")
	h.bring(good, nil).wants(h, 400, "invalid_grant") // again
	if n := len(h.refusals(good, 8)); n != 8 {
		t.Errorf("%d of 8 refused", n)
	}
	if n := len(h.refusals(h.assertion(s, nil), 8)); n != 7 {
		t.Errorf("%d of 8 that bring one assertion at once are refused, want 7", n)
	}

	// The policy is asked, as at every sign-in.
	name := "alice@corp.example"
	h.banned.Store(&name)
	h.bring(h.assertion(s, nil), nil).wants(h, 400, "invalid_grant")
	h.banned.Store(nil)

	// A name that is somebody else's here is not taken over.
	h.user("bob@corp.example")
	h.bring(h.assertion(s, func(c map[string]any, _ *jose.SignerOptions) { c["sub"], c["email"] = "18", "bob@corp.example" }), nil).wants(h, 400, "invalid_grant")
}

// refusals brings one assertion several times at once.
func (h *house) refusals(assertion string, times int) (refused []tokens) {
	h.Helper()
	all := make(chan tokens, times)
	for range times {
		go func() { all <- h.bring(assertion, nil) }() // ends with the answer
	}
	for range times {
		if got := <-all; got.status != 200 {
			refused = append(refused, got)
		}
	}
	return refused
}

// Without the operator's word there is no such grant, and it is not advertised.
func TestAssertionOff(t *testing.T) {
	h, s := corporate(t, func(o *idp.Options) { o.Config.Clients = map[string]idp.ClientConfig{"agent": {Secret: longSecret}} })
	h.bring(h.assertion(s, nil), nil).wants(h, 400, "unsupported_grant_type")
	if meta := h.stranger().get(h.url + "/.well-known/openid-configuration").body; strings.Contains(meta, "jwt-bearer") || strings.Contains(meta, "id-jag") {
		t.Errorf("advertised: %s", meta)
	}
	if s.Requests != 0 {
		t.Errorf("the provider was asked %d times", s.Requests)
	}
}

// Pinned keys need no provider that answers, other algorithms do not count, and another claim may say who it is.
func TestAssertionPinned(t *testing.T) {
	key, other := newKey(t), newKey(t)
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "1"}, {Key: &other.PublicKey, KeyID: "2", Use: "enc"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, algorithm := range []string{"ES256", "RS256"} {
		h := newHouse(t, func(o *idp.Options) {
			o.Config.Clients = map[string]idp.ClientConfig{"agent": {Secret: longSecret}}
			o.Config.Providers = map[string]upstream.Config{"corp": {
				URL: "https://corp.invalid", ClientID: "x",
				Assertions: upstream.Assertions{Clients: []string{"agent"}, Keys: string(set), Algorithms: []string{algorithm}, Subject: "oid"},
			}}
		})
		text := func(k any, id string) string {
			claims := map[string]any{
				"iss": "https://corp.invalid", "sub": "for somebody else", "oid": "17", "aud": h.url, "resource": h.resource("alpha"), "client_id": "agent", "jti": id,
				"iat": h.now().Unix(), "exp": h.now().Add(time.Minute).Unix(), "email": "alice@corp.example", "email_verified": true,
			}
			signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: k}, (&jose.SignerOptions{}).WithHeader("kid", id).WithType("application/oauth-id-jag+jwt"))
			if err != nil {
				t.Fatal(err)
			}
			out, err := jwt.Signed(signer).Claims(claims).Serialize()
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		if algorithm == "RS256" {
			h.bring(text(key, "1"), nil).wants(h, 400, "invalid_grant")
			continue
		}
		h.bring(text(other, "2"), nil).wants(h, 400, "invalid_grant") // a key that is not for signatures
		h.bring(text(key, "1"), nil).wants(h, 200, "")
		if u := h.named("alice@corp.example"); u.Subject != "17" {
			t.Errorf("%+v", u)
		}
	}
}

// A client that is known by its document, and never began a sign-in, brings an assertion and proves itself by signing.
func TestAssertionOfDocumentedClient(t *testing.T) {
	l, key := newLibrary(t), newKey(t)
	l.keys.Store(&jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k", Algorithm: "ES256"}}})
	l.describe(map[string]any{
		"client_name": "Signing App", "redirect_uris": []string{"http://localhost/callback"},
		"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": l.URL + "/keys",
	})
	h, s := managed(t, l.reachable)
	text, err := s.Assertion(h.url, h.resource("alpha"), l.id(), nil)
	if err != nil {
		t.Fatal(err)
	}
	proof := map[string]any{"iss": l.id(), "sub": l.id(), "aud": h.url, "jti": "1", "exp": h.now().Add(time.Minute).Unix()}
	got := h.bring(text, url.Values{
		"client_id": nil, "client_secret": nil, "client_assertion": {assert(t, key, jose.ES256, "k", proof)},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	}).wants(h, 200, "")
	if g := h.good(got.Access, "alpha"); g.ClientName != "Signing App" {
		t.Errorf("%+v", g)
	}
}

// A provider whose keys cannot be had is a failure of the moment.
func TestAssertionKeysAway(t *testing.T) {
	h, s := managed(t)
	s.Set(func(s *upstreamtest.Service) { s.Down = true })
	h.bring(h.assertion(s, nil), nil).wants(h, 503, "server_error")
}

// The MCP Go SDK's own way: it exchanges an ID token at the provider, and brings here what it got.
func TestAssertionGoSDK(t *testing.T) {
	h, s := managed(t)
	s.Set(func(s *upstreamtest.Service) { s.Program = "agent" })
	handler, err := extauth.NewEnterpriseHandler(&extauth.EnterpriseHandlerConfig{
		IdPIssuerURL: s.URL, IdPCredentials: &oauthex.ClientCredentials{ClientID: upstreamtest.ClientID},
		MCPAuthServerURL: h.url, MCPResourceURI: h.resource("alpha"),
		MCPCredentials: &oauthex.ClientCredentials{ClientID: "agent", ClientSecretAuth: &oauthex.ClientSecretAuth{ClientSecret: longSecret}},
		IDTokenFetcher: func(context.Context) (*oauth2.Token, error) {
			text, err := s.IDToken()
			return new(oauth2.Token).WithExtra(map[string]any{"id_token": text}), err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := handler.Authorize(t.Context(), mustRequest(t, "POST", h.resource("alpha")), &http.Response{StatusCode: 401, Body: http.NoBody}); err != nil {
		t.Fatal(err)
	}
	source, err := handler.TokenSource(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	token, err := source.Token()
	if err != nil {
		t.Fatal(err)
	}
	if g := h.good(token.AccessToken, "alpha"); g.UserName != "alice@corp.example" {
		t.Errorf("%+v", g)
	}
}

func TestAssertionConfig(t *testing.T) {
	for want, c := range map[string]upstream.Config{
		"providers.corp.assertions.clients: GitHub":  {Type: "github", Assertions: upstream.Assertions{Clients: []string{"x"}}},
		"providers.corp.assertions.clients: has an":  {URL: "https://a.example", Assertions: upstream.Assertions{Clients: []string{""}}},
		"providers.corp.assertions.keys: it is not":  {URL: "https://a.example", Assertions: upstream.Assertions{Keys: "https://a.example/jwks"}},
		"providers.corp.assertions.algorithms: \"HS": {URL: "https://a.example", Assertions: upstream.Assertions{Algorithms: []string{"HS256"}}},
		"providers.corp.assertions.algorithms: \"no": {URL: "https://a.example", Assertions: upstream.Assertions{Algorithms: []string{"none"}}},
	} {
		all := idp.DefaultConfig()
		all.Providers = map[string]upstream.Config{"corp": c}
		if err := all.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
