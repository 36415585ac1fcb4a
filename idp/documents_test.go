package idp_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/modelcontextprotocol/go-sdk/auth"

	"github.com/mcpd/mcpd/idp"
)

// library is a website with documents of clients.
type library struct {
	*httptest.Server
	hits atomic.Int64
	say  atomic.Pointer[map[string]any] // the document, without client_id
	keys atomic.Pointer[jose.JSONWebKeySet]
}

func newLibrary(t *testing.T) *library {
	l := &library{}
	l.describe(map[string]any{"client_name": "Document App", "redirect_uris": []string{"http://localhost/callback", "http://127.0.0.1/callback"}})
	l.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.hits.Add(1)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "max-age=600")
		if r.URL.Path == "/keys" {
			_ = json.NewEncoder(w).Encode(l.keys.Load())
			return
		}
		d := *l.say.Load()
		if d == nil {
			http.Error(w, "gone", http.StatusGone)
			return
		}
		d["client_id"] = l.id()
		_ = json.NewEncoder(w).Encode(d)
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *library) id() string                  { return l.URL + "/oauth/client" }
func (l *library) describe(doc map[string]any) { l.say.Store(&doc) }

// reachable lets an issuer read the library, which is on this computer.
func (l *library) reachable(o *idp.Options) {
	o.Config.Documents.Networks = []string{"127.0.0.0/8"}
	o.Roots = x509.NewCertPool()
	o.Roots.AddCert(l.Certificate())
}

func (h *house) documented(l *library) *app {
	return &app{house: h, id: l.id(), redirect: "http://localhost:3333/callback", verifier: strings.Repeat("v", 43)}
}

// A client that nobody registered: its document is read, shown to the person, and remembered as long as it is fresh.
func TestDocumentClient(t *testing.T) {
	l := newLibrary(t)
	h := newHouse(t, l.reachable)
	a, p := h.documented(l), h.signedIn("alice")
	g := p.browse(a.ask(nil)).wants(200).says("Document App").says("Described by").says("any program here could say")
	if site := g.byID("site"); site == nil || g.text(site) != strings.TrimPrefix(l.URL, "https://") {
		t.Errorf("the page does not name the document's host: %s", g.body)
	}
	got := a.redeem(a.code(p, nil), nil).wants(h, 200, "")
	if g := h.good(got.Access, "alpha"); g.ClientID != l.id() || g.ClientName != "Document App" {
		t.Errorf("%+v", g)
	}
	if n := l.hits.Load(); n != 1 {
		t.Errorf("%d fetches for three requests", n)
	}
	p.get(h.url + "/account").wants(200).says("Document App")

	// A redirect URI that the document does not have; a client_id that only looks alike.
	p.get(a.ask(url.Values{"redirect_uri": {"https://evil.example/cb"}})).wants(400)
	p.get(a.ask(url.Values{"client_id": {l.id() + "/"}})).wants(400).says("could not be looked up")

	// The document changes: fetched when it is not fresh any more, and the person is asked again.
	p.browse(a.ask(nil)).answer()
	l.describe(map[string]any{"client_name": "Document App", "redirect_uris": []string{"http://localhost/callback", "https://more.example/cb"}})
	p.browse(a.ask(nil)).answer()
	h.later(11 * time.Minute)
	p.browse(a.ask(nil)).wants(200).says("Document App")

	// The website is gone: no new sign-in, but who is connected stays so.
	l.say.Store(new(map[string]any))
	h.later(11 * time.Minute)
	p.get(a.ask(nil)).wants(400).says("status 410")
	a.refresh(got.Refresh, nil).wants(h, 200, "")
}

