package idp_test

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcpd/mcpd/idp"
	"github.com/mcpd/mcpd/idp/upstream"
	"github.com/mcpd/mcpd/idp/upstream/upstreamtest"
)

// linking lets people link identities of all providers.
func linking(o *idp.Options) {
	for name, p := range o.Config.Providers {
		p.Link = true
		o.Config.Providers[name] = p
	}
}

// linkTo is the address that the account page has for linking.
func (g *page) linkTo(provider string) string {
	g.Helper()
	for n := range g.root.Descendants() {
		if strings.HasPrefix(attr(n, "href"), "/login/with/"+provider+"?link=") {
			to, err := g.at.Parse(attr(n, "href"))
			if err != nil {
				g.Fatal(err)
			}
			return to.String()
		}
	}
	g.Fatalf("nothing to link %s with: %s", provider, g.body)
	return ""
}

// come goes to a provider and comes back to where the browser is sent then, which is not opened yet.
func (p *person) come(to string) string {
	p.Helper()
	return p.get(p.get(to).wants(303).location().String()).wants(302).location().String()
}

func (p *person) account() *page { p.Helper(); return p.get(p.url + "/account").wants(200) }

// unlink presses the button beside a linked identity.
func (g *page) unlink(label string) *page {
	g.Helper()
	for n := range g.root.Descendants() {
		if attr(n, "aria-label") == label {
			form := url.Values{}
			for in := range n.Parent.ChildNodes() {
				if in.Data == "input" {
					form.Set(attr(in, "name"), attr(in, "value"))
				}
			}
			return g.do("POST", g.url+"/account/unlink", form, http.Header{"Sec-Fetch-Site": {"same-origin"}})
		}
	}
	g.Fatalf("no button %q: %s", label, g.body)
	return nil
}

// A local person links an identity, signs in with it and with what they had before, and takes it away again.
func TestLinkedIdentity(t *testing.T) {
	h, s := corporate(t, linking)
	h.stopClock()
	p, app := h.withApp("bob")
	ask := p.get(p.come(p.account().linkTo("corp"))).wants(200)
	ask.says("bob").says("alice@corp.example").says("Corp & Co")
	ask.press("link", nil).wants(303).follow().says("It is linked").says("Corp & Co: alice@corp.example")
	before := h.named("bob")
	if before.Provider != "" || len(before.Groups) != 0 || h.named("alice@corp.example").ID != "" {
		t.Errorf("%+v", before)
	}

	// It is a first step, as the password is, and brings no group.
	q := h.stranger()
	second := q.browse(h.url+"/login").with("corp", nil).wants(303).follow().wants(200).says("One more step").says("bob")
	second.press("confirm", app.code()).wants(303).follow().wants(200).says("by corp and code")
	if u := h.named("bob"); len(u.Groups) != 0 || u.Provider != "" || !u.Seen.IsZero() || u.ID != before.ID {
		t.Errorf("%+v", u)
	}
	h.later(time.Minute)
	h.second("bob").press("confirm", app.code()).wants(303) // the password works on
	h.later(time.Minute)

	// The provider forgets the person: it is a way in no more, and nothing else changes.
	s.Set(func(s *upstreamtest.Service) { s.Person = nil })
	h.stranger().browse(h.url+"/login").with("corp", nil).wants(403)
	p.account()
	s.Set(func(s *upstreamtest.Service) {
		s.Person = &upstreamtest.Person{Subject: "17", Email: "alice@corp.example", Verified: true}
	})

	p.account().unlink("Unlink alice@corp.example of Corp & Co").wants(303).follow().says("not linked any more")
	q.get(h.url + "/account").wants(303) // the browser that came by it is signed out
	h.stranger().browse(h.url+"/login").with("corp", nil).wants(303).follow().says("You are signed in as alice@corp.example")
	if h.named("alice@corp.example").ID == before.ID {
		t.Error("still bob")
	}
}

