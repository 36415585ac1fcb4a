package idp_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpd/mcpd/idp"
)

// One test for each attack: what it does, and that nothing comes of it.

// Requests that must not send the browser anywhere: RFC 6749 §4.1.2.1.
func TestShownNotRedirected(t *testing.T) {
	h := newHouse(t)
	a := h.registered(loopback)
	p := h.signedIn("alice")
	for name, change := range map[string]url.Values{
		"no client":          {"client_id": nil},
		"unknown client":     {"client_id": {"cli_nobody"}},
		"two clients":        {"client_id": {a.id, a.id}},
		"no redirect":        {"redirect_uri": nil},
		"two redirects":      {"redirect_uri": {loopback, "https://evil.example/"}},
		"other host":         {"redirect_uri": {"https://evil.example/callback"}},
		"other path":         {"redirect_uri": {"http://127.0.0.1:1234/callback/../evil"}},
		"more path":          {"redirect_uri": {loopback + "/x"}},
		"query":              {"redirect_uri": {loopback + "?x=1"}},
		"empty query":        {"redirect_uri": {loopback + "?"}},
		"fragment":           {"redirect_uri": {loopback + "#x"}},
		"user":               {"redirect_uri": {"http://me@127.0.0.1:1234/callback"}},
		"localhost":          {"redirect_uri": {"http://localhost:1234/callback"}},
		"IPv6":               {"redirect_uri": {"http://[::1]:1234/callback"}},
		"https":              {"redirect_uri": {"https://127.0.0.1:1234/callback"}},
		"host that begins":   {"redirect_uri": {"http://127.0.0.1.evil.example/callback"}},
		"script":             {"redirect_uri": {"javascript:alert(1)"}},
		"backslash":          {"redirect_uri": {`http://127.0.0.1:1234\@evil.example/callback`}},
		"and wrong response": {"redirect_uri": {"https://evil.example/"}, "response_type": {"token"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := p.get(a.ask(change)).wants(400)
			if g.header.Get("Location") != "" || !strings.HasPrefix(g.header.Get("Content-Type"), "text/html") {
				t.Fatalf("%v", g.header)
			}
			if strings.Contains(g.body, "evil") {
				t.Fatalf("the page repeats the request: %s", g.body)
			}
		})
	}
}

// Requests whose error goes back to the client, with state and iss.
func TestRedirectedErrors(t *testing.T) {
	h := newHouse(t)
	a := h.registered(loopback)
	p := h.signedIn("alice")
	for name, c := range map[string]struct {
		change url.Values
		code   string
	}{
		"no PKCE":              {url.Values{"code_challenge": nil, "code_challenge_method": nil}, "invalid_request"},
		"empty challenge":      {url.Values{"code_challenge": {""}}, "invalid_request"},
		"short challenge":      {url.Values{"code_challenge": {"abc"}}, "invalid_request"},
		"plain":                {url.Values{"code_challenge_method": {"plain"}}, "invalid_request"},
		"plain by default":     {url.Values{"code_challenge_method": nil}, "invalid_request"},
		"no response type":     {url.Values{"response_type": nil}, "invalid_request"},
		"implicit":             {url.Values{"response_type": {"token"}}, "unsupported_response_type"},
		"hybrid":               {url.Values{"response_type": {"code id_token"}}, "unsupported_response_type"},
		"fragment":             {url.Values{"response_mode": {"fragment"}}, "invalid_request"},
		"form post":            {url.Values{"response_mode": {"form_post"}}, "invalid_request"},
		"request object":       {url.Values{"request": {"eyJ"}}, "request_not_supported"},
		"request by reference": {url.Values{"request_uri": {"https://evil.example"}}, "request_uri_not_supported"},
		"no resource":          {url.Values{"resource": nil}, "invalid_target"},
		"foreign resource":     {url.Values{"resource": {"https://evil.example/mcp"}}, "invalid_target"},
		"resource that begins": {url.Values{"resource": {h.resource("alpha") + "2"}}, "invalid_target"},
		"resource with query":  {url.Values{"resource": {h.resource("alpha") + "?x"}}, "invalid_target"},
		"two resources":        {url.Values{"resource": {h.resource("alpha"), h.resource("beta")}}, "invalid_target"},
		"two states":           {url.Values{"state": {"a", "b"}}, "invalid_request"},
		"two challenges":       {url.Values{"code_challenge": {challenge("a"), challenge("b")}}, "invalid_request"},
		"none and more":        {url.Values{"prompt": {"none login"}}, "invalid_request"},
		"no consent, silently": {url.Values{"prompt": {"none"}}, "consent_required"},
		"age":                  {url.Values{"max_age": {"young"}}, "invalid_request"},
		"forged hint":          {url.Values{"id_token_hint": {"eyJhbGciOiJub25lIn0.e30."}}, "login_required"},
	} {
		t.Run(name, func(t *testing.T) {
			q := p.browse(a.ask(c.change)).answer()
			if q.Get("error") != c.code || q.Get("iss") != h.url || q.Get("code") != "" || q.Get("error_description") == "" {
				t.Fatalf("answer: %v", q)
			}
			if want := "st&te <1>"; q.Get("state") != want && len(c.change["state"]) == 0 {
				t.Fatalf("state %q, want %q", q.Get("state"), want)
			}
		})
	}
	if q := h.stranger().browse(a.ask(url.Values{"prompt": {"none"}})).answer(); q.Get("error") != "login_required" {
		t.Fatalf("nobody signed in, silently: %v", q)
	}
}

