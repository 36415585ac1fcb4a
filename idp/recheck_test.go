package idp_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpd/mcpd/idp"
	"github.com/mcpd/mcpd/idp/upstream"
	"github.com/mcpd/mcpd/idp/upstream/upstreamtest"
)

// A program refreshes, and the provider is asked whether the person is still there: other groups hold at once, silence changes
// nothing, and no is the end of everything.
func TestRecheck(t *testing.T) {
	for _, bare := range []bool{false, true} {
		h, s := corporate(t, func(o *idp.Options) {
			corp := o.Config.Providers["corp"]
			corp.Recheck, corp.MaxAge = true, 100*time.Hour
			o.Config.Providers["corp"] = corp
		})
		s.Set(func(s *upstreamtest.Service) { s.Bare, s.InUserinfo = bare, bare })
		h.stopClock()
		a, p := h.registered(loopback), h.stranger()
		p.browse(h.url+"/login").with("corp", nil).wants(303)
		got := a.redeem(a.code(p, nil), nil).wants(h, 200, "")
		asked := func() int {
			n := 0
			s.Set(func(s *upstreamtest.Service) { n = s.Requests })
			return n
		}
		refresh := func(later time.Duration) {
			h.later(later)
			got = a.refresh(got.Refresh, nil).wants(h, 200, "")
		}
		before := asked()
		if refresh(time.Minute); asked() != before {
			t.Error("asked a minute after the sign-in")
		}
		s.Set(func(s *upstreamtest.Service) { s.Person.Groups = []string{"admins"} })
		refresh(10 * time.Minute)
		if u := h.named("alice@corp.example"); !slices.Equal(u.Groups, []string{"admins"}) || !u.Seen.Equal(h.now().UTC().Truncate(time.Millisecond)) {
			t.Errorf("%+v", u)
		}
		before = asked()
		if refresh(time.Minute); asked() != before {
			t.Error("asked again after a minute")
		}
		refresh(10 * time.Minute) // with what the provider gave the last time
		s.Set(func(s *upstreamtest.Service) { s.Down = true })
		refresh(10 * time.Minute)
		s.Set(func(s *upstreamtest.Service) { s.Down, s.Strange = false, true }) // that is no word about the person
		refresh(10 * time.Minute)
		if bare { // the answer was lost on the way, after what is asked with had been replaced
			s.Set(func(s *upstreamtest.Service) { s.Strange, s.Lost = false, true })
			refresh(10 * time.Minute)
			s.Set(func(s *upstreamtest.Service) { s.Lost = false })
			refresh(10 * time.Minute)
		}
		if bare { // without an ID token, silence about groups says nothing of them
			s.Set(func(s *upstreamtest.Service) { s.Strange, s.Person.Groups = false, nil })
			refresh(10 * time.Minute)
			if u := h.named("alice@corp.example"); !slices.Equal(u.Groups, []string{"admins"}) {
				t.Errorf("%+v", u)
			}
		}
		s.Set(func(s *upstreamtest.Service) { s.Strange, s.Person = false, nil })
		h.good(got.Access, "alpha")
		h.later(10 * time.Minute)
		a.refresh(got.Refresh, nil).wants(h, 400, "invalid_grant")
		h.bad(got.Access, "alpha")
		p.get(h.url + "/account").wants(303)
	}
}

// The refresh token of the provider is not readable in the store, is not asked for unasked, and does not answer for somebody else.
func TestRecheckSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mcpd.db")
	store, err := idp.OpenStore(file)
	if err != nil {
		t.Fatal(err)
	}
	s := upstreamtest.OpenID(t)
	s.Person = &upstreamtest.Person{Subject: "17", Email: "alice@corp.example", Verified: true}
	corp := upstream.Config{URL: s.URL, ClientID: upstreamtest.ClientID, ClientSecret: upstreamtest.ClientSecret, Recheck: true}
	h := newHouse(t, func(o *idp.Options) { o.Store, o.Config.Providers = store, map[string]upstream.Config{"corp": corp} })
	h.store = store
	h.stopClock()
	p, a := h.stranger(), h.registered(loopback)
	p.browse(h.url+"/login").with("corp", nil).wants(303)
	got := a.redeem(a.code(p, nil), nil).wants(h, 200, "")
	sealed, err := store.Users().Voucher(t.Context(), h.named("alice@corp.example").ID)
	if err != nil || sealed == "" {
		t.Fatalf("%q %v", sealed, err)
	}
	var secret string
	s.Set(func(s *upstreamtest.Service) { secret = s.RefreshToken() })
	for _, name := range []string{file, file + "-wal"} {
		if b, err := os.ReadFile(name); err != nil || secret == "" || bytes.Contains(b, []byte(secret)) {
			t.Fatalf("%s: %q is in it, or %v", name, secret, err)
		}
	}
	s.Set(func(s *upstreamtest.Service) { s.Person.Subject = "18" })
	h.later(10 * time.Minute)
	a.refresh(got.Refresh, nil).wants(h, 400, "invalid_grant")

	plain, other := corporate(t)
	q := plain.stranger()
	if to := q.get(plain.url + "/login/with/corp").wants(303).location().String(); strings.Contains(to, "offline_access") {
		t.Errorf("asked for more than it takes: %s, %s", to, other.URL)
	}
	c := idp.DefaultConfig()
	c.Providers = map[string]upstream.Config{"hub": {Type: "github", ClientID: "x", ClientSecret: "x", Recheck: true}}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "providers.hub.recheck") {
		t.Errorf("%v", err)
	}
}
