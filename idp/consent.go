package idp

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"
)

// consentPage asks whether a client may act for a person, or says that this person may not use the server at all.
type consentPage struct {
	form
	Client   string
	Site     string // whose document describes the client; "" when it only describes itself
	Server   string
	Resource string
	User     string
	To       destination
	Powers   []string // what the client may do, in words
	Allowed  bool
}

// serveConsent shows the question.
func (i *Issuer) serveConsent(w http.ResponseWriter, r *http.Request) error {
	f, err := i.flow(r)
	if err != nil {
		return err
	}
	if next := f.next(); f.req.Silent || next == stepSignIn {
		http.Redirect(w, r, joinPath(pathContinue, f.sealed), http.StatusSeeOther)
		return nil
	}
	page := consentPage{
		Client: f.client.Name, Site: siteOf(f.client), Server: f.req.Server, Resource: f.req.Resource, User: f.session.User.Name,
		To: destinationOf(f.req.RedirectURI), Powers: powers(f.req.Server, len(i.scopesOf(f.req.Server)) > 1, f.req.Scopes), Allowed: f.allowed,
	}
	page.Req, page.leaves = f.sealed, true
	page.CSRF = i.formToken(i.cookies.ensureBrowser(w, r), f.session)
	status := http.StatusOK
	if !f.allowed {
		status = http.StatusForbidden
	}
	return i.pages.consent.show(w, status, page)
}

// serveDecision takes the answer.
func (i *Issuer) serveDecision(w http.ResponseWriter, r *http.Request) error {
	f, err := i.flow(r)
	if err != nil {
		return err
	}
	if err := i.checkForm(r, f.session); err != nil {
		return err
	}
	next := f.next()
	switch {
	case f.req.Silent || next == stepSignIn:
		http.Redirect(w, r, joinPath(pathContinue, f.sealed), http.StatusSeeOther)
		return nil
	case r.PostFormValue("decision") == "switch":
		if err := i.endSession(w, r); err != nil {
			return err
		}
		http.Redirect(w, r, joinPath(pathContinue, f.sealed), http.StatusSeeOther)
		return nil
	case next == stepRefused:
		return i.refuse(w, r, *f.req, refused(codeAccessDenied, "the person may not use this server"))
	case r.PostFormValue("decision") != "allow":
		i.log.Info("consent denied", zap.String("user", f.session.User.Name), zap.String("client", f.client.ID), zap.String("server", f.req.Server))
		return i.refuse(w, r, *f.req, refused(codeAccessDenied, "the person did not agree"))
	}
	c := Consent{
		UserID: f.session.User.ID, ClientID: f.client.ID, Server: f.req.Server,
		Scopes: f.req.Scopes, Digest: consentDigest(f.client), Created: i.now(),
	}
	if err := i.remember(r, c); err != nil {
		return err
	}
	i.log.Info("consent given", zap.String("user", f.session.User.Name), zap.String("client", f.client.ID), zap.String("server", f.req.Server))
	return i.issue(w, r, f)
}

// remember keeps a consent, with the scopes that the person agreed to before, as long as the client is what it was.
func (i *Issuer) remember(r *http.Request, c Consent) error {
	before, err := i.store.Consents().Get(r.Context(), c.UserID, c.ClientID, c.Server)
	if err == nil && before.Digest == c.Digest {
		c.Scopes = slices.Clone(c.Scopes)
		for _, s := range before.Scopes {
			if !hasScope(c.Scopes, s) {
				c.Scopes = append(c.Scopes, s)
			}
		}
	}
	return i.store.Consents().Put(r.Context(), c)
}

// consentDigest is of what the person was shown of a client: when it changes, they are asked again.
func consentDigest(c Client) (d Digest) {
	h := sha256.New()
	field := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	field(c.Name)
	for _, u := range slices.Sorted(slices.Values(c.RedirectURIs)) {
		field(u)
	}
	if len(c.Keys) > 0 || c.KeysURI != "" {
		field(string(c.Keys))
		field(c.KeysURI)
	}
	h.Sum(d[:0])
	return d
}

// siteOf is the host that vouches for what a client says of itself.
func siteOf(c Client) string {
	if c.Kind != Documented {
		return ""
	}
	host, _, _ := strings.Cut(strings.TrimPrefix(c.ID, "https://"), "/")
	return host
}

// powers says in words what the scopes mean.
func powers(server string, split bool, scopes []string) []string {
	var all []string
	switch {
	case hasScope(scopes, ScopeWrite) || hasScope(scopes, ScopeMCP) && !hasScope(scopes, ScopeRead) && !split:
		all = append(all, "use all tools, prompts and resources of “"+server+"” in your name")
	case hasScope(scopes, ScopeRead):
		all = append(all, "read from “"+server+"” in your name: its resources and prompts, and the tools that change nothing")
	case hasScope(scopes, ScopeMCP):
		all = append(all, "connect to “"+server+"” in your name; for anything more you are asked again")
	}
	if hasScope(scopes, "openid") || hasScope(scopes, "profile") {
		all = append(all, "see your user name")
	}
	return append(all, "stay connected while you are away, until you disconnect it")
}