// A code is good once, for its client, with its verifier, redirect URI and resource.
func TestCodeIsBound(t *testing.T) {
	h := newHouse(t)
	a, other := h.registered(loopback), h.registered(loopback)
	p := h.signedIn("alice")
	for name, c := range map[string]struct {
		change url.Values
		code   string
		spent  bool
	}{
		"no verifier":      {url.Values{"code_verifier": nil}, "invalid_grant", true},
		"wrong verifier":   {url.Values{"code_verifier": {strings.Repeat("x", 50)}}, "invalid_grant", true},
		"the challenge":    {url.Values{"code_verifier": {challenge(a.verifier)}}, "invalid_grant", true},
		"other redirect":   {url.Values{"redirect_uri": {"http://127.0.0.1:1/callback"}}, "invalid_grant", true},
		"other resource":   {url.Values{"resource": {h.resource("beta")}}, "invalid_target", false},
		"foreign resource": {url.Values{"resource": {"https://evil.example/mcp"}}, "invalid_target", false},
		"other client":     {url.Values{"client_id": {other.id}}, "invalid_grant", false},
		"no redirect":      {url.Values{"redirect_uri": nil}, "invalid_request", false},
		"two codes":        {url.Values{"code": {"a", "b"}}, "invalid_request", false},
	} {
		t.Run(name, func(t *testing.T) {
			code := a.code(p, nil)
			a.redeem(code, c.change).wants(h, 400, c.code)
			after := a.redeem(code, nil)
			if c.spent {
				after.wants(h, 400, "invalid_grant")
			} else {
				after.wants(h, 200, "")
			}
		})
	}
	t.Run("unknown client", func(t *testing.T) {
		code := a.code(p, nil)
		got := a.redeem(code, url.Values{"client_id": {"cli_nobody"}}).wants(h, 401, "invalid_client")
		if got.header.Get("WWW-Authenticate") != "" {
			t.Error("a challenge, though HTTP authentication was not tried")
		}
		a.redeem(code, nil).wants(h, 200, "")
	})
	t.Run("late", func(t *testing.T) {
		code := a.code(p, nil)
		h.later(2 * time.Minute)
		a.redeem(code, nil).wants(h, 400, "invalid_grant")
	})
	t.Run("a server's other URL", func(t *testing.T) { // what clients have that go by its root document (RFC 9728 §3.3)
		base := url.Values{"resource": {strings.TrimSuffix(h.resource("alpha"), "/mcp")}}
		h.good(a.redeem(a.code(p, base), base).wants(h, 200, "").Access, "alpha")
	})
	t.Run("without resource", func(t *testing.T) {
		h.good(a.redeem(a.code(p, nil), url.Values{"resource": nil}).wants(h, 200, "").Access, "alpha")
	})
	t.Run("in the address", func(t *testing.T) {
		form := url.Values{"grant_type": {"authorization_code"}, "code": {a.code(p, nil)}, "client_id": {a.id}, "redirect_uri": {a.redirect}, "code_verifier": {a.verifier}}
		if status, _, b := h.postForm("/token?"+form.Encode(), url.Values{"x": {"y"}}, nil); status != 400 {
			t.Errorf("%d %s", status, b)
		}
		resp, err := http.Get(h.url + "/token?" + form.Encode())
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 405 || resp.Header.Get("Allow") == "" {
			t.Errorf("GET: %d", resp.StatusCode)
		}
	})
	for _, grant := range []string{"password", "client_credentials", "implicit", "urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:grant-type:device_code", ""} {
		form := url.Values{"grant_type": {grant}, "client_id": {a.id}, "username": {"alice"}, "password": {"x"}, "assertion": {"x"}, "device_code": {"x"}, "subject_token": {"x"}, "subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"}, "scope": {"mcp"}}
		if got := h.token(form); got.status/100 != 4 || got.Access != "" {
			t.Errorf("grant %q: %+v", grant, got)
		}
	}
}

