package idp_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcpd/mcpd/idp"
)

func TestAccountSessions(t *testing.T) {
	h := newHouse(t, func(o *idp.Options) {
		o.Servers = func(u idp.User) []idp.Server {
			return []idp.Server{{Name: "alpha of " + u.Name, URL: "https://alpha.example/mcp"}}
		}
	})
	p := h.withPassword("alice")
	p.enter(p.browse(h.url + "/login"))
	q := h.stranger()
	q.name = "alice"
	q.do("GET", h.url+"/login", nil, http.Header{"User-Agent": {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}})
	q.enter(q.browse(h.url + "/login"))
	bob := h.signedIn("bob")

	page := p.get(h.url + "/account").wants(200).says("alpha of alice").says("https://alpha.example/mcp").says("(this one)")
	if n := strings.Count(page.body, `action="/account/session"`); n != 1 {
		t.Fatalf("%d other browsers", n)
	}
	var id string
	for n := range page.root.Descendants() {
		if attr(n, "name") == "session" {
			id = attr(n, "value")
		}
	}
	// Nobody ends the session of another.
	_, form := bob.get(h.url+"/account").form("everywhere", url.Values{"session": {id}})
	bob.do("POST", h.url+"/account/session", form, http.Header{"Sec-Fetch-Site": {"same-origin"}}).wants(303)
	q.get(h.url + "/account").wants(200)
	_, form = page.form("everywhere", url.Values{"session": {id}})
	p.do("POST", h.url+"/account/session", form, http.Header{"Sec-Fetch-Site": {"same-origin"}}).wants(303).follow().says("That browser is signed out")
	q.get(h.url + "/account").wants(303)

	q.enter(q.browse(h.url + "/login"))
	p.get(h.url+"/account").press("everywhere", nil).wants(303).follow().says("You are signed out")
	p.get(h.url + "/account").wants(303)
	q.get(h.url + "/account").wants(303)
	bob.get(h.url + "/account").wants(200)
}

func TestAccountPassword(t *testing.T) {
	h := newHouse(t)
	h.stopClock()
	p := h.withPassword("alice")
	p.enter(p.browse(h.url + "/login"))
	q := h.stranger()
	q.name = "alice"
	q.enter(q.browse(h.url + "/login"))
	page := p.get(h.url + "/account").wants(200)
	page.press("setpassword", url.Values{"password": {"wrong"}, "new": {"another good one"}}).wants(403).says("Your present password is another")
	page.press("setpassword", url.Values{"password": {alicesPassword}, "new": {"short"}}).wants(400).says("at least 8 characters")
	before := p.http.Jar.Cookies(page.at)
	page.press("setpassword", url.Values{"password": {alicesPassword}, "new": {"another good one"}}).wants(303).follow().wants(200).says("Your password is changed")
	for _, c := range before {
		for _, now := range p.http.Jar.Cookies(page.at) {
			if strings.Contains(c.Name, "session") && c == now {
				t.Error("the session is the one of before")
			}
		}
	}
	q.get(h.url + "/account").wants(303)
	q.enter(q.browse(h.url + "/login")).wants(403)

	// Who came by a link has none, and sets one; an old session may not.
	l := h.signedIn("linda")
	first := l.get(h.url + "/account").says("Set a password")
	h.later(16 * time.Minute)
	first.press("setpassword", url.Values{"new": {"a good password"}}).wants(403).says("Sign in again first")
	if l.get(h.url+"/account").byID("setpassword") != nil {
		t.Error("offered to an old session")
	}
	l.get(h.url + "/account/app").wants(403)
	l.signIn()
	l.get(h.url+"/account").press("setpassword", url.Values{"new": {"a good password"}}).wants(303)

	// Guesses at the present password are throttled as at the sign-in.
	page = l.get(h.url + "/account")
	for range 12 {
		if g := page.press("setpassword", url.Values{"password": {"guess guess"}, "new": {"a good password"}}); g.status == 429 {
			return
		}
	}
	t.Error("the present password can be guessed without end")
}

// Every form of the page is taken from the page only, and for whom it was made.
func TestAccountForms(t *testing.T) {
	h := newHouse(t)
	p := h.signedIn("alice")
	bob := h.signedIn("bob")
	_, theirs := bob.get(h.url+"/account").form("everywhere", nil)
	same := http.Header{"Sec-Fetch-Site": {"same-origin"}}
	for _, path := range []string{"disconnect", "session", "everywhere", "password", "passkey", "factor", "app", "recovery", "identity", "unlink"} {
		to := h.url + "/account/" + path
		for name, form := range map[string]url.Values{"no token": {}, "another's token": {"csrf": theirs["csrf"]}, "nonsense": {"csrf": {"x"}}} {
			if g := p.do("POST", to, form, same); g.status != 403 {
				t.Errorf("%s, %s: %d", path, name, g.status)
			}
		}
		_, mine := p.get(h.url+"/account").form("everywhere", nil)
		if g := p.do("POST", to, mine, http.Header{"Sec-Fetch-Site": {"cross-site"}}); g.status != 403 {
			t.Errorf("%s, from another site: %d", path, g.status)
		}
		if g := h.stranger().do("POST", to, mine, same); g.status != 403 {
			t.Errorf("%s, in another browser: %d", path, g.status)
		}
	}
	p.get(h.url + "/account?done=%3Cscript%3E").wants(200)
	if g := p.get(h.url + "/account?done=%3Cscript%3E"); g.byID("done") != nil {
		t.Error("says what anybody writes into its address")
	}
}
