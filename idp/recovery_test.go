package idp_test

import (
	"bytes"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/mcpd/mcpd/idp"
)

var recoveryText = regexp.MustCompile(`<li><code>([A-Z2-7]{4}(?:-[A-Z2-7]{4}){3})</code></li>`)

// recoveryCodes reads them from the page that shows them.
func (g *page) recoveryCodes() (codes []string) {
	g.Helper()
	for _, m := range recoveryText.FindAllStringSubmatch(g.body, -1) {
		codes = append(codes, m[1])
	}
	if len(codes) != 10 {
		g.Fatalf("%d codes: %s", len(codes), g.body)
	}
	return codes
}

// withApp makes a person with a password and an app for codes, signed in.
func (h *house) withApp(name string) (*person, authenticator) {
	h.Helper()
	p := h.withPassword(name)
	p.enter(p.browse(h.url + "/login")).wants(303)
	setup := p.get(h.url + "/account/app")
	app := setup.authenticator()
	setup.press("confirm", app.code()).wants(303)
	h.later(time.Minute)
	return p, app
}

// second goes as far as the second step, in a new browser.
func (h *house) second(name string) *page {
	h.Helper()
	q := h.stranger()
	q.name = name
	return q.enter(q.browse(h.url + "/login")).wants(303).follow().wants(200)
}

// Codes on paper: made by their owner, shown once, counted, each good once, and gone with what they stand in for.
func TestRecoveryCodes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mcpd.db")
	store, err := idp.OpenStore(file)
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, func(o *idp.Options) { o.Store = store })
	h.store = store
	h.stopClock()
	p, app := h.withApp("alice")
	if h.second("alice").byID("recover") != nil {
		t.Error("asked for codes that nobody has")
	}
	made := p.get(h.url+"/account").says("none; for when you have lost the others").press("newrecovery", nil).wants(200).says("shown only now")
	if made.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", made.header)
	}
	codes := made.recoveryCodes()
	if g := p.get(h.url + "/account").says("10 left"); strings.Contains(g.body, codes[0]) {
		t.Error("shown twice")
	}
	typed := func(code string) url.Values { return url.Values{"recovery": {code}} }
	h.second("alice").press("recover", typed(codes[3])).wants(303).follow().says("by password and recovery code").says("9 left")
	h.second("alice").press("recover", typed(codes[3])).wants(403).says("This recovery code is not right")
	h.second("alice").press("recover", typed(strings.ToLower(strings.NewReplacer("-", " ", "O", "0", "I", "1").Replace(codes[4])))).wants(303)
	h.second("alice").press("confirm", app.code()).wants(303) // the app works on
	h.later(time.Minute)
	for _, bad := range []string{codes[0][:18], codes[0] + "a", codes[1][:9] + codes[0][9:], strings.Repeat("a", 40)} {
		h.second("alice").press("recover", typed(bad)).wants(403)
	}
	h.later(10 * time.Minute)

	// New ones take the place of the old.
	again := p.get(h.url+"/account").says("8 left").press("newrecovery", nil).recoveryCodes()
	h.second("alice").press("recover", typed(codes[0])).wants(403)
	h.second("alice").press("recover", typed(again[0])).wants(303)

	// They are nowhere in the store.
	for _, name := range []string{file, file + "-wal"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, code := range append(codes, again...) {
			plain := strings.ReplaceAll(code, "-", "")
			if bytes.Contains(b, []byte(code)) || bytes.Contains(b, []byte(plain)) || bytes.Contains(b, []byte(strings.ToLower(plain))) {
				t.Fatal("a code is in the store")
			}
		}
	}

	// They are no second step by themselves: they go with the last that is, and who has none is not asked.
	back := h.second("alice").press("recover", typed(again[1])).wants(303).follow()
	var remove *html.Node
	for n := range back.root.Descendants() {
		if attr(n, "aria-label") == "Remove App for codes" {
			remove = n
		}
	}
	if remove == nil {
		t.Fatalf("no button: %s", back.body)
	}
	form := url.Values{}
	for n := range remove.Parent.ChildNodes() {
		if n.Data == "input" {
			form.Set(attr(n, "name"), attr(n, "value"))
		}
	}
	back.do("POST", h.url+"/account/factor", form, http.Header{"Sec-Fetch-Site": {"same-origin"}}).wants(303)
	q := h.stranger()
	q.name = "alice"
	q.enter(q.browse(h.url + "/login")).wants(303).follow().says("You are signed in as alice")
}

// What a thief of the password tries.
func TestRecoveryAttacks(t *testing.T) {
	h := newHouse(t)
	h.stopClock()
	p, _ := h.withApp("alice")
	codes := p.get(h.url+"/account").press("newrecovery", nil).recoveryCodes()
	bob, _ := h.withApp("bob")
	theirs := bob.get(h.url+"/account").press("newrecovery", nil).recoveryCodes()

	h.second("alice").press("recover", url.Values{"recovery": {theirs[0]}}).wants(403)
	h.second("bob").press("recover", url.Values{"recovery": {theirs[0]}}).wants(303)

	// One code in many browsers at once opens one.
	const thieves = 6
	h.later(20 * time.Minute)
	pages, opened := make([]*page, thieves), make(chan int, thieves)
	for n := range pages {
		pages[n] = h.second("alice")
	}
	for _, g := range pages {
		go func() { opened <- g.press("recover", url.Values{"recovery": {codes[0]}}).status }() // ends with the answer
	}
	in := 0
	for range thieves {
		if <-opened == http.StatusSeeOther {
			in++
		}
	}
	if in != 1 {
		t.Errorf("one code opened %d browsers", in)
	}

	// Guesses are counted with those at the app's codes.
	h.later(20 * time.Minute)
	second := h.second("alice")
	for range 5 {
		second.press("recover", url.Values{"recovery": {"aaaa-aaaa-aaaa-aaaa"}}).wants(403)
	}
	second.press("recover", url.Values{"recovery": {codes[1]}}).wants(429).says("too many tries")
	second.press("confirm", url.Values{"code": {"000000"}}).wants(429)

	// An old session, and who has nothing to recover, make none.
	_, form := p.get(h.url+"/account").form("everywhere", nil)
	p.do("POST", h.url+"/account/recovery", form, http.Header{"Sec-Fetch-Site": {"same-origin"}}).wants(403).says("Sign in again first")
	carol := h.signedIn("carol")
	_, form = carol.get(h.url+"/account").form("everywhere", nil)
	carol.do("POST", h.url+"/account/recovery", form, http.Header{"Sec-Fetch-Site": {"same-origin"}}).wants(409)

	// The administrator's reset takes them too.
	if _, err := h.issuer.Reset(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	r := h.stranger()
	r.name = "alice"
	r.enter(r.browse(h.url + "/login")).wants(303).follow().says("You are signed in as alice")
}
