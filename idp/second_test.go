package idp_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mcpd/mcpd/idp"
)

const alicesPassword = "correct horse battery"

// withPassword makes a person who signs in by name and password.
func (h *house) withPassword(name string) *person {
	h.Helper()
	if _, err := h.issuer.CreateUser(h.Context(), name, alicesPassword); err != nil {
		h.Fatal(err)
	}
	p := h.stranger()
	p.name = name
	return p
}

func (p *person) enter(at *page) *page {
	p.Helper()
	return at.press("signin", url.Values{"username": {p.name}, "password": {alicesPassword}})
}

var keyText = regexp.MustCompile(`<p class="key"><code>([A-Z2-7 ]+)</code>`)

// authenticator is an app for codes that has read the page; the arithmetic is RFC 4226's, written a second time.
type authenticator struct {
	*house
	secret []byte
}

func (g *page) authenticator() authenticator {
	g.Helper()
	m := keyText.FindStringSubmatch(g.body)
	if m == nil {
		g.Fatalf("no key on %s: %s", g.at.Path, g.body)
	}
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ReplaceAll(m[1], " ", ""))
	if err != nil || len(secret) != 20 {
		g.Fatalf("key %q: %v", m[1], err)
	}
	return authenticator{g.house, secret}
}

func (a authenticator) code() url.Values {
	mac := hmac.New(sha1.New, a.secret)
	_ = binary.Write(mac, binary.BigEndian, a.now().Unix()/30)
	sum := mac.Sum(nil)
	at := sum[19] & 15
	return url.Values{"code": {fmt.Sprintf("%06d", (binary.BigEndian.Uint32(sum[at:at+4])&0x7fffffff)%1000000)}}
}

