package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zitadel/oidc/v3/pkg/client/rp"
	httphelper "github.com/zitadel/oidc/v3/pkg/http"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"golang.org/x/oauth2"
)

// openID is a provider that speaks OpenID Connect.
type openID struct {
	config   Config
	redirect string
	client   *http.Client

	mu     sync.Mutex
	party  rp.RelyingParty // nil until the provider was found
	names  bool            // it names itself in every answer (RFC 9207)
	keys   string          // where it publishes its keys
	looked time.Time       // when it was looked for last
	err    error           // and why it was not found
}

const (
	rediscover = 24 * time.Hour  // what a provider says of itself is asked for anew after,
	retry      = 3 * time.Second // and after a failure
)

// signatures that an ID token may have: public keys only, else who knows the client secret could write one.
var signatures = strings.Fields("RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA")

type nonceKey struct{}

// discover finds the provider, when it is needed. One that cannot be found is not looked for again at once, and one
// that was found before is used on.
func (o *openID) discover(ctx context.Context) (rp.RelyingParty, bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	age := time.Since(o.looked)
	if o.party != nil && (age < rediscover || o.err != nil && age < time.Minute) || o.party == nil && o.err != nil && age < retry {
		if o.party != nil {
			return o.party, o.names, nil
		}
		return nil, false, o.err
	}
	// Others wait for this: it does not end because the one who came first went away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.client.Timeout)
	defer cancel()
	party, about, err := o.find(ctx)
	o.looked, o.err = time.Now(), err
	if err == nil {
		o.party, o.names, o.keys = party, about.Names, about.Keys
	}
	if o.party != nil {
		return o.party, o.names, nil
	}
	return nil, false, err
}

// about is what a provider says of itself beside what the library reads.
type about struct {
	Names bool   `json:"authorization_response_iss_parameter_supported"`
	Keys  string `json:"jwks_uri"`
}

func (o *openID) find(ctx context.Context) (party rp.RelyingParty, says about, err error) {
	c := o.config
	scopes := append([]string{oidc.ScopeOpenID, oidc.ScopeEmail}, c.Scopes...)
	if c.Recheck && !slices.Contains(scopes, oidc.ScopeOfflineAccess) {
		scopes = append(scopes, oidc.ScopeOfflineAccess)
	}
	party, err = rp.NewRelyingPartyOIDC(ctx, c.URL, c.ClientID, c.ClientSecret, o.redirect, scopes,
		rp.WithHTTPClient(o.client),
		rp.WithVerifierOpts(
			rp.WithNonce(func(ctx context.Context) string { nonce, _ := ctx.Value(nonceKey{}).(string); return nonce }),
			rp.WithSupportedSigningAlgorithms(signatures...), rp.WithIssuedAtOffset(30*time.Second),
		))
	if err != nil {
		return nil, says, fmt.Errorf("cannot discover %s: %w", c.URL, err)
	}
	for _, endpoint := range []string{party.OAuthConfig().Endpoint.AuthURL, party.OAuthConfig().Endpoint.TokenURL} {
		if err := checkURL(strings.SplitN(endpoint, "?", 2)[0]); err != nil {
			return nil, says, fmt.Errorf("cannot use %s: its endpoint %w", c.URL, err)
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.URL, "/")+oidc.DiscoveryEndpoint, nil)
	if err != nil {
		return nil, says, err
	}
	if err := httphelper.HttpRequest(o.client, r, &says); err != nil {
		return nil, says, fmt.Errorf("cannot discover %s: %w", c.URL, err)
	}
	return party, says, nil
}

func (o *openID) start(ctx context.Context, a Attempt) (string, error) {
	party, _, err := o.discover(ctx)
	if err != nil {
		return "", err
	}
	options := []rp.AuthURLOpt{rp.WithCodeChallenge(oidc.NewSHACodeChallenge(a.Verifier)), rp.AuthURLOpt(rp.WithURLParam("nonce", a.Nonce))}
	switch {
	case a.Fresh:
		options = append(options, rp.WithPrompt(oidc.PromptLogin))
	case o.config.Type == typeGoogle: // people have several accounts there
		options = append(options, rp.WithPrompt(oidc.PromptSelectAccount))
	}
	return rp.AuthURL(a.State, party, options...), nil
}

func (o *openID) finish(ctx context.Context, a Attempt, code, iss string) (Identity, error) {
	party, names, err := o.discover(ctx)
	if err != nil {
		return Identity{}, err
	}
	if iss != o.config.URL && (iss != "" || names) { // RFC 9207 §2.4
		return Identity{}, &Refused{Text: "The answer came from somebody else.", cause: fmt.Errorf("iss is %q", iss)}
	}
	ctx = context.WithValue(ctx, nonceKey{}, a.Nonce)
	tokens, err := rp.CodeExchange[*oidc.IDTokenClaims](ctx, code, party, rp.WithCodeVerifier(a.Verifier))
	if err != nil {
		return Identity{}, refusal(err)
	}
	id, err := o.identity(ctx, party, tokens.Token, tokens.IDTokenClaims)
	if o.config.Recheck {
		id.Token = tokens.RefreshToken
	}
	return id, err
}

