package idp_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"github.com/zitadel/oidc/v3/pkg/client/rp"
	"github.com/zitadel/oidc/v3/pkg/oidc"
)

type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newRecorder() *recorder { return &recorder{header: http.Header{}} }

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

func mustRequest(t *testing.T, method, to string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The MCP Go SDK's own OAuth client: finds the issuer, registers, asks, redeems.
func TestGoSDK(t *testing.T) {
	h := newHouse(t)
	p := h.signedIn("alice")
	for name, config := range map[string]*auth.AuthorizationCodeHandlerConfig{
		"without method": {DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{
			ClientName: "SDK", RedirectURIs: []string{"http://localhost:3142"},
		}}},
		"with secret": {DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{
			ClientName: "SDK", RedirectURIs: []string{"http://localhost:3142"}, TokenEndpointAuthMethod: "client_secret_basic",
		}}, RequestRefreshToken: true},
	} {
		t.Run(name, func(t *testing.T) {
			config.AuthorizationCodeFetcher = func(_ context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
				q := p.browse(args.URL).wants(200).press("allow", nil).answer()
				return &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}, nil
			}
			handler, err := auth.NewAuthorizationCodeHandler(config)
			if err != nil {
				t.Fatal(err)
			}
			h.sdkToken(handler)
		})
	}
}

// sdkToken lets the SDK's handler get a token for a server of its own, which is server alpha.
func (h *house) sdkToken(handler *auth.AuthorizationCodeHandler) {
	h.Helper()
	mux := http.NewServeMux()
	protected := httptest.NewServer(mux)
	defer protected.Close()
	resource := protected.URL + "/mcp"
	mux.HandleFunc("/.well-known/oauth-protected-resource/mcp", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"resource":"` + resource + `","authorization_servers":["` + h.url + `"],"scopes_supported":["mcp"]}`))
	})
	h.extra(resource)
	refused := &http.Response{StatusCode: 401, Body: http.NoBody, Header: http.Header{
		"Www-Authenticate": {`Bearer resource_metadata="` + protected.URL + `/.well-known/oauth-protected-resource/mcp", scope="mcp"`},
	}}
	r, err := http.NewRequestWithContext(h.Context(), "POST", resource, nil)
	if err != nil {
		h.Fatal(err)
	}
	if err := handler.Authorize(h.Context(), r, refused); err != nil {
		h.Fatal(err)
	}
	source, err := handler.TokenSource(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	token, err := source.Token()
	if err != nil {
		h.Fatal(err)
	}
	if _, err := h.issuer.Verify(h.Context(), token.AccessToken, resource); err != nil {
		h.Fatal(err)
	}
	if token.RefreshToken == "" {
		h.Error("no refresh token")
	}
}

type nonceKey struct{}

// An OpenID Connect relying party: discovery, PKCE, nonce, the ID token's signature and claims, userinfo, refresh.
func TestRelyingParty(t *testing.T) {
	h := newHouse(t)
	p := h.signedIn("alice")
	_, out := h.postJSON("/register", map[string]any{"client_name": "RP", "redirect_uris": []string{"https://rp.example/cb"}, "token_endpoint_auth_method": "client_secret_basic"})
	party, err := rp.NewRelyingPartyOIDC(t.Context(), h.url, out["client_id"].(string), out["client_secret"].(string), "https://rp.example/cb",
		[]string{"openid", "profile", "mcp"}, rp.WithVerifierOpts(rp.WithSupportedSigningAlgorithms("ES256"), rp.WithNonce(func(ctx context.Context) string { n, _ := ctx.Value(nonceKey{}).(string); return n })))
	if err != nil {
		t.Fatal(err)
	}
	verifier := strings.Repeat("v", 50)
	resource := rp.WithURLParam("resource", h.resource("alpha"))
	to := rp.AuthURL("the state", party, rp.AuthURLOpt(resource), rp.WithCodeChallenge(oidc.NewSHACodeChallenge(verifier)), rp.AuthURLOpt(rp.WithURLParam("nonce", "the nonce")))
	q := p.browse(to).wants(200).press("allow", nil).answer()
	if q.Get("state") != "the state" {
		t.Fatalf("%v", q)
	}
	got, err := rp.CodeExchange[*oidc.IDTokenClaims](context.WithValue(t.Context(), nonceKey{}, "the nonce"), q.Get("code"), party, rp.WithCodeVerifier(verifier))
	if err != nil {
		t.Fatal(err)
	}
	claims := got.IDTokenClaims
	if claims.Subject == "" || claims.PreferredUsername != "alice" || len(claims.Audience) != 1 || claims.Audience[0] != out["client_id"] || claims.AuthTime.AsTime().IsZero() {
		t.Fatalf("claims: %+v", claims)
	}
	info, err := rp.Userinfo[*oidc.UserInfo](t.Context(), got.AccessToken, "Bearer", claims.Subject, party)
	if err != nil || info.PreferredUsername != "alice" {
		t.Fatalf("userinfo: %+v %v", info, err)
	}
	// A refreshed ID token has no nonce (OpenID Connect Core §12.2).
	next, err := rp.RefreshTokens[*oidc.IDTokenClaims](t.Context(), party, got.RefreshToken, "", "")
	if err != nil {
		t.Fatal(err)
	}
	h.good(next.AccessToken, "alpha")

	// The ID token as a hint: of this person it is as good as none, of another it wants a sign-in.
	hint := url.Values{"id_token_hint": {got.IDToken}, "prompt": {"none"}, "scope": {"mcp"}}
	a := &app{house: h, id: out["client_id"].(string), redirect: "https://rp.example/cb", verifier: verifier}
	if q := p.browse(a.ask(hint)).answer(); q.Get("code") == "" {
		t.Fatalf("%v", q)
	}
	if q := h.signedIn("bob").browse(a.ask(hint)).answer(); q.Get("error") != "login_required" {
		t.Fatalf("%v", q)
	}
}