// What a document may not say, and what an issuer does not look up.
func TestDocumentRefused(t *testing.T) {
	l := newLibrary(t)
	h := newHouse(t, l.reachable)
	a, p := h.documented(l), h.signedIn("alice")
	ok := []string{"http://localhost/callback"}
	for name, doc := range map[string]map[string]any{
		"no name":      {"redirect_uris": ok},
		"no redirects": {"client_name": "x"},
		"http":         {"client_name": "x", "redirect_uris": append(ok, "http://a.example/cb")},
		"script":       {"client_name": "x", "redirect_uris": append(ok, "javascript:alert(1)")},
		"many":         {"client_name": "x", "redirect_uris": strings.Fields(strings.Repeat(ok[0]+" ", 11))},
		"secret":       {"client_name": "x", "redirect_uris": ok, "client_secret": "x"},
		"shared":       {"client_name": "x", "redirect_uris": ok, "token_endpoint_auth_method": "client_secret_basic"},
		"private key":  {"client_name": "x", "redirect_uris": ok, "token_endpoint_auth_method": "private_key_jwt", "jwks": jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: newKey(t), KeyID: "1"}}}},
		"logout":       {"client_name": "x", "redirect_uris": ok, "post_logout_redirect_uris": []string{"javascript:alert(1)"}},
	} {
		t.Run(name, func(t *testing.T) {
			l.describe(doc)
			if g := p.get(a.ask(nil)).wants(400).says("could not be looked up"); strings.Contains(g.header.Get("Location"), "localhost") {
				t.Error("redirected")
			}
		})
	}
	before := l.hits.Load()
	for _, id := range []string{"https://", "https://me@" + strings.TrimPrefix(l.id(), "https://"), l.id() + "#x", l.URL, l.URL + "/../oauth/client"} {
		p.get(a.ask(url.Values{"client_id": {id}})).wants(400)
	}
	if l.hits.Load() != before {
		t.Error("a bad URL was fetched")
	}

	// Without the operator's word, what is on this network is not read at all.
	closed := newHouse(t, l.reachable, func(o *idp.Options) { o.Config.Documents.Networks = nil })
	closed.signedIn("alice").get(closed.documented(l).ask(nil)).wants(400).says("could not be fetched")
	// The mechanism is off, or this client is not let in.
	for _, change := range []func(*idp.Options){
		func(o *idp.Options) { o.Config.Documents.Disabled = true },
		func(o *idp.Options) { o.Config.Documents.Allow = []string{"https://claude.ai/*"} },
	} {
		off := newHouse(t, l.reachable, change)
		off.stranger().get(off.documented(l).ask(nil)).wants(400).says("not known")
	}
	for want, allow := range map[bool][]string{true: {"https://claude.ai/*"}, false: nil} {
		some := newHouse(t, func(o *idp.Options) { o.Config.Documents.Allow = allow })
		got := some.stranger().get(some.url + "/.well-known/oauth-authorization-server").body
		if strings.Contains(got, `"client_id_metadata_document_supported": true`) != want {
			t.Errorf("documents of %q may come, and clients are told: %s", allow, got)
		}
	}
	if l.hits.Load() != before {
		t.Error("it was fetched all the same")
	}
	// Somebody makes us read other people's websites.
	for n := 0; ; n++ {
		if g := h.stranger().get(a.ask(url.Values{"client_id": {fmt.Sprintf("%s/%d", l.URL, n)}})); g.status == 429 {
			break
		}
		if n > 40 {
			t.Fatal("no end of fetches")
		}
	}
}

// A pinned document is used instead of what is at its URL, which need not be reachable.
func TestPinnedDocument(t *testing.T) {
	const id = "https://claude.ai/oauth/claude-code-client-metadata"
	h := newHouse(t, func(o *idp.Options) {
		o.Config.Documents.Pinned = []string{`{"client_id":"` + id + `","client_name":"Claude Code","redirect_uris":["http://localhost/callback","http://127.0.0.1/callback"],"token_endpoint_auth_method":"none"}`}
	})
	a := &app{house: h, id: id, redirect: "http://localhost:50123/callback", verifier: strings.Repeat("v", 43)}
	p := h.signedIn("alice")
	p.browse(a.ask(nil)).wants(200).says("Claude Code").says("claude.ai")
	h.good(a.redeem(a.code(p, nil), nil).wants(h, 200, "").Access, "alpha")
	if q := p.browse(a.ask(nil)).answer(); q.Get("code") == "" {
		t.Errorf("asked again: %v", q)
	}
	c := idp.DefaultConfig()
	c.Documents.Pinned, c.Documents.Networks = []string{`{"client_id":"x"}`}, []string{"10.0.0.1"}
	err := c.Validate()
	for _, key := range []string{"documents.pinned[0]: ", "documents.networks[0]: "} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("no error about %s in %v", key, err)
		}
	}
}

