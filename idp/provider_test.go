package idp_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpd/mcpd/idp"
	"github.com/mcpd/mcpd/idp/upstream"
	"github.com/mcpd/mcpd/idp/upstream/upstreamtest"
)

// corporate is a house whose people sign in with a provider named corp.
func corporate(t *testing.T, change ...func(*idp.Options)) (*house, *upstreamtest.Service) {
	s := upstreamtest.OpenID(t)
	s.Person = &upstreamtest.Person{Subject: "17", Email: "alice@corp.example", Verified: true, Groups: []string{"staff"}}
	return newHouse(t, append([]func(*idp.Options){func(o *idp.Options) {
		o.Config.Providers = map[string]upstream.Config{
			"corp":  {Label: "Corp & Co", URL: s.URL, ClientID: upstreamtest.ClientID, ClientSecret: upstreamtest.ClientSecret, MaxAge: time.Hour},
			"other": {URL: "http://127.0.0.1:1", ClientID: "x"},
		}
	}}, change...)...), s
}

// with follows the button of a provider there and back; change changes the address that the browser comes back to.
func (g *page) with(provider string, change func(back url.Values)) *page {
	g.Helper()
	for n := range g.root.Descendants() {
		if strings.HasPrefix(attr(n, "href"), "/login/with/"+provider) {
			away, err := g.at.Parse(attr(n, "href"))
			if err != nil {
				g.Fatal(err)
			}
			there := g.get(away.String())
			if there.location() == nil {
				return there
			}
			back := g.get(there.location().String()).location()
			q := back.Query()
			if change != nil {
				change(q)
			}
			back.RawQuery = q.Encode()
			return g.get(back.String())
		}
	}
	g.Fatalf("no button for %s: %s", provider, g.body)
	return nil
}

