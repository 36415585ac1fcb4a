package idp

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/mcpd/mcpd/idp/upstream"
)

// A person can link identities at providers to the user that they are here, and sign in with those too. It is never done for them, by
// an equal e-mail address or anything else. A linked identity is a way in and no more: groups, and whether the person may
// still come, remain those of the user; and the second step is asked for as after a password.
const (
	maxIdentities    = 10 // of one person
	sealedConnection = "identity to be linked"
)

// joining is an identity that somebody has shown to be theirs, and is about to link. Sealed, it is in the form that asks.
type joining struct {
	Provider string `json:"provider"`
	Subject  string `json:"subject"`
	Name     string `json:"name"`
	Session  string `json:"session"` // in which it began
	Created  int64  `json:"created"` // Unix milliseconds
}

// identityRow is an identity as its owner sees it.
type identityRow struct {
	ID, Label, Name string
	Created         time.Time
}

// identityPage asks whether an identity is to be linked, and says whose to whom.
type identityPage struct {
	form
	User, Label, Name, Joining string
}

// linkTags are what a link to a provider must bring with it that is to link an identity: of this browser, session and provider.
func (i *Issuer) linkTags(browser string, s *Session, provider string) []string {
	return i.keys.tags("link", browser, sessionTag(s), provider)
}

// linkChoices are the providers that an identity could be linked of.
func (i *Issuer) linkChoices(browser string, s *Session) (all []choice) {
	for _, name := range i.providerNames() {
		if !i.providers[name].Link {
			continue
		}
		all = append(all, choice{Label: i.providers[name].Label, To: pathWith + name + "?" + url.Values{"link": {i.linkTags(browser, s, name)[0]}}.Encode()})
	}
	return all
}

// identitiesOf lists what somebody has linked, without the identity that they are a user for.
func (i *Issuer) identitiesOf(ctx context.Context, u User) (rows []identityRow, err error) {
	all, err := i.store.Users().Identities(ctx, u.ID)
	for _, id := range all {
		if id.Provider == u.Provider && id.Subject == u.Subject {
			continue
		}
		row := identityRow{ID: id.key(), Label: id.Provider, Name: id.Name, Created: id.Created}
		if p := i.providers[id.Provider]; p != nil {
			row.Label = p.Label
		}
		rows = append(rows, row)
	}
	return rows, err
}

func (i *Issuer) checkLately(s *Session) error {
	if i.fresh(s) {
		return nil
	}
	return &shown{status: http.StatusForbidden, title: "Sign in again first", text: "To change how you sign in, sign out, sign in again, and do it within a quarter of an hour."}
}

// mayLink finds who is about to link an identity. The tag is from their own page: nobody else can have them begin.
func (i *Issuer) mayLink(r *http.Request, p *upstream.Provider) (*Session, error) {
	session, err := i.session(r)
	if err != nil {
		return nil, err
	}
	browser, ok := i.cookies.browser(r)
	got := []byte(r.URL.Query().Get("link"))
	if session == nil || !ok || !p.Link || !slices.ContainsFunc(i.linkTags(browser, session, p.Name), func(want string) bool {
		return subtle.ConstantTimeCompare(got, []byte(want)) == 1
	}) {
		return nil, &shown{status: http.StatusForbidden, title: "This page is no longer valid", text: "Open your account page again, and link from there."}
	}
	return session, i.checkLately(session)
}

// serveJoining asks, when somebody has come back from a provider: they see which identity it is, for they may have
// been signed in there as somebody else than they think.
func (i *Issuer) serveJoining(w http.ResponseWriter, r *http.Request, p *upstream.Provider, a attempt) error {
	session, err := i.session(r)
	if err != nil {
		return err
	}
	if session == nil || sessionTag(session) != a.Link {
		return &shown{status: http.StatusForbidden, title: "You have signed out meanwhile", text: "Sign in, open your account page again, and link from there."}
	}
	if err := i.checkLately(session); err != nil {
		return err
	}
	id, status, problem, err := i.finish(r, p, a)
	if err != nil {
		return err
	}
	if problem != "" {
		return i.showAccount(w, r, session, status, problem+" Nothing was changed.")
	}
	b, err := json.Marshal(joining{Provider: p.Name, Subject: id.Subject, Name: id.Email, Session: a.Link, Created: i.now().UnixMilli()})
	if err != nil {
		return err
	}
	page := identityPage{User: session.User.Name, Label: p.Label, Name: id.Email, Joining: i.keys.seal(sealedConnection, b)}
	page.CSRF = i.formToken(i.cookies.ensureBrowser(w, r), session)
	return i.pages.identity.show(w, http.StatusOK, page)
}