// Replay of a code ends the tokens that it gave.
func TestCodeReplay(t *testing.T) {
	h := newHouse(t)
	a := h.registered(loopback)
	p := h.signedIn("alice")
	code := a.code(p, nil)
	got := a.redeem(code, nil).wants(h, 200, "")
	h.good(got.Access, "alpha")
	a.redeem(code, nil).wants(h, 400, "invalid_grant")
	h.bad(got.Access, "alpha")
	a.refresh(got.Refresh, nil).wants(h, 400, "invalid_grant")
}

// Of many that redeem one code at once, one gets tokens at most, and they end.
func TestCodeRace(t *testing.T) {
	h := newHouse(t)
	a := h.registered(loopback)
	code := a.code(h.signedIn("alice"), nil)
	all := make([]tokens, 20)
	var wg sync.WaitGroup
	for k := range all {
		wg.Go(func() { all[k] = a.redeem(code, nil) })
	}
	wg.Wait()
	won := 0
	for _, got := range all {
		if got.status == 200 {
			won++
			h.bad(got.Access, "alpha")
		}
	}
	if won != 1 {
		t.Fatalf("%d got tokens", won)
	}
}

// A refresh token is good for its client, its resource and its scopes.
func TestRefreshIsBound(t *testing.T) {
	h := newHouse(t)
	a, other := h.registered(loopback), h.registered(loopback)
	got := a.redeem(a.code(h.signedIn("alice"), url.Values{"scope": {"mcp profile"}}), nil).wants(h, 200, "")
	a.refresh(got.Refresh, url.Values{"client_id": {other.id}}).wants(h, 400, "invalid_grant")
	a.refresh(got.Refresh, url.Values{"resource": {h.resource("beta")}}).wants(h, 400, "invalid_target")
	a.refresh(got.Refresh, url.Values{"scope": {"mcp openid"}}).wants(h, 400, "invalid_scope")
	a.refresh(got.Access, nil).wants(h, 400, "invalid_grant")
	next := a.refresh(got.Refresh, url.Values{"resource": {h.resource("alpha")}, "scope": {"mcp"}}).wants(h, 200, "")
	if next.Scope != "mcp" || next.ID != "" {
		t.Fatalf("narrowed: %+v", next)
	}
	if next = a.refresh(next.Refresh, nil).wants(h, 200, ""); next.Scope != "mcp profile" {
		t.Fatalf("narrowed for ever: %+v", next)
	}
	h.later(31 * 24 * time.Hour)
	a.refresh(next.Refresh, nil).wants(h, 400, "invalid_grant")
}