func (h *house) named(name string) idp.User {
	h.Helper()
	users, err := h.issuer.Users(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	n := slices.IndexFunc(users, func(u idp.User) bool { return u.Name == name })
	if n < 0 {
		return idp.User{}
	}
	return users[n]
}

// A client's whole sign-in through a provider, and what its word is good for.
func TestProvider(t *testing.T) {
	h, s := corporate(t)
	a, p := h.registered(loopback), h.stranger()
	login := p.browse(a.ask(nil)).wants(200).says("Continue with Corp & Co")
	g := login.with("corp", nil).wants(303).follow().wants(200).says("alice@corp.example")
	code := g.press("allow", nil).answer().Get("code")
	got := a.redeem(code, nil).wants(h, 200, "")
	if grant := h.good(got.Access, "alpha"); grant.UserName != "alice@corp.example" {
		t.Errorf("%+v", grant)
	}
	first := h.named("alice@corp.example")
	if first.Provider != "corp" || first.Subject != "17" || !slices.Equal(first.Groups, []string{"staff"}) || first.Service() {
		t.Errorf("%+v", first)
	}

	// No link and no password is another way in.
	if _, err := h.issuer.SignInLink(t.Context(), first.Name, time.Minute); err == nil {
		t.Error("a link for somebody whom a provider vouches for")
	}
	if err := h.issuer.SetPassword(t.Context(), first.Name, "a good password"); err == nil {
		t.Error("a password for somebody whom a provider vouches for")
	}

	// The same person with another name and other groups is the same user, and tokens know the groups at once.
	s.Set(func(s *upstreamtest.Service) {
		s.Person.Email, s.Person.Groups = "alice.new@corp.example", []string{"admins"}
	})
	q := h.stranger()
	q.browse(h.url+"/account").with("corp", nil).wants(303).follow().wants(200).says("alice.new@corp.example")
	again := h.named("alice.new@corp.example")
	if again.ID != first.ID || !slices.Equal(again.Groups, []string{"admins"}) {
		t.Errorf("%+v", again)
	}
	if grant := h.good(got.Access, "alpha"); grant.UserName != "alice.new@corp.example" {
		t.Errorf("after the change: %+v", grant)
	}

	// When the provider's word is too old, neither the token, nor its successor, nor the session is good, until it is given again.
	h.later(61 * time.Minute)
	h.bad(got.Access, "alpha")
	a.refresh(got.Refresh, nil).wants(h, 400, "invalid_grant")
	q.browse(h.url+"/account").wants(200).says("Continue with").with("corp", nil).wants(303).follow().says("alice.new@corp.example")
	a.refresh(got.Refresh, nil).wants(h, 200, "")

	// Whom the provider lets in no more stays out.
	s.Set(func(s *upstreamtest.Service) { s.Person = nil })
	h.later(61 * time.Minute)
	q.browse(h.url+"/account").with("corp", nil).wants(403).says("Corp & Co did not let you in")
	a.refresh(got.Refresh, nil).wants(h, 400, "invalid_grant")
}

// Groups are there when the policy is asked.
func TestProviderPolicy(t *testing.T) {
	h, s := corporate(t, func(o *idp.Options) {
		o.Allowed = func(_ string, u idp.User) bool { return u.Provider == "corp" && slices.Contains(u.Groups, "admins") }
		o.Welcome = func(u idp.User) bool { return slices.Contains(u.Groups, "admins") }
	})
	p := h.stranger()
	p.browse(h.url+"/login").with("corp", nil).wants(403).says("You may not use anything here")
	if u := h.named("alice@corp.example"); u.ID != "" {
		t.Errorf("a stranger became a user: %+v", u)
	}
	s.Set(func(s *upstreamtest.Service) { s.Person.Groups = []string{"admins"} })
	a := h.registered(loopback)
	p.browse(a.ask(nil)).with("corp", nil).follow()
	got := a.redeem(a.code(p, nil), nil).wants(h, 200, "")
	h.good(got.Access, "alpha")
	s.Set(func(s *upstreamtest.Service) { s.Person.Groups = nil })
	h.stranger().browse(h.url+"/login").with("corp", nil).wants(303)
	h.bad(got.Access, "alpha")
	a.refresh(got.Refresh, nil).wants(h, 400, "invalid_grant")
}

// A provider names an address that is somebody else's here: that gives nobody their account.
func TestProviderTakeover(t *testing.T) {
	h, s := corporate(t)
	victim := h.signedIn("alice@corp.example")
	h.stranger().browse(h.url+"/login").with("corp", nil).wants(403).says("This name belongs to somebody else")
	victim.get(h.url + "/account").wants(200)
	s.Set(func(s *upstreamtest.Service) { s.Person.Email = "bob@corp.example" })
	h.stranger().browse(h.url+"/login").with("corp", nil).wants(303)
	s.Set(func(s *upstreamtest.Service) { s.Person.Email = "ALICE@corp.example" }) // bob takes her name there
	h.stranger().browse(h.url+"/login").with("corp", nil).wants(403).says("This name belongs to somebody else")
	s.Set(func(s *upstreamtest.Service) { s.Person.Subject, s.Person.Email = "18", "o'brien@corp.example" })
	h.stranger().browse(h.url+"/login").with("corp", nil).wants(303).follow().says("o'brien@corp.example")
	s.Set(func(s *upstreamtest.Service) { s.Person.Email = "a<b>@corp.example" })
	h.stranger().browse(h.url+"/login").with("corp", nil).wants(403).says("cannot be used")
}

func TestProviderAttacks(t *testing.T) {
	h, s := corporate(t)
	for name, c := range map[string]struct {
		change func(url.Values)
		status int
		says   string
	}{
		"iss of another": {func(q url.Values) { q.Set("iss", "https://evil.example") }, 403, "did not let you in"},
		"another code":   {func(q url.Values) { q.Set("code", "x") }, 403, "did not let you in"},
		"no state":       {func(q url.Values) { q.Del("state") }, 400, "does not belong to a sign-in that began here"},
		"other state":    {func(q url.Values) { q.Set("state", "x") }, 400, "does not belong to a sign-in that began here"},
		"markup": {func(q url.Values) {
			q.Del("code")
			q.Set("error", "<script>")
			q.Set("error_description", "<script>alert(1)</script>")
		}, 403, "did not let you in"},
	} {
		g := h.stranger().browse(h.url+"/login").with("corp", c.change).wants(c.status).says(c.says)
		if strings.Contains(g.body, "<script") {
			t.Errorf("%s: markup on the page", name)
		}
	}
	// The nonce is exchanged on the way there: the ID token is of another sign-in.
	p := h.stranger()
	away := p.get(h.url + "/login/with/corp").wants(303).location()
	q := away.Query()
	q.Set("nonce", "another")
	away.RawQuery = q.Encode()
	p.get(p.get(away.String()).location().String()).wants(403).says("Its answer was not valid")

	// The attacker's answer in the victim's browser signs nobody in, and neither does it at another provider's address.
	back := p.get(p.get(h.url + "/login/with/corp").location().String()).location().String()
	h.stranger().get(back).wants(403).says("began in another browser")
	victim := h.stranger()
	victim.get(h.url + "/login")
	victim.get(back).wants(403).says("began in another browser")
	p.get(strings.Replace(back, "/from/corp", "/from/other", 1)).wants(400)
	p.get(strings.Replace(back, "/from/corp", "/from/none", 1)).wants(404)
	h.later(16 * time.Minute)
	p.get(back).wants(400).says("took too long")
	h.later(-16 * time.Minute)
	p.get(back).wants(303)
	p.get(back).wants(303) // again, signed in: back to where it was going, without asking anybody
	if n := len(p.get(h.url + "/login/with/corp").wants(303).header["Set-Cookie"]); n != 0 {
		t.Errorf("signed in already: %d cookies", n)
	}

	// A provider that is away is a sentence, and the others and the password still work.
	h.stranger().browse(h.url+"/login").with("other", nil).wants(503).says("other does not answer at this moment")
	s.Set(func(s *upstreamtest.Service) { s.Down = true })
	r := h.stranger()
	back = r.get(h.url + "/login/with/corp").wants(303).location().Query().Get("state")
	r.get(h.url + "/login/from/corp?" + url.Values{"state": {back}, "code": {"x"}, "iss": {s.URL}}.Encode()).wants(503).says("does not answer")
}

// A sign-in with a provider begins a new session: one that an attacker put there is not taken on.
func TestProviderFixation(t *testing.T) {
	h, _ := corporate(t)
	p := h.stranger()
	at, _ := url.Parse(h.url)
	p.http.Jar.SetCookies(at, []*http.Cookie{{Name: "mcpd_session_" + at.Port(), Value: strings.Repeat("A", 26), Path: "/"}})
	g := p.browse(h.url+"/login").with("corp", nil).wants(303)
	var session string
	for _, c := range (&http.Response{Header: g.header}).Cookies() {
		if strings.HasPrefix(c.Name, "mcpd_session") && c.MaxAge >= 0 {
			session = c.Value
		}
	}
	if session == "" || session == strings.Repeat("A", 26) {
		t.Errorf("session %q", session)
	}
}