// The MCP Go SDK's client with a document: HTTP Basic with its URL for a name, and no password.
func TestGoSDKDocument(t *testing.T) {
	l := newLibrary(t)
	h := newHouse(t, l.reachable)
	p := h.signedIn("alice")
	handler, err := auth.NewAuthorizationCodeHandler(&auth.AuthorizationCodeHandlerConfig{
		ClientIDMetadataDocumentConfig: &auth.ClientIDMetadataDocumentConfig{URL: l.id()}, RedirectURL: "http://localhost:3142/callback",
		AuthorizationCodeFetcher: func(_ context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
			q := p.browse(args.URL).wants(200).press("allow", nil).answer()
			return &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	h.sdkToken(handler)
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// assert signs claims as a client does.
func assert(t testing.TB, key any, alg jose.SignatureAlgorithm, kid string, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", kid))
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A client that proves itself by what it signs: with the right key, for us, now, once.
func TestSignedClient(t *testing.T) {
	l := newLibrary(t)
	h := newHouse(t, l.reachable)
	key, other := newKey(t), newKey(t)
	set := func(keys ...*ecdsa.PrivateKey) *jose.JSONWebKeySet {
		s := &jose.JSONWebKeySet{}
		for n, k := range keys {
			s.Keys = append(s.Keys, jose.JSONWebKey{Key: &k.PublicKey, KeyID: fmt.Sprint(n), Algorithm: "ES256", Use: "sig"})
		}
		return s
	}
	l.keys.Store(set(key))
	l.describe(map[string]any{
		"client_name": "Signing App", "redirect_uris": []string{"http://localhost/callback"},
		"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": l.URL + "/keys",
	})
	a, p := h.documented(l), h.signedIn("alice")
	n := 0
	claims := func(changes map[string]any) map[string]any {
		n++
		c := map[string]any{"iss": a.id, "sub": a.id, "aud": h.url, "jti": fmt.Sprint(n), "exp": h.now().Add(time.Minute).Unix(), "iat": h.now().Unix()}
		for k, v := range changes {
			if c[k] = v; v == nil {
				delete(c, k)
			}
		}
		return c
	}
	proof := func(assertion string) url.Values {
		return url.Values{"client_assertion": {assertion}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}
	}
	code := a.code(p, nil)
	hmacKey := []byte("0123456789abcdef0123456789abcdef")
	for name, assertion := range map[string]string{
		"another key":    assert(t, other, jose.ES256, "0", claims(nil)),
		"unknown key id": assert(t, key, jose.ES256, "9", claims(nil)),
		"shared secret":  assert(t, hmacKey, jose.HS256, "0", claims(nil)),
		"no signature":   "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.",
		"not a JWT":      "x",
		"other issuer":   assert(t, key, jose.ES256, "0", claims(map[string]any{"iss": "https://evil.example/x"})),
		"other subject":  assert(t, key, jose.ES256, "0", claims(map[string]any{"sub": "x"})),
		"other audience": assert(t, key, jose.ES256, "0", claims(map[string]any{"aud": "https://other.example"})),
		"two audiences":  assert(t, key, jose.ES256, "0", claims(map[string]any{"aud": []string{h.url, "https://other.example"}})),
		"no audience":    assert(t, key, jose.ES256, "0", claims(map[string]any{"aud": nil})),
		"expired":        assert(t, key, jose.ES256, "0", claims(map[string]any{"exp": h.now().Add(-time.Hour).Unix()})),
		"no end":         assert(t, key, jose.ES256, "0", claims(map[string]any{"exp": nil})),
		"for ever":       assert(t, key, jose.ES256, "0", claims(map[string]any{"exp": h.now().Add(time.Hour).Unix()})),
		"not yet":        assert(t, key, jose.ES256, "0", claims(map[string]any{"nbf": h.now().Add(5 * time.Minute).Unix()})),
		"from tomorrow":  assert(t, key, jose.ES256, "0", claims(map[string]any{"iat": h.now().Add(5 * time.Minute).Unix()})),
		"no id":          assert(t, key, jose.ES256, "0", claims(map[string]any{"jti": nil})),
		"long":           assert(t, key, jose.ES256, "0", claims(map[string]any{"x": strings.Repeat("x", 9000)})),
	} {
		t.Run(name, func(t *testing.T) { a.redeem(code, proof(assertion)).wants(h, 401, "invalid_client") })
	}
	a.redeem(code, nil).wants(h, 401, "invalid_client") // nothing but the name
	a.redeem(code, url.Values{"client_secret": {"x"}}).wants(h, 401, "invalid_client")
	both := proof(assert(t, key, jose.ES256, "0", claims(nil)))
	both.Set("client_secret", "x")
	a.redeem(code, both).wants(h, 400, "invalid_request")

	good := assert(t, key, jose.ES256, "0", claims(nil))
	without := proof(good)
	without["client_id"] = nil
	got := a.redeem(code, without).wants(h, 200, "")
	a.refresh(got.Refresh, proof(good)).wants(h, 401, "invalid_client") // again
	got = a.refresh(got.Refresh, proof(assert(t, key, jose.ES256, "", claims(map[string]any{"aud": h.url + "/token"})))).wants(h, 200, "")

	// A key of tomorrow is looked for, an old one is not missed.
	l.keys.Store(set(key, other))
	got = a.refresh(got.Refresh, proof(assert(t, other, jose.ES256, "1", claims(nil)))).wants(h, 200, "")
	h.good(got.Access, "alpha")
	registered := h.registered(loopback)
	registered.refresh("x", proof(assert(t, key, jose.ES256, "0", claims(map[string]any{"iss": registered.id, "sub": registered.id})))).wants(h, 401, "invalid_client")
}