// Reuse of a refresh token: the same successor within the grace, the end of all of them after it.
func TestRefreshReuse(t *testing.T) {
	h := newHouse(t)
	a := h.registered(loopback)
	first := a.redeem(a.code(h.signedIn("alice"), nil), nil).wants(h, 200, "")
	second := a.refresh(first.Refresh, nil).wants(h, 200, "")
	h.later(20 * time.Second)
	again := a.refresh(first.Refresh, nil).wants(h, 200, "")
	if again.Refresh != second.Refresh || again.Access == second.Access {
		t.Fatalf("within the grace: %+v after %+v", again, second)
	}
	third := a.refresh(second.Refresh, nil).wants(h, 200, "")
	h.good(third.Access, "alpha")
	h.later(20 * time.Second)
	a.refresh(first.Refresh, nil).wants(h, 400, "invalid_grant")
	for _, tok := range []string{first.Access, second.Access, again.Access, third.Access} {
		h.bad(tok, "alpha")
	}
	a.refresh(third.Refresh, nil).wants(h, 400, "invalid_grant")
}

// Many refreshes of one token at once all get the same successor (clients do that).
func TestRefreshRace(t *testing.T) {
	h := newHouse(t)
	a := h.registered(loopback)
	first := a.redeem(a.code(h.signedIn("alice"), nil), nil).wants(h, 200, "")
	all := make([]tokens, 20)
	var wg sync.WaitGroup
	for k := range all {
		wg.Go(func() { all[k] = a.refresh(first.Refresh, nil) })
	}
	wg.Wait()
	for _, got := range all {
		got.wants(h, 200, "")
		if got.Refresh != all[0].Refresh {
			t.Fatal("two successors")
		}
		h.good(got.Access, "alpha")
	}
	a.refresh(all[0].Refresh, nil).wants(h, 200, "")
}

// After the sweep has wiped the salt, the grace is over whatever the clock says.
func TestNoGrace(t *testing.T) {
	h := newHouse(t, func(o *idp.Options) { o.Config.RefreshGrace = 0 })
	a := h.registered(loopback)
	first := a.redeem(a.code(h.signedIn("alice"), nil), nil).wants(h, 200, "")
	second := a.refresh(first.Refresh, nil).wants(h, 200, "")
	h.later(time.Second)
	a.refresh(first.Refresh, nil).wants(h, 400, "invalid_grant")
	h.bad(second.Access, "alpha")
}

// Session fixation: the attacker begins, the victim finishes on the attacker's link, the attacker fetches the code.
func TestSessionFixation(t *testing.T) {
	h := newHouse(t)
	a := h.registered(loopback)
	attacker, victim := h.stranger(), h.signedIn("alice")
	login := attacker.browse(a.ask(nil)).wants(200)
	victim.get(login.at.String()).wants(403).says("another browser")
	to := strings.Replace(login.at.String(), "/login", "/authorize/continue", 1)
	victim.get(to).wants(403)
	h.stranger().get(to).wants(403)
	consent := strings.Replace(login.at.String(), "/login", "/consent", 1)
	victim.get(consent).wants(403)
	if g := attacker.get(to).wants(303); g.location().Path != "/login" {
		t.Fatalf("the attacker got to %s", g.location())
	}

	// The session secret is a new one at every sign-in, and the old one is dead.
	before := victim.cookie("mcpd_session")
	victim.signIn()
	after := victim.cookie("mcpd_session")
	if before == after || after == "" {
		t.Fatal("the session was not rotated")
	}
	old := h.stranger()
	old.plant("mcpd_session", before)
	if g := old.get(h.url + "/account").wants(303); g.location().Path != "/login" {
		t.Fatal("the old session lives")
	}
	fixed := h.stranger()
	fixed.plant("mcpd_session", "AAAAAAAAAAAAAAAAAAAAAAAAAA")
	fixed.name = "alice"
	fixed.signIn()
	if fixed.cookie("mcpd_session") == "AAAAAAAAAAAAAAAAAAAAAAAAAA" {
		t.Fatal("a planted session was taken over")
	}
}

func (p *person) cookie(prefix string) string {
	p.Helper()
	u, err := url.Parse(p.url)
	if err != nil {
		p.Fatal(err)
	}
	for _, c := range p.http.Jar.Cookies(u) {
		if strings.HasPrefix(c.Name, prefix) {
			return c.Value
		}
	}
	return ""
}

