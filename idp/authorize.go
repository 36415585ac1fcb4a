package idp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// request is an authorization request that was found good. Sealed, it travels
// through the browser from step to step: until somebody is known, nothing is stored.
type request struct {
	ClientID    string   `json:"client"`
	RedirectURI string   `json:"redirect"`
	State       string   `json:"state,omitempty"`
	Nonce       string   `json:"nonce,omitempty"`
	Challenge   string   `json:"challenge"`
	Resource    string   `json:"resource"`
	Server      string   `json:"server"`
	Scopes      []string `json:"scopes"`
	Ask         bool     `json:"ask,omitempty"`    // consent is asked for, remembered or not
	Silent      bool     `json:"silent,omitempty"` // no page may be shown
	MaxAge      int64    `json:"max_age"`          // of the sign-in, in seconds; -1: any age
	Login       string   `json:"login,omitempty"`
	Hint        string   `json:"hint,omitempty"` // the user that an ID token names
	Created     int64    `json:"created"`        // Unix milliseconds
	Browser     Digest   `json:"browser"`        // of the cookie of the browser that it was made in
}

// requestTTL is how long a person may take to sign in and agree.
const requestTTL = 15 * time.Minute

// maxAuthorize bounds an authorization request, in bytes.
const maxAuthorize = 8 << 10

// supportedScopes is all that can be asked for, by any client: some ask for all that is advertised.
var supportedScopes = []string{ScopeMCP, ScopeRead, ScopeWrite, oidc.ScopeOpenID, oidc.ScopeProfile, oidc.ScopeOfflineAccess}

// The scopes of servers. Every token has the first; where a server tells reading from writing, it alone opens the door and
// no more, and who may write may read.
const (
	ScopeMCP   = "mcp"
	ScopeRead  = "mcp:read"
	ScopeWrite = "mcp:write"
)

// scopesOf are the scopes that mean something at a server.
func (i *Issuer) scopesOf(server string) []string {
	if i.splits != nil && i.splits(server) {
		return []string{ScopeMCP, ScopeRead, ScopeWrite}
	}
	return []string{ScopeMCP}
}

type requestKey struct{}

// serveAuthorize is the authorization endpoint: GET, or POST with a form (OpenID Connect Core §3.1.2.1).
// What is parsed here is handed on in canonical form, so that nothing after it can read the request another way.
func (i *Issuer) serveAuthorize(w http.ResponseWriter, r *http.Request) error {
	if len(r.URL.RawQuery) > maxAuthorize {
		return &shown{status: http.StatusRequestURITooLong, title: "This request is too long", text: "The program that sent you here made a request that is too long to be a sign-in."}
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxAuthorize)
	if err := r.ParseForm(); err != nil {
		return badRequest("It could not be read.", err)
	}
	form, err := i.pulled(r.Form)
	if err != nil {
		return err
	}
	clientID, redirectURI, err := parseTarget(form)
	if err != nil {
		return err
	}
	client, err := i.newest(r, clientID)
	if err != nil {
		return notKnown(err)
	}
	if err := checkReturn(client, redirectURI); err != nil {
		return err
	}
	req, err := i.parseRequest(r.Context(), form)
	req.ClientID, req.RedirectURI, req.State = client.ID, redirectURI, form.Get("state")
	if err != nil {
		return i.refuse(w, r, req, err)
	}
	browser := i.cookies.ensureBrowser(w, r)
	req.Browser, req.Created = DigestOf(browser), i.now().UnixMilli()

	plain := url.Values{
		"client_id": {client.ID}, "redirect_uri": {redirectURI}, "response_type": {string(oidc.ResponseTypeCode)}, "scope": {sentence(req.Scopes)},
		"code_challenge": {req.Challenge}, "code_challenge_method": {string(oidc.CodeChallengeMethodS256)},
	}
	ctx := context.WithValue(r.Context(), requestKey{}, &req)
	next := r.Clone(ctx)
	next.Method, next.Form, next.PostForm, next.Body, next.ContentLength = http.MethodGet, nil, nil, http.NoBody, 0
	next.URL = &url.URL{Path: pathAuthorize, RawQuery: plain.Encode()}
	page := &errorPage{ResponseWriter: w}
	i.server.ServeHTTP(page, next)
	if page.failed {
		return errors.New("the provider refused a request that was found good")
	}
	return nil
}

