package certs

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcpd/mcpd/router/certs/dns/dnstest"
)

const challengeName = "_acme-challenge.mcp.test."

func TestWildcardByDNS(t *testing.T) {
	t.Parallel()
	zone := dnstest.New(t, "mcp.test")
	p := startPebble(t, pebbleOptions{dns: zone.Addr})
	o := acmeOptions(t, p.Issuer).byDNS(zone)
	k := begin(t, o)
	all := has(t, k, "*.mcp.test", "mcp.test")
	serves(t, k, p, "mcp.test", "auth.mcp.test", "a.mcp.test", "later.MCP.test")
	mustRefuse(t, k, "a.b.mcp.test", "example.com", "mcp.test.example.com", "")
	if n := len(p.ordered()); n != 2 {
		t.Errorf("%d orders, want one for the domain and one for the wildcard: strangers cost none", n)
	}
	if left, updates := zone.TXT(challengeName); len(left) != 0 || updates != 4 {
		t.Errorf("after it all there are %v, by %d updates; want nothing, by 4", left, updates)
	}
	if !strings.HasPrefix(all[0].Issuer, "Pebble") || time.Until(all[0].NotAfter) < 80*24*time.Hour {
		t.Errorf("the status is %+v", all[0])
	}

	// A restart loads them, and asks nobody.
	k.Close()
	again := begin(t, o)
	has(t, again, "*.mcp.test", "mcp.test")
	serves(t, again, p, "mcp.test", "auth.mcp.test")
	if n := len(p.ordered()); n != 2 {
		t.Errorf("%d orders after a restart, want still 2", n)
	}
}

// The name that has to be proved may be a CNAME to a zone that we may write, where the domain's own is closed to us.
func TestDelegatedChallenge(t *testing.T) {
	t.Parallel()
	zone := dnstest.New(t, "mcp.test", "acme.example")
	zone.Add(t, challengeName+" 60 IN CNAME mcp.acme.example.")
	zone.Close("mcp.test")
	p := startPebble(t, pebbleOptions{dns: zone.Addr})
	k := begin(t, acmeOptions(t, p.Issuer).byDNS(zone))
	has(t, k, "*.mcp.test", "mcp.test")
	serves(t, k, p, "mcp.test", "a.mcp.test")
}

// Hosts outside the domain have certificates of their own, by TLS-ALPN-01, beside the wildcard.
func TestHostElsewhereBesideTheWildcard(t *testing.T) {
	t.Parallel()
	zone := dnstest.New(t, "mcp.test", "corp.test")
	l, n := port(t)
	p := startPebble(t, pebbleOptions{dns: zone.Addr, tls: n})
	o := acmeOptions(t, p.Issuer).byDNS(zone)
	o.HTTPSPort, o.Hosts = n, func() []string { return []string{"a.mcp.test", "tools.corp.test"} }
	k := open(t, o)
	serve(t, l, k, http.NotFoundHandler())
	if err := k.Manage(t.Context()); err != nil {
		t.Fatal(err)
	}
	has(t, k, "*.mcp.test", "mcp.test", "tools.corp.test")
	serves(t, k, p, "a.mcp.test", "tools.corp.test")
	mustRefuse(t, k, "other.corp.test")
}

// Without DNS credentials: exactly the hosts that there are, on the port that clients use anyway.
func TestEachHostByALPN(t *testing.T) {
	t.Parallel()
	zone := dnstest.New(t, "mcp.test")
	l, n := port(t)
	p := startPebble(t, pebbleOptions{dns: zone.Addr, tls: n})
	o := acmeOptions(t, p.Issuer)
	var hosts atomic.Pointer[[]string]
	hosts.Store(&[]string{"auth.mcp.test", "a.mcp.test"})
	o.HTTPSPort, o.Hosts = n, func() []string { return *hosts.Load() }
	k := open(t, o)
	serve(t, l, k, http.NotFoundHandler())
	manage := func() {
		t.Helper()
		if err := k.Manage(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	manage()
	has(t, k, "a.mcp.test", "auth.mcp.test")
	serves(t, k, p, "a.mcp.test", "auth.mcp.test")
	mustRefuse(t, k, "b.mcp.test", "mcp.test")
	if got := len(p.ordered()); got != 2 {
		t.Errorf("%d orders, want 2: strangers cost none", got)
	}

	// After a reload: a new host gets one, one that is gone is refused.
	hosts.Store(&[]string{"auth.mcp.test", "b.mcp.test"})
	manage()
	has(t, k, "auth.mcp.test", "b.mcp.test")
	serves(t, k, p, "b.mcp.test")
	mustRefuse(t, k, "a.mcp.test")
}

func TestEachHostByHTTP(t *testing.T) {
	t.Parallel()
	// Names of its own: certmagic has one list, by name, of the challenges under way in the process.
	zone := dnstest.New(t, "byhttp.test")
	l, n := port(t)
	p := startPebble(t, pebbleOptions{dns: zone.Addr, http: n})
	o := acmeOptions(t, p.Issuer)
	o.Domain, o.HTTPPort, o.Hosts = "byhttp.test", n, func() []string { return []string{"auth.byhttp.test", "a.byhttp.test"} }
	k := open(t, o)
	serve(t, l, nil, k.HTTP01(http.RedirectHandler("https://elsewhere.example/", http.StatusPermanentRedirect)))
	if err := k.Manage(t.Context()); err != nil {
		t.Fatal(err)
	}
	has(t, k, "a.byhttp.test", "auth.byhttp.test")
	serves(t, k, p, "a.byhttp.test")
	for _, path := range []string{"/", "/.well-known/acme-challenge/guessed"} {
		rec := httptest.NewRecorder()
		k.HTTP01(http.NotFoundHandler()).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "http://a.byhttp.test"+path, nil))
		if rec.Code != http.StatusNotFound {
			t.Errorf("%s: %d, want it to go to the next handler", path, rec.Code)
		}
	}
}