func (p *person) plant(prefix, value string) {
	p.Helper()
	u, err := url.Parse(p.url)
	if err != nil {
		p.Fatal(err)
	}
	p.http.Jar.SetCookies(u, []*http.Cookie{{Name: prefix + "_" + u.Port(), Value: value}})
}

// CSRF: a foreign page submits each form of ours in the victim's browser.
func TestCSRF(t *testing.T) {
	h := newHouse(t)
	a := h.registered(loopback)
	p := h.signedIn("alice")
	link, err := h.issuer.SignInLink(t.Context(), "alice", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	a.redeem(a.code(p, nil), nil).wants(h, 200, "")
	for name, c := range map[string]struct {
		at, button string
	}{
		"consent": {a.ask(url.Values{"prompt": {"consent"}}), "allow"},
		"login":   {h.url + "/login", "signin"},
		"link":    {link, "continue"},
		"logout":  {h.url + "/logout", "signout"},
	} {
		t.Run(name, func(t *testing.T) {
			p := p
			if name == "login" {
				p = h.stranger() // alice is not asked
			}
			g := p.browse(c.at).wants(200)
			action, form := g.form(c.button, nil)
			for _, header := range []http.Header{
				{"Sec-Fetch-Site": {"cross-site"}},
				{"Sec-Fetch-Site": {"same-site"}},
				{"Origin": {"https://evil.example"}},
				{"Origin": {"null"}},
			} {
				p.do("POST", action, form, header).wants(403)
			}
			same := http.Header{"Sec-Fetch-Site": {"same-origin"}}
			for _, token := range []string{"", "x", form.Get("csrf") + "x"} {
				f := url.Values{}
				for k, v := range form {
					f[k] = v
				}
				f.Set("csrf", token)
				p.do("POST", action, f, same).wants(403)
			}
			// The form of the attacker's own browser does not fit the victim's.
			f := url.Values{}
			for k, v := range form {
				f[k] = v
			}
			_, theirs := h.stranger().get(h.url+"/login").form("signin", nil)
			f.Set("csrf", theirs.Get("csrf"))
			p.do("POST", action, f, same).wants(403)
		})
	}
	if p.get(h.url+"/account").wants(200).byID("signout") == nil {
		t.Fatal("alice was signed out")
	}
	p.get(link).wants(200)
}

// No page of ours can be framed, cached, sniffed or told about, and none runs a script.
func TestPageHeaders(t *testing.T) {
	h := newHouse(t)
	a := h.registered(loopback)
	p := h.signedIn("alice")
	for _, at := range []string{a.ask(nil), a.ask(url.Values{"client_id": {"x"}}), h.url + "/login", h.url + "/account", h.url + "/account/app", h.url + "/login/second?half=x", h.url + "/login/from/none", h.url + "/logout", h.url + "/nowhere", h.url + "/signin?link=x"} {
		g := p.browse(at)
		for name, want := range map[string]string{
			"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "Access-Control-Allow-Origin": "",
		} {
			if got := g.header.Get(name); got != want {
				t.Errorf("%s: %s: %q", g.at.Path, name, got)
			}
		}
		csp := g.header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "style-src 'sha256-"} {
			if !strings.Contains(csp, part) {
				t.Errorf("%s: no %s in %q", g.at.Path, part, csp)
			}
		}
		if strings.Contains(csp, "unsafe") || strings.Contains(g.body, "<script") || strings.Contains(g.body, "http://evil") {
			t.Errorf("%s: %q", g.at.Path, csp)
		}
	}
	for _, c := range h.stranger().get(h.url + "/login").header.Values("Set-Cookie") {
		if !strings.Contains(c, "HttpOnly") || !strings.Contains(c, "SameSite=Lax") || strings.Contains(c, "Domain") {
			t.Errorf("cookie %q", c)
		}
	}
}