// Somebody adds an app, and is asked for its code from then on, in the middle of a client's sign-in too.
func TestSecondStep(t *testing.T) {
	h := newHouse(t)
	h.stopClock()
	p := h.withPassword("alice")
	p.enter(p.browse(h.url + "/login")).wants(303).follow().wants(200).says("by password")
	setup := p.get(h.url + "/account/app").wants(200)
	app := setup.authenticator()
	wrong := setup.press("confirm", url.Values{"code": {"000000"}}).wants(403).says("This code is not right")
	if again := wrong.authenticator(); string(again.secret) != string(app.secret) {
		t.Error("a mistyped code throws the app away")
	}
	wrong.press("confirm", app.code()).wants(303).follow().wants(200).says("App for codes")

	a, q := h.registered(loopback), h.stranger()
	q.name = "alice"
	second := q.enter(q.browse(a.ask(nil))).wants(303).follow().wants(200).says("One more step")
	if g := q.get(h.url + "/account"); g.status != 303 {
		t.Fatalf("signed in after the first step: %d", g.status)
	}
	used := app.code()
	second.press("confirm", used).wants(403) // the one that set it up
	h.later(time.Minute)
	used = app.code()
	consent := second.press("confirm", used).wants(303).follow().wants(200)
	if consent.press("allow", nil).answer().Get("code") == "" {
		t.Error("no code for the client")
	}
	q.get(h.url + "/account").says("by password and code")

	// A code is good once, also in another browser.
	thief := h.stranger()
	thief.name = "alice"
	thief.enter(thief.browse(h.url+"/login")).wants(303).follow().press("confirm", used).wants(403).says("This code is not right")

	// A link is only a first step too.
	link, err := h.issuer.SignInLink(t.Context(), "alice", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	l := h.stranger()
	l.get(link).press("continue", nil).wants(303).follow().says("One more step")

	// Who has lost it is helped by the administrator, and signed out.
	if _, err := h.issuer.Reset(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	q.get(h.url + "/account").wants(303)
	r := h.stranger()
	r.name = "alice"
	r.enter(r.browse(h.url + "/login")).wants(303).follow().says("You are signed in as alice")
}

// The first step is of one browser, one person and ten minutes; guessing at the second is slow.
func TestSecondStepAttacks(t *testing.T) {
	h := newHouse(t)
	h.stopClock()
	p := h.withPassword("alice")
	p.enter(p.browse(h.url + "/login"))
	setup := p.get(h.url + "/account/app")
	app := setup.authenticator()
	setup.press("confirm", app.code()).wants(303)
	h.later(time.Minute)

	q := h.stranger()
	q.name = "alice"
	second := q.enter(q.browse(h.url + "/login")).follow().wants(200)
	other := h.stranger()
	other.get(h.url + "/login")
	other.get(second.at.String()).wants(403).says("began in another browser")
	q.get(h.url + "/login/second").wants(400)

	// A password that is changed meanwhile was the first step no longer.
	r := h.stranger()
	r.name = "alice"
	began := r.enter(r.browse(h.url + "/login")).follow().wants(200)
	if err := h.issuer.SetPassword(t.Context(), "alice", alicesPassword); err != nil {
		t.Fatal(err)
	}
	began.press("confirm", app.code()).wants(400)
	second = q.enter(q.browse(h.url + "/login")).follow().wants(200)
	q.get(h.url + "/login/second?half=x").wants(400)
	if g := second.do("POST", h.url+"/login/second", url.Values{"half": {second.at.Query().Get("half")}, "code": app.code()["code"]}, nil); g.status != 403 {
		t.Errorf("without form token: %d", g.status)
	}
	for range 5 {
		second.press("confirm", url.Values{"code": {"123456"}}).wants(403)
	}
	second.press("confirm", app.code()).wants(429).says("too many tries")
	h.later(4 * time.Minute)
	second.press("confirm", app.code()).wants(303)
	h.later(11 * time.Minute)
	second.press("confirm", app.code()).wants(403) // the form is of before the sign-in
	q.get(second.at.String()).wants(400).says("took too long")

	// A setup page of one person adds nothing to another.
	bob := h.signedIn("bob")
	page := bob.get(h.url + "/account/app").wants(200)
	mine := h.signedIn("carol").get(h.url + "/account/app").wants(200)
	_, foreign := mine.form("confirm", nil)
	page.press("confirm", url.Values{"setup": foreign["setup"], "code": mine.authenticator().code()["code"]}).wants(403)
}

// Where a second step is required, who has none sets one up before anything else.
func TestSecondStepRequired(t *testing.T) {
	h := newHouse(t, func(o *idp.Options) { o.Config.SecondStep = "required" })
	h.stopClock()
	p := h.withPassword("alice")
	setup := p.enter(p.browse(h.url + "/login")).wants(303).follow().wants(200).says("Set up a second step")
	p.get(h.url + "/account").wants(303)
	app := setup.authenticator()
	setup.press("confirm", url.Values{"code": {"000000"}}).wants(403).press("confirm", app.code()).wants(303).follow().says("You are signed in as alice")

	// The same page again is another's first step: it cannot replace what is there.
	q := h.stranger()
	q.name = "alice"
	second := q.enter(q.browse(h.url + "/login")).follow().says("One more step")
	_, form := second.form("confirm", nil)
	mallory := h.withPassword("mallory")
	_, theirs := mallory.enter(mallory.browse(h.url+"/login")).follow().form("confirm", nil)
	form["setup"] = theirs["setup"]
	second.press("confirm", form).wants(403)
	h.later(time.Minute)
	second.press("confirm", app.code()).wants(303)
}

// Passkeys are for names: where the issuer is a number, there are none, and no script either.
func TestNoPasskeys(t *testing.T) {
	h := newHouse(t)
	g := h.stranger().get(h.url + "/login").wants(200)
	if strings.Contains(g.body, "<script") || strings.Contains(g.header.Get("Content-Security-Policy"), "script-src") {
		t.Error("a script where there is nothing for it")
	}
	_, form := g.form("signin", nil)
	g.do("POST", h.url+"/login/passkey", form, http.Header{"Sec-Fetch-Site": {"same-origin"}}).wants(404)
}
