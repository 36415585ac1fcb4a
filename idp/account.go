package idp

import (
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"
)

// accountPage is a person's own page.
type accountPage struct {
	form
	User        string
	Provider    string // who vouches for them, as people call it; "" where they sign in with what is here
	Servers     []Server
	Connections []Connection
	Factors     []Factor
	Recovery    int // codes that are left
	Sessions    []sessionRow
	Identities  []identityRow // that they have linked
	Choices     []choice      // whose they could link
	Passkey     *passkeyForm  // to make one; nil where there are none
	Password    bool          // they have one
	Fresh       bool          // they signed in lately, and may change how they sign in
	Done        string        // what has just been done, or, if it is
	Wrong       bool          // wrong, why not
}

func (p *accountPage) scripted() bool { return p.Passkey != nil }

// sessionRow is a signed-in browser as its owner sees it.
type sessionRow struct {
	ID, Browser, Method string
	Since               time.Time
	This                bool
}

// Server is a server as a person sees it who may use it.
type Server struct{ Name, URL string }

// freshFor is for how long after signing in a person may change how they sign in: who finds a browser open cannot.
const freshFor = 15 * time.Minute

func (i *Issuer) fresh(s *Session) bool { return i.now().Sub(s.AuthTime) < freshFor }

// done is what the page says after something was done, by the word in its address.
func done(word string) string {
	return map[string]string{
		"password": "Your password is changed. Other browsers were signed out.",
		"passkey":  "Your passkey is ready.",
		"app":      "Your app for codes is ready. It is asked for at every sign-in with your password. Make recovery codes too, for when you have lost it.",
		"removed":  "It is removed.",
		"session":  "That browser is signed out.",
		"linked":   "It is linked. You can sign in with it from now on.",
		"unlinked": "It is not linked any more. Other browsers that signed in with it are signed out.",
	}[word]
}

// serveAccount shows who is signed in, what they may use, which programs act for them, and how they sign in.
func (i *Issuer) serveAccount(w http.ResponseWriter, r *http.Request) error {
	session, err := i.session(r)
	if err != nil {
		return err
	}
	if session == nil {
		http.Redirect(w, r, pathLogin, http.StatusSeeOther)
		return nil
	}
	return i.showAccount(w, r, session, http.StatusOK, done(r.URL.Query().Get("done")))
}

func (i *Issuer) showAccount(w http.ResponseWriter, r *http.Request, session *Session, status int, said string) error {
	u, ctx := session.User, r.Context()
	page := &accountPage{User: u.Name, Servers: i.servers(u), Fresh: i.fresh(session), Done: said, Wrong: status >= http.StatusBadRequest}
	a, err := i.store.Users().ByID(ctx, u.ID)
	if err != nil {
		return err
	}
	page.Password = a.Password != ""
	if page.Connections, err = i.store.Tokens().Connections(ctx, u.ID, i.now()); err != nil {
		return err
	}
	all, err := i.store.Sessions().Of(ctx, u.ID, i.now())
	if err != nil {
		return err
	}
	for _, s := range all {
		page.Sessions = append(page.Sessions, sessionRow{ID: hex.EncodeToString(s.Hash[:]), Browser: agentInWords(s.Agent), Method: s.Method, Since: s.AuthTime, This: s.Hash == session.Hash})
	}
	if p := i.providers[u.Provider]; p != nil {
		page.Provider = p.Label
	} else {
		var recovery *Factor
		if page.Factors, recovery, err = i.factors(ctx, u.ID); err != nil {
			return err
		}
		page.Recovery = recovery.left()
		if page.Fresh {
			if page.Passkey, err = i.offerPasskey(w, r, u, page.Factors); err != nil {
				return err
			}
		}
	}
	if page.Identities, err = i.identitiesOf(ctx, u); err != nil {
		return err
	}
	browser := i.cookies.ensureBrowser(w, r)
	if page.Fresh {
		page.Choices = i.linkChoices(browser, session)
	}
	page.CSRF = i.formToken(browser, session)
	return i.pages.account.show(w, status, page)
}

// mine is the way into every form of the page: it is of this session, or nobody is signed in.
func (i *Issuer) mine(take func(w http.ResponseWriter, r *http.Request, session *Session) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
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
		return take(w, r, session)
	}
}

// mineFresh is mine for what changes how somebody signs in.
func (i *Issuer) mineFresh(take func(w http.ResponseWriter, r *http.Request, session *Session) error) handler {
	return i.mine(func(w http.ResponseWriter, r *http.Request, session *Session) error {
		if err := i.checkFresh(session); err != nil {
			return err
		}
		return take(w, r, session)
	})
}

func (i *Issuer) checkFresh(s *Session) error {
	if s.User.Provider != "" {
		return &shown{status: http.StatusForbidden, title: "This is not kept here", text: "You sign in with another service; change it there."}
	}
	return i.checkLately(s)
}

