package idp

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"time"
)

// cookieJar names and writes the issuer's two cookies. On https both have the __Host-
// prefix: no other host, and no other path, can set or read them. On loopback that prefix
// is not possible, and cookies do not know ports, so the port is in the name: two daemons side by side do not sign each other's people out.
type cookieJar struct {
	sessionName string // who is signed in
	browserName string // which browser this is: binds sign-ins and forms to it
	secure      bool
}

func newCookieJar(issuer *url.URL) cookieJar {
	if issuer.Scheme == "https" {
		return cookieJar{sessionName: "__Host-mcpd_session", browserName: "__Host-mcpd_browser", secure: true}
	}
	suffix := ""
	if port := issuer.Port(); port != "" {
		suffix = "_" + port
	}
	return cookieJar{sessionName: "mcpd_session" + suffix, browserName: "mcpd_browser" + suffix}
}

func (j cookieJar) set(w http.ResponseWriter, name, value string, age time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: int(age / time.Second), Secure: j.secure, HttpOnly: true,
		SameSite: http.SameSiteLaxMode, // not Strict: clients send people here from elsewhere
	})
}

// secretForm is what crypto/rand.Text makes.
var secretForm = regexp.MustCompile(`^[A-Z2-7]{26,32}$`)

func (j cookieJar) read(r *http.Request, name string) (string, bool) {
	for _, c := range r.CookiesNamed(name) {
		if secretForm.MatchString(c.Value) {
			return c.Value, true
		}
	}
	return "", false
}

func (j cookieJar) browser(r *http.Request) (string, bool) { return j.read(r, j.browserName) }

// ensureBrowser gives a browser its cookie, or returns the one it has: several sign-ins may be under way in it.
func (j cookieJar) ensureBrowser(w http.ResponseWriter, r *http.Request) string {
	if have, ok := j.browser(r); ok {
		return have
	}
	value := rand.Text()
	j.set(w, j.browserName, value, 0)
	r.AddCookie(&http.Cookie{Name: j.browserName, Value: value}) // from here on it has it: asked again, the answer is the same
	return value
}

// session finds out who is at the browser; nil is nobody, or somebody whose provider must be asked again.
func (i *Issuer) session(r *http.Request) (*Session, error) {
	secret, ok := i.cookies.read(r, i.cookies.sessionName)
	if !ok {
		return nil, nil
	}
	s, err := i.store.Sessions().Get(r.Context(), DigestOf(secret), i.now())
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !i.vouched(s.User) {
		return nil, nil
	}
	return &s, nil
}

// startSession signs a person in: always with a new secret, and the session that the browser had ends.
func (i *Issuer) startSession(w http.ResponseWriter, r *http.Request, u User, method string) error {
	if err := i.endSession(w, r); err != nil {
		return err
	}
	now := i.now()
	secret := rand.Text()
	err := i.store.Sessions().Put(r.Context(), Session{
		Hash: DigestOf(secret), User: u, AuthTime: now, Expires: now.Add(i.config.SessionTTL), Method: method, Agent: clip(r.UserAgent(), 300),
	})
	if err != nil {
		return err
	}
	i.cookies.set(w, i.cookies.sessionName, secret, i.config.SessionTTL)
	return nil
}

func (i *Issuer) endSession(w http.ResponseWriter, r *http.Request) error {
	secret, ok := i.cookies.read(r, i.cookies.sessionName)
	if !ok {
		return nil
	}
	i.cookies.set(w, i.cookies.sessionName, "", -time.Second)
	return i.store.Sessions().Delete(r.Context(), DigestOf(secret))
}

// formToken is what a form must bring back: bound to the browser, and to the session in it, so that neither a
// foreign page nor a page from before a change of person can be submitted.
func (i *Issuer) formToken(browser string, s *Session) string {
	return i.keys.tags("form", browser, sessionTag(s))[0]
}

func sessionTag(s *Session) string {
	if s == nil {
		return ""
	}
	return hex.EncodeToString(s.Hash[:])
}

// checkForm refuses a form that was not made for this browser and session. The
// browser's own word (Sec-Fetch-Site, Origin) was heard before; this is the second lock.
func (i *Issuer) checkForm(r *http.Request, s *Session) error {
	if browser, ok := i.cookies.browser(r); ok {
		got := []byte(r.PostFormValue("csrf"))
		for _, want := range i.keys.tags("form", browser, sessionTag(s)) {
			if subtle.ConstantTimeCompare(got, []byte(want)) == 1 {
				return nil
			}
		}
	}
	return &shown{
		status: http.StatusForbidden, title: "This page is no longer valid",
		text: "It was opened before you signed in or out, in another window perhaps, or cookies are not allowed. Go back, reload the page and try again.",
	}
}
