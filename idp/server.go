package idp

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	httphelper "github.com/zitadel/oidc/v3/pkg/http"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// server is the op.Server: the library's LegacyServer, with every method overridden
// that was more lenient than OAuth 2.1 and MCP are. What each override is for stands above it.
type server struct {
	*op.LegacyServer
	issuer   *Issuer
	provider *op.Provider
	handler  http.Handler
}

func newServer(i *Issuer) (*server, error) {
	options := []op.Option{
		op.WithCORSOptions(nil), // the library's would let any origin read answers to requests with cookies
		op.WithIDTokenHintVerifierOpts(op.WithSupportedIDTokenHintSigningAlgorithms("ES256")),
	}
	if !i.cookies.secure {
		options = append(options, op.WithAllowInsecure())
	}
	provider, err := op.NewProvider(&op.Config{CodeMethodS256: true, AuthMethodPost: true, GrantTypeRefreshToken: true},
		&storage{i}, op.StaticIssuer(i.issuer), options...)
	if err != nil {
		return nil, err
	}
	// Endpoints that are not named here do not exist.
	endpoints := op.Endpoints{
		Authorization: op.NewEndpoint(pathAuthorize),
		Token:         op.NewEndpoint(pathToken),
		Revocation:    op.NewEndpoint(pathRevoke),
		Introspection: op.NewEndpoint(pathIntrospect),
		JwksURI:       op.NewEndpoint(pathKeys),
	}
	if i.config.Device {
		endpoints.DeviceAuthorization = op.NewEndpoint(pathDeviceAuthorization)
	}
	s := &server{LegacyServer: op.NewLegacyServer(provider, endpoints), issuer: i, provider: provider}
	s.handler = op.RegisterServer(s, endpoints,
		op.WithServerCORSOptions(nil),
		op.WithEncoder(newIssEncoder(i.issuer)),
		op.WithHTTPMiddleware(op.NewIssuerInterceptor(provider.IssuerFromRequest).Handler))
	return s, nil
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// VerifyAuthRequest takes over the request that serveAuthorize found good. The library's
// own answers 500 to an unknown client, and wants a scope.
func (s *server) VerifyAuthRequest(ctx context.Context, r *op.Request[oidc.AuthRequest]) (*op.ClientRequest[oidc.AuthRequest], error) {
	req, ok := ctx.Value(requestKey{}).(*request)
	if !ok || r.Data.ClientID != req.ClientID || r.Data.RedirectURI != req.RedirectURI {
		return nil, oidc.ErrInvalidRequestRedirectURI()
	}
	c, err := s.issuer.client(ctx, req.ClientID)
	if err != nil {
		return nil, oidc.ErrInvalidRequestRedirectURI().WithParent(err)
	}
	return &op.ClientRequest[oidc.AuthRequest]{Request: r, Client: opClient{c, s.issuer}}, nil
}

// VerifyClient authenticates the client, before anything that it presents is looked at.
// Public clients may come with HTTP Basic and an empty password, as golang.org/x/oauth2 does; a password that
// is not empty is wrong, for they have none.
func (s *server) VerifyClient(ctx context.Context, r *op.Request[op.ClientCredentials]) (op.Client, error) {
	if r.Data.ClientAssertion != "" {
		c, err := s.issuer.assertedClient(ctx, r.Data.ClientAssertion)
		if err != nil {
			return nil, err
		}
		if id := r.Data.ClientID; id != "" && id != c.ID || r.Header.Get("Authorization") != "" || r.Data.ClientSecret != "" {
			return nil, oidc.ErrInvalidRequest().WithDescription("the client proves itself in one way, as one client")
		}
		return opClient{c, s.issuer}, nil
	}
	if id := r.Form.Get("client_id"); id != "" && id != r.Data.ClientID {
		return nil, oidc.ErrInvalidRequest().WithDescription("client_id is not that of the Authorization header")
	}
	c, err := s.issuer.client(ctx, r.Data.ClientID)
	if errors.Is(err, ErrNotFound) {
		return nil, unknownClient("this client is not registered (any more)")
	}
	if err != nil {
		return nil, internal(err)
	}
	switch c.AuthMethod {
	case string(oidc.AuthMethodNone):
		if r.Data.ClientSecret != "" {
			return nil, unknownClient("this client has no secret")
		}
		return opClient{c, s.issuer}, nil
	case methodSigned:
		return nil, unknownClient("this client must send a client_assertion")
	}
	got := DigestOf(r.Data.ClientSecret)
	if r.Data.ClientSecret == "" || subtle.ConstantTimeCompare(got[:], c.Secret[:]) != 1 {
		return nil, unknownClient("the client's secret is not right")
	}
	return opClient{c, s.issuer}, nil
}

// unknownClient is invalid_client with the status that RFC 6749 §5.2 wants.
func unknownClient(text string) error {
	return op.NewStatusError(oidc.ErrInvalidClient().WithDescription("%s", text), http.StatusUnauthorized)
}

func invalidGrant(text string) error { return oidc.ErrInvalidGrant().WithDescription("%s", text) }

func invalidTarget(text string) error { return oidc.ErrInvalidTarget().WithDescription("%s", text) }

// internal keeps the reason for the log.
func internal(err error) error {
	return oidc.ErrServerError().WithParent(err).WithDescription("the server could not do it; its log says why")
}

// issEncoder adds the issuer to every authorization response, success and error (RFC 9207 §2).
type issEncoder struct {
	httphelper.Encoder
	issuer string
}

func newIssEncoder(issuer string) issEncoder { return issEncoder{oidc.NewEncoder(), issuer} }

// Encode implements httphelper.Encoder.
func (e issEncoder) Encode(src any, dst map[string][]string) error {
	dst["iss"] = []string{e.issuer}
	return e.Encoder.Encode(src, dst)
}

// serveKeys publishes the keys that ID tokens are signed with (RFC 7517).
func (i *Issuer) serveKeys(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(publishedFor/time.Second)))
	next := r.Clone(r.Context())
	next.URL = &url.URL{Path: r.URL.Path}
	i.server.ServeHTTP(w, next)
	return nil
}