// Names that try to be markup, on every page that shows them.
func TestMarkupInNames(t *testing.T) {
	h := newHouse(t)
	evil := `<img src=x onerror=alert(1)>"'{{.}}` + "\u202eevil\u0000"
	_, out := h.postJSON("/register", map[string]any{"client_name": evil, "redirect_uris": []string{"https://a.example/cb?<x>"}})
	if out["error"] != "invalid_redirect_uri" {
		t.Fatalf("a redirect URI with markup: %v", out)
	}
	_, out = h.postJSON("/register", map[string]any{"client_name": evil, "redirect_uris": []string{loopback}})
	if name := out["client_name"].(string); strings.ContainsAny(name, "\u202e\u0000") {
		t.Fatalf("client_name %q", name)
	}
	a := &app{house: h, id: out["client_id"].(string), redirect: loopback, verifier: strings.Repeat("v", 43)}
	p := h.user("alice")
	pages := []*page{p.browse(a.ask(url.Values{"login_hint": {evil}, "state": {evil}}))}
	p.signIn()
	consent := p.browse(a.ask(url.Values{"state": {evil}}))
	pages = append(pages, consent)
	q := consent.press("allow", nil).answer()
	if q.Get("state") != evil {
		t.Errorf("state %q", q.Get("state"))
	}
	a.redeem(q.Get("code"), nil).wants(h, 200, "")
	pages = append(pages, p.get(h.url+"/account"))
	for _, g := range pages {
		g.wants(200)
		if strings.Contains(g.body, "<img") || strings.Contains(g.body, "onerror=alert(1)>\"") {
			t.Errorf("%s: %s", g.at.Path, g.body)
		}
	}
}

// Brute force: by account from everywhere, and by address against everyone. Unknown names answer the same.
func TestLoginThrottle(t *testing.T) {
	h := newHouse(t)
	h.stopClock() // a slow machine gives tries back faster than it makes them
	if _, err := h.issuer.CreateUser(t.Context(), "alice", "correct horse"); err != nil {
		t.Fatal(err)
	}
	try := func(name, password string) *page {
		return h.stranger().get(h.url+"/login").press("signin", url.Values{"username": {name}, "password": {password}})
	}
	known, unknown := try("alice", "wrong"), try("nobody", "wrong")
	strip := func(g *page) string { return g.text(g.root) }
	if known.status != unknown.status || strip(known) != strip(unknown) {
		t.Fatalf("an unknown name is told apart: %d %d", known.status, unknown.status)
	}
	for n := 0; ; n++ {
		g := try("alice", "wrong")
		if g.status == 429 {
			if g.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			break
		}
		if n > 12 {
			t.Fatal("no end of tries")
		}
	}
	try("ALICE", "correct horse").wants(429)
	h.later(time.Minute)
	try("alice", "correct horse").wants(303)
	for n := 0; ; n++ {
		if g := try("name"+strings.Repeat("x", n), "wrong"); g.status == 429 {
			break
		}
		if n > 40 {
			t.Fatal("no end of names")
		}
	}
}

// Removing a person, forbidding a server, signing out: what ends, ends at once.
func TestEnds(t *testing.T) {
	h := newHouse(t)
	a := h.registered(loopback)
	alice, bob := h.signedIn("alice"), h.signedIn("bob")
	hers := a.redeem(a.code(alice, nil), nil).wants(h, 200, "")
	his := a.redeem(a.code(bob, nil), nil).wants(h, 200, "")
	h.good(hers.Access, "alpha")
	h.good(his.Access, "alpha")

	name := "bob"
	h.banned.Store(&name)
	h.bad(his.Access, "alpha")
	a.refresh(his.Refresh, nil).wants(h, 400, "invalid_grant")
	no := bob.browse(a.ask(nil)).wants(403).says("signed in as bob").says("allow")
	if no.byID("allow") != nil {
		t.Error("who may not is asked")
	}
	_, form := no.form("deny", url.Values{"decision": {"allow"}})
	if q := bob.do("POST", h.url+"/consent", form, nil).answer(); q.Get("error") != "access_denied" || q.Get("iss") != h.url {
		t.Fatalf("answer: %v", q)
	}
	if q := bob.browse(a.ask(url.Values{"prompt": {"none"}})).answer(); q.Get("error") != "access_denied" {
		t.Fatalf("answer: %v", q)
	}
	h.banned.Store(nil)
	h.good(his.Access, "alpha")

	if _, err := h.issuer.RemoveUser(t.Context(), "Alice"); err != nil {
		t.Fatal(err)
	}
	h.bad(hers.Access, "alpha")
	a.refresh(hers.Refresh, nil).wants(h, 400, "invalid_grant")
	if g := alice.get(h.url + "/account").wants(303); g.location().Path != "/login" {
		t.Fatal("the removed have a session")
	}

	h.later(61 * time.Minute)
	h.bad(his.Access, "alpha")

	bob.get(h.url+"/logout").press("signout", nil).wants(303)
	if g := bob.get(h.url + "/account").wants(303); g.location().Path != "/login" {
		t.Fatal("signed out and still in")
	}
}

