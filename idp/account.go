package idp

import (
	"net/http"
	"slices"

	"go.uber.org/zap"
)

// accountPage is a person's own page.
type accountPage struct {
	form
	User        string
	Connections []Connection
}

// serveAccount shows who is signed in, and which programs act for them.
func (i *Issuer) serveAccount(w http.ResponseWriter, r *http.Request) error {
	session, err := i.session(r)
	if err != nil {
		return err
	}
	if session == nil {
		http.Redirect(w, r, pathLogin, http.StatusSeeOther)
		return nil
	}
	page := accountPage{User: session.User.Name}
	if page.Connections, err = i.store.Tokens().Connections(r.Context(), session.User.ID, i.now()); err != nil {
		return err
	}
	page.CSRF = i.formToken(i.cookies.ensureBrowser(w, r), session)
	return i.pages.account.show(w, http.StatusOK, page)
}

// serveDisconnect ends one connection: its tokens, and the consent, so that it must be asked for again.
func (i *Issuer) serveDisconnect(w http.ResponseWriter, r *http.Request) error {
	session, err := i.session(r)
	if err != nil {
		return err
	}
	if err := i.checkForm(r, session); err != nil {
		return err
	}
	if session == nil {
		http.Redirect(w, r, pathLogin, http.StatusSeeOther)
		return nil
	}
	mine, err := i.store.Tokens().Connections(r.Context(), session.User.ID, i.now())
	if err != nil {
		return err
	}
	family := r.PostFormValue("connection")
	if n := slices.IndexFunc(mine, func(c Connection) bool { return c.ID == family }); n >= 0 {
		if err := i.endFamily(r.Context(), mine[n].Family); err != nil {
			return err
		}
		if err := i.store.Consents().Delete(r.Context(), session.User.ID, mine[n].ClientID, mine[n].Server); err != nil {
			return err
		}
		i.log.Info("disconnected", zap.String("user", session.User.Name), zap.String("client", mine[n].ClientID), zap.String("server", mine[n].Server))
	}
	http.Redirect(w, r, pathAccount, http.StatusSeeOther)
	return nil
}