func (i *Issuer) back(w http.ResponseWriter, r *http.Request, word string) error {
	to := pathAccount
	if word != "" {
		to += "?done=" + word
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// serveDisconnect ends one connection: its tokens, and the consent, so that it must be asked for again.
func (i *Issuer) serveDisconnect(w http.ResponseWriter, r *http.Request, session *Session) error {
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
	return i.back(w, r, "")
}

// serveEndOther signs one of a person's browsers out.
func (i *Issuer) serveEndOther(w http.ResponseWriter, r *http.Request, session *Session) error {
	all, err := i.store.Sessions().Of(r.Context(), session.User.ID, i.now())
	if err != nil {
		return err
	}
	id := r.PostFormValue("session")
	if n := slices.IndexFunc(all, func(s Session) bool { return hex.EncodeToString(s.Hash[:]) == id }); n >= 0 {
		if err := i.store.Sessions().Delete(r.Context(), all[n].Hash); err != nil {
			return err
		}
	}
	return i.back(w, r, "session")
}

// serveEverywhere signs a person out of every browser, this one too. Programs stay connected.
func (i *Issuer) serveEverywhere(w http.ResponseWriter, r *http.Request, session *Session) error {
	if err := i.store.Sessions().DeleteOf(r.Context(), session.User.ID); err != nil {
		return err
	}
	i.log.Info("signed out everywhere", zap.String("user", session.User.Name))
	if err := i.endSession(w, r); err != nil {
		return err
	}
	http.Redirect(w, r, pathLogout, http.StatusSeeOther)
	return nil
}

// serveNewPassword changes the password, or gives one to who has none. It ends every session, and begins a new one here.
func (i *Issuer) serveNewPassword(w http.ResponseWriter, r *http.Request, session *Session) error {
	u := session.User
	a, err := i.store.Users().ByID(r.Context(), u.ID)
	if err != nil {
		return err
	}
	if a.Password != "" {
		right, wait, err := i.authenticate(r.Context(), u.Name, r.PostFormValue("password"), addressOf(r.RemoteAddr))
		switch {
		case errors.Is(err, errBusy) || wait > 0:
			return i.showAccount(w, r, session, http.StatusTooManyRequests, "There were too many tries. Nothing was changed. Wait "+inWords(wait)+".")
		case err != nil:
			return err
		case right == nil:
			return i.showAccount(w, r, session, http.StatusForbidden, "Your present password is another. Nothing was changed.")
		}
	}
	encoded, err := i.hasher.hash(r.Context(), r.PostFormValue("new"))
	switch {
	case errors.Is(err, errBusy):
		return i.showAccount(w, r, session, http.StatusServiceUnavailable, "Too many people are signing in at this moment. Nothing was changed.")
	case err != nil && r.Context().Err() == nil:
		return i.showAccount(w, r, session, http.StatusBadRequest, "A password needs at least 8 characters, and at most 512 bytes. Nothing was changed.")
	case err != nil:
		return err
	}
	if err := i.store.Users().SetPassword(r.Context(), u.ID, encoded); err != nil {
		return err
	}
	i.log.Info("password changed", zap.String("user", u.Name))
	if err := i.startSession(w, r, u, session.Method); err != nil {
		return err
	}
	return i.back(w, r, "password")
}

// serveNewPasskey keeps the passkey that the browser has made.
func (i *Issuer) serveNewPasskey(w http.ResponseWriter, r *http.Request, session *Session) error {
	if i.passkeys == nil {
		return i.back(w, r, "")
	}
	if err := i.addPasskey(r, session.User); err != nil {
		if r.Context().Err() != nil {
			return err
		}
		i.log.Info("passkey refused", zap.String("user", session.User.Name), zap.Error(err))
		return i.showAccount(w, r, session, http.StatusBadRequest, "That passkey could not be taken. Try again.")
	}
	return i.back(w, r, "passkey")
}

// serveRemoveFactor takes a passkey or an app away.
func (i *Issuer) serveRemoveFactor(w http.ResponseWriter, r *http.Request, session *Session) error {
	ctx, u := r.Context(), session.User
	err := i.store.Factors().Delete(ctx, u.ID, r.PostFormValue("factor"))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	steps, recovery, err := i.factors(ctx, u.ID)
	if err == nil && len(steps) == 0 && recovery != nil { // which stood in for it
		err = i.store.Factors().Delete(ctx, u.ID, recovery.ID)
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	i.log.Info("second step removed", zap.String("user", session.User.Name))
	return i.back(w, r, "removed")
}

// appPage sets up an app for codes.
type appPage struct {
	form
	Problem string
	Setup   *totpSetup
}

func (i *Issuer) serveApp(w http.ResponseWriter, r *http.Request) error {
	session, err := i.session(r)
	if err != nil {
		return err
	}
	if session == nil {
		http.Redirect(w, r, pathLogin, http.StatusSeeOther)
		return nil
	}
	if err := i.checkFresh(session); err != nil {
		return err
	}
	return i.showApp(w, r, session, http.StatusOK, "")
}

func (i *Issuer) showApp(w http.ResponseWriter, r *http.Request, session *Session, status int, problem string) (err error) {
	page := appPage{Problem: problem}
	if page.Setup, err = i.newSetup(session.User, r.PostFormValue("setup")); err != nil {
		return err
	}
	page.CSRF = i.formToken(i.cookies.ensureBrowser(w, r), session)
	return i.pages.app.show(w, status, page)
}

func (i *Issuer) serveNewApp(w http.ResponseWriter, r *http.Request, session *Session) error {
	good, err := i.addTOTP(r.Context(), session.User, r.PostFormValue("setup"), r.PostFormValue("code"))
	if err != nil {
		return err
	}
	if !good {
		return i.showApp(w, r, session, http.StatusForbidden, "This code is not right. Type the one that the app shows now.")
	}
	return i.back(w, r, "app")
}