// What a client sends comes back in headers: no line of it may become a header of its own.
func TestHeaderInjection(t *testing.T) {
	h := newHouse(t)
	a, p := h.registered(loopback), h.signedIn("alice")
	a.code(p, nil)
	const evil = "x\r\nSet-Cookie: evil=1\r\n\r\n<script>alert(1)</script>"
	for what, changes := range map[string]url.Values{
		"state, with a code":   {"state": {evil}},
		"state, with an error": {"state": {evil}, "code_challenge": nil},
		"nonce and login_hint": {"nonce": {evil}, "login_hint": {evil}},
	} {
		g := p.browse(a.ask(changes))
		q := g.answer()
		if want := changes.Get("state"); want != "" && q.Get("state") != want {
			t.Errorf("%s: state %q came back", what, q.Get("state"))
		}
		if strings.Contains(g.header.Get("Location"), "\n") || strings.Contains(strings.Join(g.header.Values("Set-Cookie"), ""), "evil") || strings.Contains(g.body, "<script") {
			t.Errorf("%s: %v %s", what, g.header, g.body)
		}
	}
	g := p.get(h.url + "/authorize?client_id=" + url.QueryEscape(evil) + "&redirect_uri=" + url.QueryEscape(evil)).wants(400)
	if len(g.header.Values("Set-Cookie")) > 0 || strings.Contains(g.body, "<script") {
		t.Errorf("%v %s", g.header, g.body)
	}
}