// parseTarget reads what must be right before the browser may be sent anywhere. Its errors are shown, never redirected (RFC 6749 §4.1.2.1).
func parseTarget(form url.Values) (clientID, redirectURI string, err error) {
	for _, name := range []string{"client_id", "redirect_uri"} {
		switch v := form[name]; {
		case len(v) == 0 || v[0] == "":
			return "", "", badRequest("It does not say "+what(name)+".", nil)
		case len(v) > 1:
			return "", "", badRequest("It says twice "+what(name)+".", nil)
		}
	}
	return form.Get("client_id"), form.Get("redirect_uri"), nil
}

func what(name string) string {
	if name == "client_id" {
		return "which program it is from (client_id)"
	}
	return "where to return to (redirect_uri)"
}

// notKnown tells a person that the client is not there, if that is what is wrong.
func notKnown(err error) error {
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	return &shown{
		status: http.StatusBadRequest, title: "This program is not known here",
		text: "It registered some time ago and was forgotten, or it registered somewhere else. Remove this server from the program and add it again; then it registers anew.",
	}
}

// checkReturn checks that the redirect URI is one of the client's own.
func checkReturn(c Client, redirectURI string) error {
	if slices.ContainsFunc(c.RedirectURIs, func(registered string) bool { return matchRedirect(registered, redirectURI) }) {
		return nil
	}
	return &shown{
		status: http.StatusBadRequest, title: "This request would lead somewhere else",
		text: "The address that it wants to return to is not one that the program registered. For your safety you are not sent there.",
	}
}

// parseRequest reads the rest, whose errors go back to the client.
func (i *Issuer) parseRequest(ctx context.Context, form url.Values) (request, error) {
	req := request{MaxAge: -1}
	for name, v := range form {
		if len(v) > 1 && name != "resource" { // RFC 6749 §3.1
			return req, refused(codeInvalidRequest, "a parameter is there more than once")
		}
	}
	if err := parseUnsupported(form); err != nil {
		return req, err
	}
	if err := parseChallenge(form, &req); err != nil {
		return req, err
	}
	if err := parsePrompt(form, &req); err != nil {
		return req, err
	}
	req.Nonce, req.Login = form.Get("nonce"), form.Get("login_hint")
	if err := i.parseResource(form["resource"], &req); err != nil {
		return req, err
	}
	req.Scopes = i.parseScopes(form.Get("scope"), req.Server)
	if hint := form.Get("id_token_hint"); hint != "" {
		var err error
		if req.Hint, err = op.ValidateAuthReqIDTokenHint(i.issuerContext(ctx), hint, i.server.provider.IDTokenHintVerifier(i.issuerContext(ctx))); err != nil {
			return req, refused(codeLoginRequired, "the id_token_hint is not valid")
		}
	}
	return req, nil
}

func parseUnsupported(form url.Values) error {
	switch t := form.Get("response_type"); t {
	case string(oidc.ResponseTypeCode):
	case "":
		return refused(codeInvalidRequest, "response_type is missing")
	default:
		return refused("unsupported_response_type", "only response_type=code is supported")
	}
	if m := form.Get("response_mode"); m != "" && m != string(oidc.ResponseModeQuery) {
		return refused(codeInvalidRequest, "only response_mode=query is supported")
	}
	if form.Has("request") {
		return refused("request_not_supported", "request objects are not supported")
	}
	if form.Has("request_uri") {
		return refused("request_uri_not_supported", "request_uri is not supported")
	}
	return nil
}

// challengeForm is the S256 of RFC 7636 §4.2: 32 bytes, base64url.
var challengeForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

func parseChallenge(form url.Values, req *request) error {
	req.Challenge = form.Get("code_challenge")
	if req.Challenge == "" {
		return refused(codeInvalidRequest, "code_challenge is missing: PKCE is required")
	}
	if m := form.Get("code_challenge_method"); m != string(oidc.CodeChallengeMethodS256) { // left out, it would mean plain
		return refused(codeInvalidRequest, "code_challenge_method must be S256")
	}
	if !challengeForm.MatchString(req.Challenge) {
		return refused(codeInvalidRequest, "code_challenge is not a SHA-256 in base64url")
	}
	return nil
}

// parsePrompt reads what the client wants of the sign-in (OpenID Connect Core §3.1.2.1).
func parsePrompt(form url.Values, req *request) error {
	asked := words(form.Get("prompt"))
	req.Silent = slices.Contains(asked, "none")
	if req.Silent && len(asked) > 1 {
		return refused(codeInvalidRequest, "prompt=none goes with nothing else")
	}
	req.Ask = slices.Contains(asked, "consent") || slices.Contains(asked, "select_account")
	if age := form.Get("max_age"); age != "" {
		n, err := strconv.ParseInt(age, 10, 64)
		if err != nil || n < 0 {
			return refused(codeInvalidRequest, "max_age is not a number of seconds")
		}
		req.MaxAge = min(n, int64(100*365*24*time.Hour/time.Second))
	}
	if slices.Contains(asked, "login") {
		req.MaxAge = 0
	}
	return nil
}

