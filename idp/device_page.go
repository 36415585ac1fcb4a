package idp

import (
	"errors"
	"net/http"
	"net/url"

	"go.uber.org/zap"
)

// devicePage asks for a code, and then whether the device that shows it may act for the person.
type devicePage struct {
	form
	User    string
	Code    string // "" asks for one
	Problem string

	Client, Site, Server, Resource string
	Powers                         []string
	Allowed                        bool
}

// deviceURL is the page where a code is typed, filled in if there is one.
func deviceURL(code string) string {
	if code == "" {
		return pathDevice
	}
	return pathDevice + "?" + url.Values{"user_code": {spelled(code)}}.Encode()
}

// serveDevice shows the page. A code in the address is only typed for the person; nothing happens without their press of a button.
func (i *Issuer) serveDevice(w http.ResponseWriter, r *http.Request) error {
	typed := r.URL.Query().Get("user_code")
	session, err := i.session(r)
	if err != nil {
		return err
	}
	if session == nil {
		http.Redirect(w, r, pathLogin+"?"+url.Values{"device": {cleanUserCode(typed)}}.Encode(), http.StatusSeeOther)
		return nil
	}
	page := devicePage{User: session.User.Name}
	page.CSRF = i.formToken(i.cookies.ensureBrowser(w, r), session)
	if typed == "" {
		return i.pages.device.show(w, http.StatusOK, page)
	}
	d, client, err := i.waiting(r, typed)
	if err != nil {
		return i.wrongCode(w, page, err)
	}
	page.Code, page.Client, page.Site, page.Server, page.Resource = spelled(d.UserCode), client.Name, siteOf(client), d.Family.Server, d.Family.Resource
	page.Powers, page.Allowed = powers(d.Family.Server, len(i.scopesOf(d.Family.Server)) > 1, d.Family.Scopes), i.allowed(d.Family.Server, session.User)
	status := http.StatusOK
	if !page.Allowed {
		status = http.StatusForbidden
	}
	return i.pages.device.show(w, status, page)
}

var errCodeTries = errors.New("too many codes were tried")

// waiting finds the device that shows a code. Every try counts: a code is short, so that it can be typed.
func (i *Issuer) waiting(r *http.Request, typed string) (Device, Client, error) {
	if !i.guesses.take(addressOf(r.RemoteAddr), i.now()) {
		return Device{}, Client{}, errCodeTries
	}
	d, err := i.store.Devices().ByUserCode(r.Context(), cleanUserCode(typed))
	if err == nil && (d.State != DeviceWaiting || !i.now().Before(d.Expires)) {
		err = ErrNotFound
	}
	if err != nil {
		return Device{}, Client{}, err
	}
	c, err := i.client(r.Context(), d.Family.ClientID)
	return d, c, err
}

func (i *Issuer) wrongCode(w http.ResponseWriter, page devicePage, err error) error {
	status := http.StatusNotFound
	switch {
	case errors.Is(err, errCodeTries):
		status, page.Problem = http.StatusTooManyRequests, "Too many codes were tried. Wait a minute, then try again."
		w.Header().Set("Retry-After", "60")
	case errors.Is(err, ErrNotFound):
		page.Problem = "No device is waiting with this code. It may have been used, or be too old: ask the device for a new one."
	default:
		return err
	}
	return i.pages.device.show(w, status, page)
}

// serveDeviceDecision takes the answer.
func (i *Issuer) serveDeviceDecision(w http.ResponseWriter, r *http.Request) error {
	session, err := i.session(r)
	if err != nil {
		return err
	}
	if err := i.checkForm(r, session); err != nil {
		return err
	}
	if session == nil {
		http.Redirect(w, r, pathDevice, http.StatusSeeOther)
		return nil
	}
	page := devicePage{User: session.User.Name}
	page.CSRF = i.formToken(i.cookies.ensureBrowser(w, r), session)
	d, client, err := i.waiting(r, r.PostFormValue("user_code"))
	if err != nil {
		return i.wrongCode(w, page, err)
	}
	state, done := DeviceDenied, messagePage{"The device was refused", "It gets no access. You can close this page."}
	if r.PostFormValue("decision") == "allow" && i.allowed(d.Family.Server, session.User) {
		state, done = DeviceAgreed, messagePage{"The device is connected", "It goes on by itself in a moment. You can close this page; your account page shows the connection."}
		if err := i.store.Clients().Use(r.Context(), client.ID, i.now()); err != nil {
			return err
		}
	}
	switch err := i.store.Devices().Decide(r.Context(), d.Hash, state, session.User.ID, session.AuthTime); {
	case errors.Is(err, ErrSpent):
		return i.wrongCode(w, page, ErrNotFound)
	case err != nil:
		return err
	}
	i.log.Info("device decided", zap.String("user", session.User.Name), zap.String("client", client.ID), zap.String("server", d.Family.Server), zap.Bool("allowed", state == DeviceAgreed))
	return i.pages.message.show(w, http.StatusOK, done)
}
