package idp

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// flow is a sign-in in progress: what was asked for, and who is at the browser.
type flow struct {
	req     *request
	sealed  string
	client  Client
	session *Session // nil: nobody
	allowed bool     // the person may use the server
	agreed  bool     // the person has agreed to this before
}

// step is what a sign-in needs next.
type step string

const (
	stepSignIn  step = "sign in"
	stepRefused step = "not allowed"
	stepAsk     step = "ask for consent"
	stepIssue   step = "issue the code"
)

// next is the whole order of a sign-in.
func (f *flow) next() step {
	switch {
	case f.session == nil:
		return stepSignIn
	case f.req.MaxAge >= 0 && f.session.AuthTime.Before(time.UnixMilli(f.req.Created).Add(-time.Duration(f.req.MaxAge)*time.Second)):
		return stepSignIn
	case f.req.Hint != "" && f.req.Hint != f.session.User.ID:
		return stepSignIn
	case !f.allowed:
		return stepRefused
	case f.req.Ask || !f.agreed:
		return stepAsk
	}
	return stepIssue
}

// serveContinue is where every step returns to, and where the code is given out. The
// request's browser cookie and the session's decide; no parameter says what was done already.
func (i *Issuer) serveContinue(w http.ResponseWriter, r *http.Request) error {
	f, err := i.flow(r)
	if err != nil {
		return err
	}
	next := f.next()
	if f.req.Silent && next != stepIssue {
		return i.refuse(w, r, *f.req, silently(next))
	}
	switch next {
	case stepSignIn:
		http.Redirect(w, r, joinPath(pathLogin, f.sealed), http.StatusSeeOther)
		return nil
	case stepIssue:
		return i.issue(w, r, f)
	}
	http.Redirect(w, r, joinPath(pathConsent, f.sealed), http.StatusSeeOther)
	return nil
}

// silently is what prompt=none answers where a page would be needed (OpenID Connect Core §3.1.2.6).
func silently(s step) error {
	switch s {
	case stepSignIn:
		return refused(codeLoginRequired, "the person must sign in")
	case stepAsk:
		return refused(codeConsentRequired, "the person must agree")
	}
	return refused(codeAccessDenied, "the person may not use this server")
}

// flow loads all that a step needs, anew at each: a client, a permission or a session may be gone since the last.
func (i *Issuer) flow(r *http.Request) (*flow, error) {
	req, sealed, err := i.openRequest(r)
	if err != nil {
		return nil, err
	}
	f := &flow{req: req, sealed: sealed}
	if f.client, err = i.client(r.Context(), req.ClientID); err != nil {
		return nil, notKnown(err)
	}
	if err := checkReturn(f.client, req.RedirectURI); err != nil {
		return nil, err
	}
	if f.session, err = i.session(r); err != nil || f.session == nil {
		return f, err
	}
	_, server, ok := i.findResource(req.Resource)
	f.allowed = ok && server == req.Server && i.allowed(req.Server, f.session.User)
	c, err := i.store.Consents().Get(r.Context(), f.session.User.ID, req.ClientID, req.Server)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	f.agreed = err == nil && c.Digest == consentDigest(f.client) &&
		!slices.ContainsFunc(req.Scopes, func(s string) bool { return !hasScope(c.Scopes, s) })
	return f, nil
}

// codeTTL is how long a client may take to redeem a code (RFC 6749 §4.1.2 recommends ten minutes at most).
const codeTTL = time.Minute

// issue gives the client its code.
func (i *Issuer) issue(w http.ResponseWriter, r *http.Request, f *flow) error {
	now := i.now()
	secret := newSecret(prefixCode)
	code := Code{
		Hash: DigestOf(secret), RedirectURI: f.req.RedirectURI, Challenge: f.req.Challenge, Nonce: f.req.Nonce, Expires: now.Add(codeTTL),
		Family: Family{
			ID: newID("fam"), UserID: f.session.User.ID, ClientID: f.client.ID, Server: f.req.Server, Resource: f.req.Resource,
			Scopes: f.req.Scopes, AuthTime: f.session.AuthTime, Created: now,
		},
	}
	if err := i.store.Clients().Use(r.Context(), f.client.ID, now); err != nil {
		return err
	}
	if err := i.store.Tokens().PutCode(r.Context(), code); err != nil {
		return err
	}
	to, err := op.AuthResponseURL(f.req.RedirectURI, oidc.ResponseTypeCode, "", &op.CodeResponseType{Code: secret, State: f.req.State}, i.encoder)
	if err != nil {
		return err
	}
	http.Redirect(w, r, to, http.StatusFound)
	return nil
}
