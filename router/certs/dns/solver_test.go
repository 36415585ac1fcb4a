package dns

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"

	"github.com/mcpd/mcpd/router/certs/dns/dnstest"
)

func challengeFor(domain, token string) acme.Challenge {
	return acme.Challenge{Type: "dns-01", Token: token, KeyAuthorization: token + ".thumb", Identifier: acme.Identifier{Type: "dns", Value: domain}}
}

func solver(t *testing.T, change func(*Config), servers ...*dnstest.Server) *Solver {
	t.Helper()
	c := DefaultConfig()
	c.Provider, c.Timeout = "rfc2136", time.Second
	c.Settings = map[string]string{"nameserver": servers[0].Addr, "tsig_key": "ACME", "tsig_secret": dnstest.Secret}
	for _, s := range servers {
		c.Resolvers = append(c.Resolvers, s.Addr)
	}
	if change != nil {
		change(&c)
	}
	s, err := New(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.every = 20 * time.Millisecond
	return s
}

// Two challenges for one name are there at the same time, and each takes away its own.
func TestValuesAreAddedAndTakenAwayOneByOne(t *testing.T) {
	t.Parallel()
	zone := dnstest.New(t, "mcp.test")
	zone.Add(t, `_acme-challenge.mcp.test. 60 IN TXT "of somebody else"`)
	s := solver(t, nil, zone)
	a, b := challengeFor("mcp.test", "a"), challengeFor("mcp.test", "b")
	for _, c := range []acme.Challenge{a, b} {
		if err := s.Present(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []acme.Challenge{a, b} {
		if err := s.Wait(t.Context(), c); err != nil {
			t.Error(err)
		}
	}
	want := []string{"of somebody else", a.DNS01KeyAuthorization(), b.DNS01KeyAuthorization()}
	if got, _ := zone.TXT("_acme-challenge.mcp.test."); !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
	if err := s.CleanUp(t.Context(), a); err != nil {
		t.Error(err)
	}
	if got, _ := zone.TXT("_acme-challenge.mcp.test."); !slices.Equal(got, []string{want[0], want[2]}) {
		t.Errorf("after one clean-up there are %q", got)
	}
	if err := s.CleanUp(t.Context(), challengeFor("mcp.test", "never presented")); err != nil {
		t.Errorf("clean-up of nothing: %v", err)
	}
}

// One resolver that does not see the record is enough to wait, and is named.
func TestEveryResolverMustSeeIt(t *testing.T) {
	t.Parallel()
	first, second := dnstest.New(t, "mcp.test"), dnstest.New(t, "mcp.test")
	s := solver(t, nil, first, second)
	c := challengeFor("mcp.test", "a")
	if err := s.Present(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	err := s.Wait(t.Context(), c)
	want := "cannot prove mcp.test: resolver " + second.Addr + " does not see the TXT record _acme-challenge.mcp.test. yet (it has 0 other values); waited 1s"
	if err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
	second.Add(t, "_acme-challenge.mcp.test. 60 IN TXT "+c.DNS01KeyAuthorization())
	if err := s.Wait(t.Context(), c); err != nil {
		t.Error(err)
	}
}

// Without resolvers that were named it is the zone's own servers that must see it.
func TestEveryAuthoritativeServerMustSeeIt(t *testing.T) {
	t.Parallel()
	zone := dnstest.New(t, "mcp.test", "deep.mcp.test")
	s := solver(t, nil, zone)
	_, s.lookup.port, _ = strings.Cut(zone.Addr, ":")
	s.lookup.given = false
	c := challengeFor("deep.mcp.test", "a")
	if err := s.Present(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(t.Context(), c); err != nil {
		t.Error(err)
	}
	zone.Blind(true)
	err := s.Wait(t.Context(), c)
	if err == nil || !strings.Contains(err.Error(), "name server ns.deep.mcp.test (127.0.0.1) does not see the TXT record _acme-challenge.deep.mcp.test. yet") {
		t.Error(err)
	}
}

// Every way in which an update fails is a sentence that says what to change.
func TestWhatAnUpdateFailsOf(t *testing.T) {
	t.Parallel()
	zone := dnstest.New(t, "mcp.test", "closed.test")
	zone.Close("closed.test")
	for name, c := range map[string]struct {
		domain string
		change func(*Config)
		want   string
	}{
		"wrong secret": {"mcp.test", func(c *Config) { c.Settings["tsig_secret"] = "d3Jvbmc=" },
			"knows the TSIG key acme, but not with this tsig_secret or tsig_algorithm (BADSIG)"},
		"wrong key": {"mcp.test", func(c *Config) { c.Settings["tsig_key"] = "other" }, "does not know the TSIG key other, or not with hmac-sha256 (BADKEY)"},
		"no key": {"mcp.test", func(c *Config) { delete(c.Settings, "tsig_key"); delete(c.Settings, "tsig_secret") },
			"zone mcp.test. found, but the name server " + zone.Addr + " takes no update from this address without a TSIG key (REFUSED)"},
		"may not write": {"closed.test", nil, "zone closed.test. found, but at the name server " + zone.Addr + " the TSIG key acme may not write this name (REFUSED)"},
		"not primary":   {"mcp.test", func(c *Config) { c.Settings["zone"] = "test" }, "or is not the primary of the zone test. (NOTAUTH)"},
		"nobody there":  {"mcp.test", func(c *Config) { c.Settings["nameserver"] = "127.0.0.1:1" }, "the name server 127.0.0.1:1 does not answer: "},
		"no resolver":   {"mcp.test", func(c *Config) { c.Resolvers = []string{"127.0.0.1:1"} }, "cannot look up _acme-challenge.mcp.test.: resolver 127.0.0.1:1: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := solver(t, c.change, zone).Present(t.Context(), challengeFor(c.domain, "a"))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant %s", err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), dnstest.Secret) || strings.Contains(err.Error(), "d3Jvbmc=")) {
				t.Errorf("the secret is shown: %v", err)
			}
		})
	}
}

// replacing is a provider that keeps one value per name.
type replacing struct{ zone *dnstest.Server }

func (p replacing) add(_ context.Context, r record) error {
	p.zone.Replace(r.name, r.value)
	return nil
}
func (p replacing) remove(_ context.Context, r record) error { p.zone.Replace(r.name, ""); return nil }
func (replacing) serial() bool                               { return true }

// One after the other in one process, and in two that share a storage.
func TestOneAtATimeWhereValuesReplaceEachOther(t *testing.T) {
	t.Parallel()
	for processes, refusal := range map[string]string{
		"one": "another challenge for the same name is under way", "two": "cannot wait for others who may",
	} {
		t.Run(processes, func(t *testing.T) {
			t.Parallel()
			zone := dnstest.New(t, "mcp.test")
			first, second := solver(t, nil, zone), solver(t, nil, zone)
			if processes == "one" {
				second = first
			}
			for _, s := range []*Solver{first, second} {
				s.provider, s.turns = replacing{zone}, &certmagic.FileStorage{Path: t.TempDir()}
			}
			second.turns = first.turns
			testTurns(t, zone, first, second, refusal)
		})
	}
}

func testTurns(t *testing.T, zone *dnstest.Server, first, second *Solver, refusal string) {
	a, b := challengeFor("mcp.test", "a"), challengeFor("mcp.test", "b")
	if err := first.Present(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	brief, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := second.Present(brief, b); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), refusal) {
		t.Errorf("the second was written over the first: %v", err)
	}
	if err := second.CleanUp(t.Context(), b); err != nil { // as acmez does after a Present that failed
		t.Error(err)
	}
	if got, _ := zone.TXT("_acme-challenge.mcp.test."); len(got) != 1 {
		t.Errorf("the first challenge's record is gone: %v", got)
	}
	done := make(chan error, 1)
	go func() { done <- second.Present(t.Context(), b) }()
	if err := first.CleanUp(t.Context(), a); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := second.Wait(t.Context(), b); err != nil {
		t.Error(err)
	}
	if err := second.CleanUp(t.Context(), b); err != nil {
		t.Error(err)
	}
	if err := first.Present(t.Context(), a); err != nil {
		t.Errorf("the turn was not given back: %v", err)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	base := DefaultConfig()
	for _, c := range []struct {
		provider string
		settings map[string]string
		want     string // "" is fine
	}{
		{"", nil, ""},
		{"", map[string]string{"ttl": "60"}, "provider: must be set"},
		{"cloudflair", nil, `provider: "cloudflair" is not known; there are acmedns, bunny, cloudflare, `},
		{"cloudflare", map[string]string{"dns_api_token": "t0ken"}, ""},
		{"cloudflare", map[string]string{"api_tokn": "t0ken"}, "settings.api_tokn: unknown; cloudflare has api_key, base_url, dns_api_token, "},
		{"cloudflare", nil, "settings: cloudflare: "},
		{"hetzner", map[string]string{"api_token": "t0ken", "ttl": "soon"}, "settings: ttl: must be a whole number"},
		{"httpreq", map[string]string{"endpoint": "https://dns.example/api"}, ""},
		{"pdns", map[string]string{"api_key": "k", "api_url": "http://127.0.0.1:8081"}, ""},
		{"ovh", map[string]string{"endpoint": "ovh-eu", "application_key": "a", "application_secret": "b", "consumer_key": "c"}, ""},
		{"route53", map[string]string{"access_key_id": "a", "secret_access_key": "b", "region": "eu-central-1"}, ""},
		{"rfc2136", map[string]string{"nameserver": "192.0.2.1", "tsig_key": "k"}, "settings: tsig_key and tsig_secret go together"},
		{"rfc2136", nil, "settings: nameserver is missing"},
		{"rfc2136", map[string]string{"nameserver": "192.0.2.1", "tsig_key": "k", "tsig_secret": "s", "tsig_algorithm": "hmac-md5"}, `settings: tsig_algorithm "hmac-md5" is not`},
	} {
		conf := base
		conf.Provider, conf.Settings = c.provider, c.settings
		err := conf.Validate()
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s %v: %v", c.provider, c.settings, err)
		case c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)):
			t.Errorf("%s %v: %v, want %s", c.provider, c.settings, err, c.want)
		}
	}
	base.Timeout, base.Resolvers = 0, []string{"one.one.one.one"}
	if err := base.Validate(); err == nil || !strings.Contains(err.Error(), "timeout: 0s must be") || !strings.Contains(err.Error(), `resolvers[0]: "one.one.one.one" is not an address`) {
		t.Error(err)
	}
}

// An API's answer may quote what it was sent.
func TestSecretsOfAProviderAreNotShown(t *testing.T) {
	t.Parallel()
	s := &Solver{cfg: Config{Provider: "duckdns", Settings: map[string]string{"token": "0123-secret"}}, provider: legoProvider{}}
	err := s.explain("write", record{name: "_acme-challenge.x.test."}, errString("GET https://duckdns.example/update?token=0123-secret: 403 Forbidden"))
	want := "cannot write the TXT record _acme-challenge.x.test. by duckdns: the credentials are known, but may not write there: GET https://duckdns.example/update?token=***: 403 Forbidden"
	if err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

type errString string

func (e errString) Error() string { return string(e) }