// Certificates are replaced while clients come all the time, on new connections and on old ones, and none notices.
func TestRenewalUnderLoad(t *testing.T) {
	t.Parallel()
	zone := dnstest.New(t, "mcp.test")
	p := startPebble(t, pebbleOptions{dns: zone.Addr, life: time.Hour})
	o := acmeOptions(t, p.Issuer).byDNS(zone)
	o.Config.ACME.ARI, o.window = false, 3599.0/3600 // due after a second
	k := begin(t, o)
	eventually(t, func() string {
		if n := len(p.ordered()); n < 2 || k.Status()[0].NotAfter.IsZero() || k.Status()[1].NotAfter.IsZero() {
			return "no certificates yet"
		}
		return ""
	})
	l, _ := port(t)
	serve(t, l, k, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "fine") }))
	var serials sync.Map
	var calls atomic.Int64
	done := make(chan struct{})
	var load sync.WaitGroup
	for i := range 4 {
		client := to(l.Addr().String(), p.roots, i%2 == 0)
		load.Go(func() { // ends with done
			for {
				select {
				case <-done:
					return
				default:
				}
				resp, err := client.Get("https://a.mcp.test/")
				if err != nil {
					t.Errorf("call %d: %v", calls.Load(), err)
					return
				}
				serials.Store(resp.TLS.PeerCertificates[0].SerialNumber.String(), true)
				_ = resp.Body.Close()
				calls.Add(1)
			}
		})
	}
	eventually(t, func() string {
		n := 0
		serials.Range(func(any, any) bool { n++; return true })
		if n >= 3 {
			return ""
		}
		return fmt.Sprintf("clients saw %d certificates, want 3", n)
	})
	close(done)
	load.Wait()
	t.Logf("%d calls, none failed", calls.Load())
}

// The authority's wish to have a certificate renewed (RFC 9773) is followed, and it is told which one is replaced.
func TestRenewalThatTheAuthorityProposes(t *testing.T) {
	t.Parallel()
	// A name of its own: certmagic has one list, by name, of the renewals to wait with, for the whole process.
	zone := dnstest.New(t, "proposed.test")
	p := startPebble(t, pebbleOptions{dns: zone.Addr})
	p.ari = func() bool { return len(p.ordered()) < 3 } // the domain, the wildcard, and the first renewal
	o := acmeOptions(t, p.Issuer).byDNS(zone)
	o.Domain, o.Hosts, o.window = "proposed.test", func() []string { return nil }, 0.1
	k := begin(t, o)
	eventually(t, func() string {
		if all := p.ordered(); !slices.ContainsFunc(all, func(o map[string]any) bool { return o["replaces"] != nil }) {
			return fmt.Sprintf("no order says what it replaces: %v", all)
		}
		return ""
	})
	all := has(t, k, "*.proposed.test", "proposed.test")
	// Of 90 days Pebble proposes the 60th, a day more or less; without ARI it would be the 81st here.
	eventually(t, func() string {
		all = k.Status()
		for _, c := range all {
			if days := time.Until(c.Renews).Hours() / 24; days > 58 && days < 62 {
				return ""
			}
		}
		return fmt.Sprintf("no renewal is due after 60 days: %+v", all)
	})
}

func TestNextAuthorityWhenOneIsDead(t *testing.T) {
	t.Parallel()
	zone := dnstest.New(t, "mcp.test")
	second := startPebble(t, pebbleOptions{dns: zone.Addr, eab: true})
	dead := second.Issuer
	dead.Directory, dead.EABKeyID, dead.EABMACKey, dead.Profile = "https://127.0.0.1:1/dir", "", "", ""
	k := begin(t, acmeOptions(t, dead, second.Issuer).byDNS(zone))
	all := has(t, k, "*.mcp.test", "mcp.test")
	serves(t, k, second, "mcp.test", "a.mcp.test")
	if life := time.Until(all[0].NotAfter); life > 6*24*time.Hour {
		t.Errorf("the certificate is good for %v; the profile shortlived is 6 days", life)
	}
}