// serveLinkIdentity links it, when they have agreed.
func (i *Issuer) serveLinkIdentity(w http.ResponseWriter, r *http.Request, session *Session) error {
	if err := i.checkLately(session); err != nil {
		return err
	}
	var j joining
	b, err := i.keys.open(sealedConnection, r.PostFormValue("joining"))
	if err == nil {
		err = json.Unmarshal(b, &j)
	}
	if err != nil || j.Session != sessionTag(session) || i.now().Sub(time.UnixMilli(j.Created)) > requestTTL || i.providers[j.Provider] == nil || !i.providers[j.Provider].Link {
		return &shown{status: http.StatusBadRequest, title: "This took too long", text: "Open your account page again, and link from there.", cause: err}
	}
	label := i.providers[j.Provider].Label
	err = i.store.Users().Link(r.Context(), Identity{Provider: j.Provider, Subject: j.Subject, UserID: session.User.ID, Name: j.Name, Created: i.now()}, maxIdentities)
	switch {
	case errors.Is(err, ErrExists):
		i.log.Warn("identity not linked: it is linked or a user already", zap.String("user", session.User.Name), zap.String("provider", j.Provider), zap.String("identity", j.Name))
		return i.showAccount(w, r, session, http.StatusConflict, j.Name+" of "+label+" belongs to a user here already. Nothing was changed.")
	case errors.Is(err, ErrFull):
		return i.showAccount(w, r, session, http.StatusConflict, "You have linked as many as one can. Nothing was changed.")
	case err != nil:
		return err
	}
	i.log.Info("identity linked", zap.String("user", session.User.Name), zap.String("provider", j.Provider), zap.String("identity", j.Name))
	return i.back(w, r, "linked")
}

// serveUnlink takes a linked identity away, and signs out the other browsers that came by that provider.
func (i *Issuer) serveUnlink(w http.ResponseWriter, r *http.Request, session *Session) error {
	if err := i.checkLately(session); err != nil {
		return err
	}
	ctx, u := r.Context(), session.User
	all, err := i.store.Users().Identities(ctx, u.ID)
	if err != nil {
		return err
	}
	n := slices.IndexFunc(all, func(id Identity) bool { return id.key() == r.PostFormValue("identity") })
	if n < 0 || all[n].Provider == u.Provider && all[n].Subject == u.Subject {
		return i.back(w, r, "")
	}
	only, err := i.onlyWay(ctx, u, len(all))
	if err != nil {
		return err
	}
	if only {
		return i.showAccount(w, r, session, http.StatusConflict, "It is your only way in. Set a password, or add a passkey, first. Nothing was changed.")
	}
	if err := i.store.Users().Unlink(ctx, all[n]); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	sessions, err := i.store.Sessions().Of(ctx, u.ID, i.now())
	if err != nil {
		return err
	}
	for _, s := range sessions {
		by, _, _ := strings.Cut(s.Method, " ")
		if by == all[n].Provider && s.Hash != session.Hash {
			if err := i.store.Sessions().Delete(ctx, s.Hash); err != nil {
				return err
			}
		}
	}
	i.log.Info("identity unlinked", zap.String("user", u.Name), zap.String("provider", all[n].Provider), zap.String("identity", all[n].Name))
	return i.back(w, r, "unlinked")
}

// onlyWay reports whether somebody with so many identities could not come back without one of them.
func (i *Issuer) onlyWay(ctx context.Context, u User, identities int) (bool, error) {
	if identities > 1 {
		return false, nil
	}
	a, err := i.store.Users().ByID(ctx, u.ID)
	if err != nil || a.Password != "" {
		return false, err
	}
	factors, _, err := i.factors(ctx, u.ID)
	return !slices.ContainsFunc(factors, func(f Factor) bool { return f.Kind == Passkey }), err
}
