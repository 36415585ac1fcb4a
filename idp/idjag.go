package idp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	"go.uber.org/zap"

	"github.com/mcpd/mcpd/idp/upstream"
)

// An Identity Assertion JWT Authorization Grant (draft-ietf-oauth-identity-assertion-authz-grant) is the word of a provider
// that people sign in with, for one person, one program and one server. MCP calls its use enterprise-managed authorization:
// the provider's administrator decides, and the person is asked nothing.
const (
	typeIDJAG    = "oauth-id-jag+jwt"
	profileIDJAG = "urn:ietf:params:oauth:grant-profile:id-jag"
	maxGrantLife = time.Hour // of an assertion; each is remembered as long
)

// jag is what such an assertion says, beside who it is about.
type jag struct {
	jwt.Claims
	ClientID string          `json:"client_id"`
	Resource jwt.Audience    `json:"resource"` // one, or a list, as aud is
	Scope    *string         `json:"scope"`
	Key      json.RawMessage `json:"cnf"`
	Details  json.RawMessage `json:"authorization_details"`
}

// takesAssertions reports whether any provider's word may be brought.
func (i *Issuer) takesAssertions() bool {
	for _, p := range i.providers {
		if len(p.Assertions.Clients) > 0 {
			return true
		}
	}
	return false
}

// JWTProfile takes a provider's word instead of a sign-in (RFC 7523 §2.1). The library's own does not authenticate the client.
// There is no refresh token: the program brings a new assertion, so that the provider is asked again.
func (s *server) JWTProfile(ctx context.Context, r *op.Request[oidc.JWTProfileGrantRequest]) (*op.Response, error) {
	i, now := s.issuer, s.issuer.now()
	if !i.takesAssertions() {
		return nil, oidc.ErrUnsupportedGrantType().WithDescription("no provider's assertions are taken here")
	}
	cc, err := credentials(r.Header, r.Form)
	if err != nil {
		return nil, err
	}
	client, err := s.VerifyClient(ctx, &op.Request[op.ClientCredentials]{Method: r.Method, URL: r.URL, Header: r.Header, Form: r.Form, Data: cc})
	if err != nil {
		return nil, err
	}
	if client.AuthMethod() == oidc.AuthMethodNone {
		return nil, oidc.ErrUnauthorizedClient().WithDescription("only a client that proves itself, with a secret or a key, can bring an assertion")
	}
	p, said, claims, err := i.readAssertion(ctx, r.Data.Assertion, client.GetID())
	if err != nil {
		return nil, err
	}
	f, err := i.assertedFamily(said, r.Form["resource"], r.Data.Scope)
	if err != nil {
		return nil, err
	}
	u, err := i.assertedUser(ctx, p, claims)
	if err != nil {
		return nil, err
	}
	if !i.allowed(f.Server, u) {
		return nil, invalidGrant("the person may not use this server")
	}
	f.ID, f.UserID, f.ClientID, f.AuthTime, f.Created = newID("fam"), u.ID, client.GetID(), now, now
	err = i.store.Tokens().Spend(ctx, DigestOf("grant "+p.Name+" "+said.ID), said.Expiry.Time().Add(clockLeeway))
	if errors.Is(err, ErrSpent) {
		i.log.Warn("assertion used twice", zap.String("client", f.ClientID), zap.String("user", u.Name))
		return nil, invalidGrant("the assertion was used already")
	}
	if err != nil {
		return nil, internal(err)
	}
	access, secret := i.newAccess(f.ID, f.Scopes, now, i.config.AccessTTL)
	if err := errors.Join(i.store.Tokens().PutFamily(ctx, f, access), i.store.Clients().Use(ctx, f.ClientID, now)); err != nil {
		return nil, grantError(err)
	}
	i.counts.tokens[byAssertion].Add(1)
	i.log.Info("token issued", zap.String("client", f.ClientID), zap.String("server", f.Server), zap.String("user", u.ID), zap.String("provider", p.Name))
	return s.respond(ctx, client, &granted{family: f, scopes: f.Scopes}, secret, "", "")
}

// readAssertion checks all that can be checked without knowing anything of servers and people.
func (i *Issuer) readAssertion(ctx context.Context, assertion, clientID string) (*upstream.Provider, jag, map[string]any, error) {
	var said jag
	p, token, err := i.asserter(assertion, clientID)
	if err != nil {
		return nil, said, nil, err
	}
	head := token.Headers[0]
	if kind, _ := head.ExtraHeaders[jose.HeaderType].(string); !strings.EqualFold(strings.TrimPrefix(kind, "application/"), typeIDJAG) {
		return nil, said, nil, invalidGrant("typ of the assertion is not " + typeIDJAG)
	}
	keys, err := i.keysOfProvider(ctx, p, head.KeyID)
	if err != nil {
		i.log.Warn("keys of provider cannot be read", zap.String("provider", p.Name), zap.Error(err))
		return nil, said, nil, op.NewStatusError(oidc.ErrServerError().WithDescription("the provider's keys cannot be read at this moment"), http.StatusServiceUnavailable)
	}
	var claims map[string]any
	if !slices.ContainsFunc(keys, func(k jose.JSONWebKey) bool {
		return (k.Algorithm == "" || k.Algorithm == head.Algorithm) && (k.Use == "" || k.Use == "sig") && token.Claims(k.Key, &said, &claims) == nil
	}) {
		return nil, said, nil, invalidGrant("the signature of the assertion is not right")
	}
	return p, said, claims, i.checkJAG(said, clientID)
}

