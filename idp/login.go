package idp

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"go.uber.org/zap"
)

// loginPage is what the sign-in page shows.
type loginPage struct {
	form
	Name    string // typed before, or hinted at by the client
	Problem string
	Client  string // who asks for the sign-in; "" when the person came by themselves
	Server  string
	Choices []choice     // other ways in
	Passkey *passkeyForm // and another
	Device  bool         // who signs in goes on to connect a device,
	Code    string       // which shows this code, if it is known already
	done    bool         // nobody needs to sign in
	fresh   bool         // somebody is signed in, and must show again who they are
}

// after is where a sign-in leads: back to what a client or a device began, or to the person's own page.
func (p *loginPage) after() string {
	switch {
	case p.Req != "":
		return joinPath(pathContinue, p.Req)
	case p.Device:
		return deviceURL(p.Code)
	}
	return pathAccount
}

// query is what brings the page back.
func (p *loginPage) query() url.Values {
	switch {
	case p.Req != "":
		return url.Values{"req": {p.Req}}
	case p.Device:
		return url.Values{"device": {p.Code}}
	}
	return url.Values{}
}

func (p loginPage) scripted() bool { return p.Passkey != nil }

// serveLogin shows the sign-in form.
func (i *Issuer) serveLogin(w http.ResponseWriter, r *http.Request) error {
	page, done, err := i.needsLogin(w, r)
	if err != nil || done {
		return err
	}
	return i.pages.login.show(w, http.StatusOK, page)
}

// serveSignIn takes the sign-in form.
func (i *Issuer) serveSignIn(w http.ResponseWriter, r *http.Request) error {
	page, session, err := i.loginPage(w, r)
	if err != nil {
		return err
	}
	if err := i.checkForm(r, session); err != nil {
		return err
	}
	name := r.PostFormValue("username")
	if len(name) > 200 {
		name = name[:200]
	}
	u, wait, err := i.authenticate(r.Context(), name, r.PostFormValue("password"), addressOf(r.RemoteAddr))
	page.Name = name
	switch {
	case errors.Is(err, errBusy):
		i.counts.signIns[passwordLater].Add(1)
		page.Problem = "Too many people are signing in at this moment. Try again in a few seconds."
		return i.pages.login.show(w, http.StatusServiceUnavailable, page)
	case err != nil:
		return err
	case wait > 0:
		i.counts.signIns[passwordLater].Add(1)
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		page.Problem = fmt.Sprintf("There were too many tries. Wait %s, or ask the administrator for a sign-in link.", inWords(wait))
		return i.pages.login.show(w, http.StatusTooManyRequests, page)
	case u == nil:
		i.counts.signIns[passwordWrong].Add(1)
		page.Problem = "This name and password do not belong together."
		return i.pages.login.show(w, http.StatusForbidden, page)
	}
	i.counts.signIns[byPassword].Add(1)
	return i.proceed(w, r, *u, "password", page)
}

// authenticate checks a name and a password. nil is a wrong one, or an unknown name:
// neither the answer nor the time it takes tells which. Every try counts before it is made, so that many at once are no way round.
func (i *Issuer) authenticate(ctx context.Context, name, password, address string) (u *User, wait time.Duration, err error) {
	now, key := i.now(), nameKey(name)
	if wait := max(i.accounts.wait(key, now), i.visitors.wait(address, now)); wait > 0 {
		return nil, wait, nil
	}
	if !i.visitors.take(address, now) || !i.accounts.take(key, now) {
		return nil, time.Second, nil
	}
	a, err := i.store.Users().ByName(ctx, name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, 0, err
	}
	ok, err := i.hasher.check(ctx, a.Password, password)
	if err != nil {
		return nil, 0, err
	}
	if !ok {
		i.log.Info("sign-in refused", zap.String("address", address))
		return nil, 0, nil
	}
	i.accounts.forget(key)
	return &a.User, 0, nil
}

// loginPage prepares the page, for a sign-in that a client began or that a person did.
func (i *Issuer) loginPage(w http.ResponseWriter, r *http.Request) (loginPage, *Session, error) {
	page := loginPage{}
	var session *Session
	if r.FormValue("req") != "" {
		f, err := i.flow(r)
		if err != nil {
			return page, nil, err
		}
		session = f.session
		page.Req, page.Name, page.Client, page.Server = f.sealed, clip(f.req.Login, 200), f.client.Name, f.req.Server
		page.leaves, page.done = true, f.next() != stepSignIn
		page.fresh = !page.done && session != nil
	} else {
		var err error
		if session, err = i.session(r); err != nil {
			return page, nil, err
		}
		page.done = session != nil
		page.Device, page.Code = i.config.Device && r.Form.Has("device"), cleanUserCode(r.FormValue("device"))
	}
	page.Choices = i.choices(&page)
	var err error
	if page.Passkey, err = i.askPasskey(w, r, nil, nil); err != nil {
		return page, nil, err
	}
	page.CSRF = i.formToken(i.cookies.ensureBrowser(w, r), session)
	return page, session, nil
}

// inWords says a time the way a person would.
func inWords(d time.Duration) string {
	if s := int(math.Ceil(d.Seconds())); s < 90 {
		return strconv.Itoa(max(s, 2)) + " seconds"
	}
	return strconv.Itoa(int(math.Ceil(d.Minutes()))) + " minutes"
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