// What somebody does to get into another's account by linking, or to get another into theirs.
func TestLinkAttacks(t *testing.T) {
	h, s := corporate(t, linking)
	h.stopClock()
	victim, thief := h.signedIn("victim"), h.signedIn("thief")

	// The victim's browser is led to the address that begins it: of nobody's making, of the thief's, of another provider.
	link := thief.account().linkTo("corp")
	for _, to := range []string{h.url + "/login/with/corp?link=", h.url + "/login/with/corp?link=x", link, victim.account().linkTo("other")} {
		victim.get(strings.Replace(to, "/with/other", "/with/corp", 1)).wants(403).says("no longer valid")
	}
	h.stranger().get(link).wants(403)

	// The thief begins, and has the victim end it: their identity would be the victim's way in.
	back := thief.come(link)
	victim.get(back).wants(403).says("began in another browser")

	// The thief's form in the victim's browser, and a foreign page that sends it.
	ask := thief.get(back).wants(200)
	_, form := ask.form("link", nil)
	same := http.Header{"Sec-Fetch-Site": {"same-origin"}}
	victim.do("POST", h.url+"/account/identity", form, same).wants(403)
	_, own := victim.account().form("everywhere", nil)
	own.Set("joining", form.Get("joining"))
	victim.do("POST", h.url+"/account/identity", own, same).wants(400)
	own.Set("joining", "x")
	victim.do("POST", h.url+"/account/identity", own, same).wants(400)
	thief.do("POST", h.url+"/account/identity", form, http.Header{"Sec-Fetch-Site": {"cross-site"}}).wants(403)
	thief.do("POST", h.url+"/account/identity", url.Values{"joining": form["joining"]}, same).wants(403)

	// Signed out and in as somebody else between the steps.
	thief.signIn()
	thief.do("POST", h.url+"/account/identity", form, same).wants(403)
	thief.get(back).wants(403).says("signed out meanwhile")

	// An identity that is a user's, or linked, is not anybody else's; nor is it moved by an equal name.
	h.stranger().browse(h.url+"/login").with("corp", nil).wants(303) // alice is a user now
	thief.get(thief.come(thief.account().linkTo("corp"))).press("link", nil).wants(409).says("belongs to a user here already")
	s.Set(func(s *upstreamtest.Service) { s.Person.Subject, s.Person.Email = "18", "victim@corp.example" })
	victim.get(victim.come(victim.account().linkTo("corp"))).press("link", nil).wants(303)
	thief.get(thief.come(thief.account().linkTo("corp"))).press("link", nil).wants(409).says("belongs to a user here already")
	victim.get(victim.come(victim.account().linkTo("corp"))).press("link", nil).wants(409)
	s.Set(func(s *upstreamtest.Service) { s.Person.Subject, s.Person.Email = "19", "thief" }) // an address that is a name here
	h.stranger().browse(h.url+"/login").with("corp", nil).wants(403).says("belongs to somebody else")
	s.Set(func(s *upstreamtest.Service) { s.Person.Subject, s.Person.Email = "18", "victim@corp.example" })

	// Another's linked identity cannot be unlinked.
	_, form = victim.account().form("everywhere", nil)
	for n := range victim.account().root.Descendants() {
		if attr(n, "name") == "identity" {
			form.Set("identity", attr(n, "value"))
		}
	}
	_, mine := thief.account().form("everywhere", nil)
	mine.Set("identity", form.Get("identity"))
	thief.do("POST", h.url+"/account/unlink", mine, same).wants(303)
	h.stranger().browse(h.url+"/login").with("corp", nil).wants(303).follow().says("You are signed in as victim")

	// The only way in is not taken away, and an old session changes nothing.
	victim.account().unlink("Unlink victim@corp.example of Corp & Co").wants(409).says("only way in")
	began := victim.come(victim.account().linkTo("corp"))
	start := victim.account().linkTo("corp")
	ask = victim.get(began).wants(200)
	h.later(16 * time.Minute)
	victim.get(start).wants(403).says("Sign in again first")
	ask.press("link", nil).wants(403)
	victim.do("POST", h.url+"/account/unlink", form, same).wants(403)
	if strings.Contains(victim.account().body, "?link=") {
		t.Error("offered to an old session")
	}

	// The administrator's reset takes it away.
	if _, err := h.issuer.Reset(t.Context(), "victim"); err != nil {
		t.Fatal(err)
	}
	h.stranger().browse(h.url+"/login").with("corp", nil).wants(303).follow().says("You are signed in as victim@corp.example")
}

