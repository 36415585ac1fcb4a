package idp

import (
	"errors"
	"net/http"
)

// linkPage asks before a sign-in link is used up.
type linkPage struct {
	form
	Name string
	Link string
}

// serveLink shows whom a one-time link signs in. It does not use it up: programs that
// look ahead at links in a chat or a mail only ever GET them.
func (i *Issuer) serveLink(w http.ResponseWriter, r *http.Request) error {
	secret := r.URL.Query().Get("link")
	l, err := i.store.Sessions().Link(r.Context(), DigestOf(secret), i.now())
	if err != nil {
		return linkError(err)
	}
	session, err := i.session(r)
	if err != nil {
		return err
	}
	page := linkPage{Name: l.User.Name, Link: secret}
	page.CSRF = i.formToken(i.cookies.ensureBrowser(w, r), session)
	return i.pages.link.show(w, http.StatusOK, page)
}

// serveUseLink uses the link up.
func (i *Issuer) serveUseLink(w http.ResponseWriter, r *http.Request) error {
	session, err := i.session(r)
	if err != nil {
		return err
	}
	if err := i.checkForm(r, session); err != nil {
		return err
	}
	l, err := i.store.Sessions().TakeLink(r.Context(), DigestOf(r.PostFormValue("link")), i.now())
	if err != nil {
		i.counts.signIns[linkUsedUp].Add(1)
		return linkError(err)
	}
	i.counts.signIns[byLink].Add(1)
	return i.proceed(w, r, l.User, "link", loginPage{})
}

func linkError(err error) error {
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	return &shown{
		status: http.StatusGone, title: "This link is used up",
		text: "A sign-in link works once, and only for a while. Sign in with your password, or ask the administrator for another link (mcpd user link NAME).",
	}
}