// Everything of one person ends, whatever stage it is in; nothing of another, and they may begin anew.
func TestRevokeEverything(t *testing.T) {
	var ended []idp.Ended
	h := newHouse(t, func(o *idp.Options) { o.Ended = func(e idp.Ended) { ended = append(ended, e) } })
	a := h.registered(loopback)
	alice, bob := h.signedIn("alice"), h.signedIn("bob")
	hers := a.redeem(a.code(alice, nil), nil).wants(h, 200, "")
	his := a.redeem(a.code(bob, nil), nil).wants(h, 200, "")
	personal, err := h.issuer.Mint(t.Context(), idp.MintRequest{User: "alice", Resource: h.resource("beta"), TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	h.good(hers.Access, "alpha")
	h.good(personal, "beta")
	code := a.code(alice, nil)
	link, err := h.issuer.SignInLink(t.Context(), "alice", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	id := h.good(hers.Access, "alpha").UserID

	if _, err := h.issuer.Revoke(t.Context(), "ALICE"); err != nil {
		t.Fatal(err)
	}
	h.bad(hers.Access, "alpha")
	h.bad(personal, "beta")
	a.refresh(hers.Refresh, nil).wants(h, 400, "invalid_grant")
	a.redeem(code, nil).wants(h, 400, "invalid_grant")
	h.stranger().get(link).wants(410)
	if g := alice.get(h.url + "/account").wants(303); g.location().Path != "/login" {
		t.Error("the browser is still signed in")
	}
	if len(ended) != 1 || ended[0] != (idp.Ended{UserID: id}) {
		t.Errorf("told of %v", ended)
	}
	h.good(his.Access, "alpha")
	bob.get(h.url + "/account").wants(200)

	alice.signIn()
	again := a.redeem(a.code(alice, nil), nil).wants(h, 200, "")
	grant := h.good(again.Access, "alpha")
	if status, _, b := h.postForm("/revoke", url.Values{"token": {again.Refresh}, "client_id": {a.id}}, nil); status != 200 {
		t.Fatalf("%d %s", status, b)
	}
	if len(ended) != 2 || ended[1] != (idp.Ended{UserID: id, Grant: grant.ID}) {
		t.Errorf("told of %v, want the grant %s too", ended, grant.ID)
	}
	if _, err := h.issuer.Revoke(t.Context(), "carol"); !errors.Is(err, idp.ErrNotFound) {
		t.Error(err)
	}
}

// A fresh registration with a live session: consent is asked, and names where the code goes.
func TestConfusedDeputy(t *testing.T) {
	h := newHouse(t)
	p := h.signedIn("alice")
	a := h.registered("https://good.example/cb")
	a.code(p, nil)
	evil := h.registered("https://evil.example/cb")
	g := p.browse(evil.ask(nil)).wants(200).says("evil.example").says("nobody has checked")
	if q := g.press("deny", nil).answer(); q.Get("error") != "access_denied" || q.Get("state") == "" {
		t.Fatalf("denied: %v", q)
	}
	p.browse(evil.ask(nil)).wants(200).says("evil.example")
	// More than was agreed to: asked again.
	if g := p.browse(a.ask(url.Values{"scope": {"mcp profile"}})).wants(200); g.byID("allow") == nil {
		t.Fatal("more scopes, and no question")
	}
}

// A sign-in link signs in once. Looking at it does not use it up.
func TestSignInLink(t *testing.T) {
	h := newHouse(t)
	h.user("alice")
	link, err := h.issuer.SignInLink(t.Context(), "alice", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		h.stranger().get(link).wants(200).says("Sign in as alice")
	}
	one, two := h.stranger(), h.stranger()
	first, second := one.get(link), two.get(link)
	first.press("continue", nil).wants(303)
	second.press("continue", nil).wants(410)
	one.get(h.url + "/account").wants(200).says("alice")
	if two.get(h.url+"/account").status != 303 {
		t.Fatal("the link worked twice")
	}
	h.stranger().get(link).wants(410)

	late, err := h.issuer.SignInLink(t.Context(), "alice", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	h.later(2 * time.Hour)
	h.stranger().get(late).wants(410)
}

// A request that waited too long, or was altered, leads nowhere.
func TestStaleRequest(t *testing.T) {
	h := newHouse(t)
	a := h.registered(loopback)
	p := h.signedIn("alice")
	g := p.browse(a.ask(nil)).wants(200)
	_, form := g.form("allow", nil)
	altered := url.Values{}
	for k, v := range form {
		altered[k] = v
	}
	altered.Set("req", form.Get("req")[:20]+"AAAA"+form.Get("req")[24:])
	p.do("POST", h.url+"/consent", altered, nil).wants(400)
	h.later(16 * time.Minute)
	g.press("allow", nil).wants(400).says("too long")
	p.get(h.url + "/authorize/continue").wants(400)
}

// The client asks for a fresh sign-in: an old session is not enough.
func TestFreshSignIn(t *testing.T) {
	h := newHouse(t)
	a := h.registered(loopback)
	p := h.signedIn("alice")
	a.code(p, nil)
	h.later(time.Hour)
	for _, change := range []url.Values{{"prompt": {"login"}}, {"max_age": {"60"}}, {"max_age": {"0"}}, {"prompt": {"login consent"}}} {
		g := p.browse(a.ask(change)).wants(200)
		if g.byID("signin") == nil {
			t.Fatalf("%v: no sign-in", change)
		}
		back := strings.Replace(g.at.String(), "/login", "/authorize/continue", 1)
		h.later(time.Second)
		p.signIn()
		g = p.browse(back)
		if change.Get("prompt") == "login consent" {
			g = g.press("allow", nil)
		}
		if q := g.answer(); q.Get("code") == "" {
			t.Fatalf("%v: %v", change, q)
		}
		h.later(time.Hour)
	}
	a.code(p, url.Values{"max_age": {"999999"}})
}