// Whom one provider vouches for links another: the first still has to vouch. And a provider's word that a program brings is
// not enough for a user whom that provider does not vouch for.
func TestLinkedToVouched(t *testing.T) {
	corp, hub := upstreamtest.OpenID(t), upstreamtest.OpenID(t)
	corp.Person = &upstreamtest.Person{Subject: "17", Email: "alice@corp.example", Verified: true, Groups: []string{"staff"}}
	hub.Person = &upstreamtest.Person{Subject: "17", Email: "alice@hub.example", Verified: true, Groups: []string{"admins"}}
	h := newHouse(t, func(o *idp.Options) {
		o.Config.Clients = map[string]idp.ClientConfig{"agent": {Secret: longSecret}}
		o.Config.Providers = map[string]upstream.Config{
			"corp": {URL: corp.URL, ClientID: upstreamtest.ClientID, ClientSecret: upstreamtest.ClientSecret, MaxAge: time.Hour},
			"hub": {URL: hub.URL, Link: true, ClientID: upstreamtest.ClientID, ClientSecret: upstreamtest.ClientSecret, MaxAge: 100 * time.Hour,
				Assertions: upstream.Assertions{Clients: []string{"agent"}}},
		}
	})
	p := h.stranger()
	p.browse(h.url+"/login").with("corp", nil).wants(303)
	p.get(p.come(p.account().linkTo("hub"))).press("link", nil).wants(303)
	h.stranger().browse(h.url+"/login").with("hub", nil).wants(303).follow().says("You are signed in as alice@corp.example")
	if u := h.named("alice@corp.example"); len(u.Groups) != 1 || u.Groups[0] != "staff" {
		t.Errorf("%+v", u)
	}
	h.bring(h.assertion(hub, func(map[string]any, *jose.SignerOptions) {}), nil).wants(h, 400, "invalid_grant")
	h.later(61 * time.Minute)
	h.stranger().browse(h.url+"/login").with("hub", nil).wants(403).says("Sign in another way first")
	if _, err := h.issuer.RemoveUser(t.Context(), "alice@corp.example"); err != nil {
		t.Fatal(err)
	}
	h.stranger().browse(h.url+"/login").with("hub", nil).wants(303).follow().says("You are signed in as alice@hub.example")
}

// Without the operator's word nothing is linked, and what was linked before opens nothing.
func TestLinkOff(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mcpd.db")
	corp := upstreamtest.OpenID(t)
	corp.Person = &upstreamtest.Person{Subject: "17", Email: "alice@corp.example", Verified: true}
	open := func(link bool) (*house, idp.Store) {
		store, err := idp.OpenStore(file)
		if err != nil {
			t.Fatal(err)
		}
		h := newHouse(t, func(o *idp.Options) {
			o.Store = keep{store}
			o.Config.Providers = map[string]upstream.Config{"corp": {URL: corp.URL, ClientID: upstreamtest.ClientID, ClientSecret: upstreamtest.ClientSecret, Link: link}}
		})
		h.store = store
		return h, store
	}
	h, store := open(true)
	p := h.signedIn("bob")
	p.get(p.come(p.account().linkTo("corp"))).press("link", nil).wants(303)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	h, store = open(false)
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	h.stranger().browse(h.url+"/login").with("corp", nil).wants(403).says("do not count here")
	q := h.stranger()
	q.name = "bob"
	q.signIn()
	if strings.Contains(q.account().body, "?link=") {
		t.Error("offered")
	}
	q.get(h.url + "/login/with/corp?link=x").wants(403)
}