// What goes wrong is in the status as a sentence, without the secret.
func TestBadTSIGIsToldOf(t *testing.T) {
	t.Parallel()
	zone := dnstest.New(t, "mcp.test")
	p := startPebble(t, pebbleOptions{dns: zone.Addr})
	o := acmeOptions(t, p.Issuer).byDNS(zone)
	const wrong = "d3JvbmcsIGFuZCBub3QgdG8gYmUgc2hvd24gYW55d2hlcmU="
	o.Config.ACME.DNS.Settings["tsig_secret"] = wrong
	k := begin(t, o)
	eventually(t, func() string {
		for _, c := range k.Status() {
			if !strings.Contains(c.Error, "knows the TSIG key acme, but not with this tsig_secret or tsig_algorithm (BADSIG)") {
				return c.Error
			}
		}
		return ""
	})
	if text, err := json.Marshal(k.Status()); err != nil || strings.Contains(string(text), wrong) {
		t.Errorf("%v: the status shows the secret: %s", err, text)
	}
	mustRefuse(t, k, "example.com")
	if _, err := shake(t, k, trusting(p.roots, "mcp.test")); err == nil {
		t.Error("a handshake without a certificate")
	}
}

// A process that is killed while it holds the lock of a name stands in nobody's way for long.
func TestLockHolderKilled(t *testing.T) {
	t.Parallel()
	zone := dnstest.New(t, "mcp.test")
	p := startPebble(t, pebbleOptions{dns: zone.Addr})
	o := acmeOptions(t, p.Issuer).byDNS(zone)
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), "CERTS_TEST_HOLD="+o.Dir)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("the lock is not held: %q %v", line, err)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait()
	k := begin(t, o)
	has(t, k, "*.mcp.test", "mcp.test")
	serves(t, k, p, "mcp.test")
}

// Many DNS hosts keep one value per name. Domain and wildcard, which share one, must not take it from each other.
func TestProviderThatReplaces(t *testing.T) {
	t.Parallel()
	zone := dnstest.New(t, "mcp.test")
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ FQDN, Value string }
		if user, pass, _ := r.BasicAuth(); user != "u" || pass != "hunter2-hunter2" || json.NewDecoder(r.Body).Decode(&in) != nil {
			http.Error(w, "bad credentials hunter2-hunter2", http.StatusUnauthorized)
			return
		}
		zone.Replace(in.FQDN, map[bool]string{true: in.Value}[r.URL.Path == "/present"])
	}))
	defer api.Close()
	p := startPebble(t, pebbleOptions{dns: zone.Addr})
	o := acmeOptions(t, p.Issuer).byDNS(zone)
	o.Config.ACME.DNS.Provider = "httpreq"
	o.Config.ACME.DNS.Settings = map[string]string{"endpoint": api.URL, "username": "u", "password": "hunter2-hunter2"}
	k := begin(t, o)
	has(t, k, "*.mcp.test", "mcp.test")
	serves(t, k, p, "mcp.test", "a.mcp.test")
}

// The pre-flight makes no order, and says of each step how it went.
func TestPreflight(t *testing.T) {
	t.Parallel()
	zone := dnstest.New(t, "mcp.test")
	p := startPebble(t, pebbleOptions{dns: zone.Addr, eab: true})
	o := acmeOptions(t, p.Issuer).byDNS(zone)
	o.Hosts = func() []string { return []string{"localhost", "nowhere.invalid"} }
	run := func() (fine, bad []string) {
		Preflight(t.Context(), o, func(step string, err error) {
			if err == nil {
				fine = append(fine, step)
			} else {
				bad = append(bad, step+": "+err.Error())
			}
		})
		return fine, bad
	}
	fine, bad := run()
	if len(fine) != 3 || len(bad) != 1 || !strings.Contains(bad[0], "host nowhere.invalid: cannot find its address") {
		t.Errorf("fine: %q\nnot: %q", fine, bad)
	}
	if left, updates := zone.TXT(challengeName); len(left) != 0 || updates != 2 {
		t.Errorf("left in the zone: %v, by %d updates", left, updates)
	}
	if n := len(p.ordered()); n != 0 {
		t.Errorf("%d orders", n)
	}
	o.Config.ACME.Issuers = []Issuer{{Directory: p.Directory, Root: p.Root}, p.Issuer, {Directory: "https://127.0.0.1:1/"}}
	o.Config.ACME.Issuers[1].Profile = "longlived"
	o.Hosts = func() []string { return nil }
	_, bad = run()
	for i, want := range []string{"it wants an account of yours there", `it has no profile "longlived", but shortlived`, "cannot ask it: "} {
		if i >= len(bad) || !strings.Contains(bad[i], want) {
			t.Errorf("%q does not say %q", bad, want)
		}
	}
}