// asserter finds the provider whose word this says it is. Nothing is fetched for a client that the operator does not let bring one.
func (i *Issuer) asserter(assertion, clientID string) (*upstream.Provider, *jwt.JSONWebToken, error) {
	if len(assertion) > maxAssertion {
		return nil, nil, invalidGrant("the assertion is too long")
	}
	var all []jose.SignatureAlgorithm
	for _, p := range i.providers {
		for _, alg := range p.Assertions.Algorithms {
			all = append(all, jose.SignatureAlgorithm(alg))
		}
	}
	token, err := jwt.ParseSigned(assertion, all)
	var said jwt.Claims
	if err != nil || len(token.Headers) != 1 || token.UnsafeClaimsWithoutVerification(&said) != nil {
		return nil, nil, invalidGrant("the assertion is not a JWT with a signature that is accepted here")
	}
	for _, p := range i.providers {
		if p.Issuer == "" || p.Issuer != said.Issuer || len(p.Assertions.Clients) == 0 {
			continue
		}
		if !slices.ContainsFunc(p.Assertions.Clients, func(pattern string) bool { return matchGlob(pattern, clientID) }) {
			return nil, nil, oidc.ErrUnauthorizedClient().WithDescription("this client may not bring assertions of this provider")
		}
		if !slices.Contains(p.Assertions.Algorithms, token.Headers[0].Algorithm) {
			return nil, nil, invalidGrant("the assertion is not a JWT with a signature that is accepted here")
		}
		return p, token, nil
	}
	return nil, nil, invalidGrant("the assertion is not from a provider that is trusted here")
}

// keysOfProvider are the keys that may have signed: those with this id, or all where none is named.
func (i *Issuer) keysOfProvider(ctx context.Context, p *upstream.Provider, id string) (all []jose.JSONWebKey, err error) {
	if p.Assertions.Keys != "" {
		all, err = parseKeys([]byte(p.Assertions.Keys))
	} else {
		all, err = i.keysets.of(ctx, "provider "+p.Name, id, i.now(), p.Keys)
	}
	return withID(all, id), err
}

// checkJAG checks what was signed (draft §4.4.1, MCP enterprise-managed authorization).
func (i *Issuer) checkJAG(said jag, clientID string) error {
	now := i.now()
	early := func(d *jwt.NumericDate) bool { return d != nil && d.Time().After(now.Add(clockLeeway)) }
	switch {
	case len(said.Audience) != 1 || said.Audience[0] != i.issuer:
		return invalidGrant("aud of the assertion must be the issuer, and nobody else")
	case said.ClientID != clientID:
		return invalidGrant("client_id of the assertion is not the client that brings it")
	case said.ID == "":
		return invalidGrant("the assertion has no jti")
	case said.Expiry == nil || !now.Before(said.Expiry.Time().Add(clockLeeway)):
		return invalidGrant("the assertion has expired, or has no exp")
	case said.IssuedAt == nil || early(said.IssuedAt) || early(said.NotBefore):
		return invalidGrant("the assertion is from the future, or has no iat")
	case said.Expiry.Time().Sub(said.IssuedAt.Time()) > maxGrantLife:
		return invalidGrant("the assertion is good for longer than " + inWords(maxGrantLife))
	case said.Key != nil:
		return invalidGrant("the assertion is bound to a key (cnf), which is not supported here")
	case said.Details != nil:
		return invalidGrant("the assertion has authorization_details, which are not supported here")
	}
	return nil
}

// assertedFamily finds the one server that it is for, and what it may do there: what the assertion, the request and the server all have.
func (i *Issuer) assertedFamily(said jag, asked, scopes []string) (Family, error) {
	var f Family
	var ok bool
	if len(said.Resource) != 1 {
		return f, invalidGrant("the assertion must name one resource")
	}
	if f.Resource, f.Server, ok = i.findResource(said.Resource[0]); !ok {
		return f, invalidGrant("resource of the assertion is not the URL of an MCP server here")
	}
	if err := i.sameResource(asked, f.Resource); err != nil {
		return f, err
	}
	of := i.scopesOf(f.Server)
	f.Scopes = of
	if said.Scope != nil {
		given := words(*said.Scope)
		f.Scopes = slices.DeleteFunc(slices.Clone(of), func(s string) bool { return !hasScope(given, s) })
	}
	if len(f.Scopes) == 0 {
		return f, oidc.ErrInvalidScope().WithDescription("the assertion has no scope of this server")
	}
	var err error
	f.Scopes, err = narrower(scopes, f.Scopes, of)
	return f, err
}

// assertedUser finds or makes whom it is about. Where it says all that a sign-in would, it counts as one.
func (i *Issuer) assertedUser(ctx context.Context, p *upstream.Provider, claims map[string]any) (User, error) {
	id, whole := p.Said(claims)
	if id.Subject == "" {
		return User{}, invalidGrant("the assertion does not say who it is about")
	}
	a, err := i.store.Users().BySubject(ctx, p.Name, id.Subject)
	known := err == nil
	switch {
	case known && (a.Provider != p.Name || a.Subject != id.Subject):
		return User{}, invalidGrant("the person has linked this identity to a user whom the provider does not vouch for, and must sign in")
	case err != nil && !errors.Is(err, ErrNotFound):
		return User{}, internal(err)
	case !known && id.Email == "":
		return User{}, invalidGrant("the person is not known here, and the assertion has no e-mail address that the provider has checked: they must sign in once")
	case known && !whole:
		return a.User, nil
	case id.Email == "":
		id.Email = a.Name
	}
	u, err := i.vouchedUser(ctx, p, id)
	var page *shown
	if errors.As(err, &page) {
		return u, invalidGrant(page.title)
	}
	if err != nil {
		return u, internal(err)
	}
	return u, nil
}