// parseScopes keeps what can be given at a server: what means nothing here is ignored. Who asks for nothing that opens the
// server gets all of it, and the person is told so: such a client does not know that it could ask for more later.
func (i *Issuer) parseScopes(asked, server string) []string {
	of := i.scopesOf(server)
	var scopes []string
	for _, s := range words(asked) {
		known := slices.Contains(of, s) || slices.Contains(supportedScopes, s) && !isServerScope(s)
		if known && !slices.Contains(scopes, s) {
			scopes = append(scopes, s)
		}
	}
	if len(scopes) == 0 {
		return of
	}
	return scopes
}

func isServerScope(s string) bool { return s == ScopeMCP || s == ScopeRead || s == ScopeWrite }

// parseResource wants exactly one resource, a server of ours (RFC 8707 §2).
func (i *Issuer) parseResource(asked []string, req *request) error {
	switch {
	case len(asked) == 0 || len(asked) == 1 && asked[0] == "":
		return refused(codeInvalidTarget, "resource is missing: it must be the URL of the MCP server")
	case len(asked) > 1:
		return refused(codeInvalidTarget, "there must be exactly one resource")
	}
	var ok bool
	if req.Resource, req.Server, ok = i.findResource(asked[0]); !ok {
		return refused(codeInvalidTarget, "resource is not the URL of an MCP server here")
	}
	return nil
}

// refuse sends an error back to the client, or shows what must not be sent.
func (i *Issuer) refuse(w http.ResponseWriter, r *http.Request, req request, err error) error {
	var back *redirected
	if !errors.As(err, &back) {
		return err
	}
	e := errorResponse{Error: back.code, Description: back.text, State: req.State}
	to, err := op.AuthResponseURL(req.RedirectURI, oidc.ResponseTypeCode, "", e, i.encoder)
	if err != nil {
		return err
	}
	http.Redirect(w, r, to, http.StatusFound)
	return nil
}

// sealRequest and openRequest carry a request through the browser.
func (i *Issuer) sealRequest(req *request) (string, error) {
	b, err := json.Marshal(req)
	if err != nil {
		return "", err
	}
	return i.keys.seal(sealedRequest, b), nil
}

const sealedRequest = "authorization request"

// openRequest refuses a request that is too old, or that another browser began: else
// an attacker could begin a sign-in, have a victim finish it, and take the code.
func (i *Issuer) openRequest(r *http.Request) (*request, string, error) {
	sealed := r.FormValue("req")
	b, err := i.keys.open(sealedRequest, sealed)
	if err != nil {
		return nil, "", badRequest("The link is incomplete, or it is not from here.", nil)
	}
	req := new(request)
	if err := json.Unmarshal(b, req); err != nil {
		return nil, "", err
	}
	if i.now().Sub(time.UnixMilli(req.Created)) > requestTTL {
		return nil, "", &shown{status: http.StatusBadRequest, title: "This took too long", text: "The sign-in is no longer valid. Go back to the program you came from and start again."}
	}
	if browser, ok := i.cookies.browser(r); !ok || DigestOf(browser) != req.Browser {
		return nil, "", &shown{
			status: http.StatusForbidden, title: "This sign-in began in another browser",
			text: "If you followed a link that somebody sent you, close this page: they may be trying to use your account. Otherwise go back to the program you came from and start again, with cookies allowed.",
		}
	}
	return req, sealed, nil
}

func (i *Issuer) issuerContext(ctx context.Context) context.Context {
	return op.ContextWithIssuer(ctx, i.issuer)
}

// errorPage keeps what the provider says about a request from the browser; the pages here say it better.
type errorPage struct {
	http.ResponseWriter
	failed bool
}

// WriteHeader implements http.ResponseWriter.
func (p *errorPage) WriteHeader(status int) {
	if status >= http.StatusBadRequest {
		p.failed = true
		p.Header().Del("Content-Type")
		return
	}
	p.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (p *errorPage) Write(b []byte) (int, error) {
	if p.failed {
		return len(b), nil
	}
	return p.ResponseWriter.Write(b)
}

func hasScope(scopes []string, scope string) bool { return slices.Contains(scopes, scope) }

func joinPath(path, sealed string) string { return path + "?" + url.Values{"req": {sealed}}.Encode() }