// identity reads who somebody is from an ID token, and where that does not say it from userinfo.
func (o *openID) identity(ctx context.Context, party rp.RelyingParty, token *oauth2.Token, id *oidc.IDTokenClaims) (Identity, error) {
	email, checked, claims := id.Email, bool(id.EmailVerified), id.Claims
	if _, ok := claims[o.config.Groups]; (email == "" || !ok && o.config.Groups != noGroups) && party.UserinfoEndpoint() != "" {
		info, err := rp.Userinfo[*oidc.UserInfo](ctx, token.AccessToken, token.Type(), id.Subject, party)
		if err != nil {
			return Identity{}, refusal(err)
		}
		if email == "" {
			email, checked = info.Email, bool(info.EmailVerified)
		}
		if !ok {
			claims = info.Claims
		}
	}
	if email != "" && !checked {
		return Identity{}, &Refused{Text: "It has not checked that your e-mail address is yours."}
	}
	if err := o.google(email, id.Claims); err != nil {
		return Identity{}, err
	}
	return Identity{Subject: id.Subject, Email: email, Groups: o.groups(claims)}, nil
}

// again uses a refresh token (OpenID Connect Core §12). There may be an ID token with the answer; it has no nonce, or that of
// the first sign-in, and comes straight from the provider. Only a clear no is a *Refused: all else may be a defect of the moment.
// groups tells whether the answer says all of them: without an ID token they may be missing from it.
func (o *openID) again(ctx context.Context, subject, token string) (id Identity, groups bool, err error) {
	party, _, err := o.discover(ctx)
	if err != nil {
		return id, false, err
	}
	with := context.WithValue(ctx, oauth2.HTTPClient, o.client)
	got, err := party.OAuthConfig().TokenSource(with, &oauth2.Token{RefreshToken: token}).Token()
	var answer *oauth2.RetrieveError
	if errors.As(err, &answer) && answer.ErrorCode == string(oidc.InvalidGrant) {
		return id, false, &Refused{Text: "It does not know you any more.", cause: err}
	}
	if err != nil {
		return id, false, err
	}
	said := &oidc.IDTokenClaims{}
	said.Subject = subject
	text, whole := got.Extra("id_token").(string)
	if whole {
		verifier := *party.IDTokenVerifier()
		verifier.Nonce = nil
		if said, err = rp.VerifyIDToken[*oidc.IDTokenClaims](ctx, text, &verifier); err != nil {
			return id, false, err
		}
		if said.Subject != subject {
			return id, false, &Refused{Text: "It answered about somebody else."}
		}
	}
	id, err = o.identity(ctx, party, got, said)
	var refused *Refused
	if errors.As(err, &refused) && refused.cause != nil {
		err = refused.cause
	}
	id.Token = got.RefreshToken
	return id, whole || len(id.Groups) > 0 || o.config.Groups == noGroups, err
}

// refusal tells an answer that is no good from a provider that could not be asked.
func refusal(err error) error {
	var answer *oauth2.RetrieveError
	var web interface{ Timeout() bool } // of net/http and net
	if !errors.As(err, &answer) && errors.As(err, &web) || errors.As(err, &answer) && answer.Response.StatusCode >= 500 {
		return err
	}
	return &Refused{Text: "Its answer was not valid.", cause: err}
}

// google wants an address for which Google is the authority: its own, or of a Workspace. Others were checked
// once, when the account was made, and may belong to somebody else by now.
func (o *openID) google(email string, claims map[string]any) error {
	if o.config.Type != typeGoogle || email == "" {
		return nil
	}
	_, domain, _ := strings.Cut(strings.ToLower(email), "@")
	if hd, _ := claims["hd"].(string); hd == "" && domain != "gmail.com" && domain != "googlemail.com" {
		return &Refused{Text: "Your address " + email + " is not Google's to vouch for: use an account of Gmail or of a Google Workspace."}
	}
	return nil
}

// groups reads the claim: a list of text, or one text.
func (o *openID) groups(claims map[string]any) (groups []string) {
	if o.config.Groups == noGroups {
		return nil
	}
	switch v := claims[o.config.Groups].(type) {
	case string:
		return []string{v}
	case []any:
		for _, g := range v {
			if s, ok := g.(string); ok {
				groups = append(groups, s)
			}
		}
	}
	return groups
}