// formOf reads the form of an endpoint for programs: only what the body says counts, and
// it says everything once (RFC 6749 §3.2). Credentials in an address end up in logs.
func formOf(r *http.Request) (*http.Request, error) {
	next := r.Clone(r.Context())
	next.URL = &url.URL{Path: r.URL.Path}
	if err := next.ParseForm(); err != nil {
		return nil, &apiError{status: http.StatusBadRequest, Code: codeInvalidRequest, Text: "the form could not be read"}
	}
	for name, v := range next.PostForm {
		if len(v) > 1 && name != "resource" {
			return nil, &apiError{status: http.StatusBadRequest, Code: codeInvalidRequest, Text: "a parameter is there more than once"}
		}
	}
	if len(next.PostForm) == 0 {
		return nil, &apiError{status: http.StatusBadRequest, Code: codeInvalidRequest, Text: "want a form: application/x-www-form-urlencoded"}
	}
	return next, nil
}

// serveForm hands the library a form of the token, revocation or introspection endpoint.
func (i *Issuer) serveForm(w http.ResponseWriter, r *http.Request) error {
	next, err := formOf(r)
	if err != nil {
		return err
	}
	if next.PostForm.Get("grant_type") == string(oidc.GrantTypeBearer) && i.takesAssertions() { // no sign-in began before
		if err := i.acquaint(next); err != nil {
			return err
		}
	}
	w.Header().Set("Pragma", "no-cache")
	i.server.ServeHTTP(&challenger{ResponseWriter: w, basic: r.Header.Get("Authorization") != ""}, next)
	return nil
}

// challenger adds the challenge that RFC 6749 §5.2 wants where a client tried HTTP authentication and failed.
type challenger struct {
	http.ResponseWriter
	basic bool
}

// WriteHeader implements http.ResponseWriter.
func (c *challenger) WriteHeader(status int) {
	if status == http.StatusUnauthorized && c.basic {
		c.Header().Set("WWW-Authenticate", `Basic realm="mcpd"`)
	}
	c.ResponseWriter.WriteHeader(status)
}
