package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"

	"github.com/mcpd/mcpd/router/certs/dns"
	"github.com/mcpd/mcpd/router/certs/dns/dnstest"
)

// The test binary is also a daemon's keeper, and a process that holds a lock until it is killed.
func TestMain(m *testing.M) {
	if text := os.Getenv(nodeVariable); text != "" {
		if err := runNode(text); err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv("CERTS_TEST_HOLD"); dir != "" {
		if err := (&certmagic.FileStorage{Path: dir}).Lock(context.Background(), "issue_cert_mcp.test"); err != nil {
			os.Exit(1)
		}
		_, _ = os.Stdout.WriteString("held\n")
		time.Sleep(time.Hour)
	}
	for name, value := range map[string]string{"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0", "PEBBLE_WFE_NONCEREJECT": "0"} {
		if err := os.Setenv(name, value); err != nil {
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// pebble is a certificate authority in this process: Let's Encrypt's own for tests.
type pebble struct {
	Issuer
	roots *x509.CertPool // of what it issues

	mu     sync.Mutex
	orders []map[string]any // what newOrder was asked for
	ari    func() bool      // whether it is to propose renewal at once; nil: never
}

type pebbleOptions struct {
	dns       string // resolver of its validation
	http, tls int    // ports that it asks on
	life      time.Duration
	eab       bool
}

func startPebble(t *testing.T, o pebbleOptions) *pebble {
	t.Helper()
	if o.life == 0 {
		o.life = 90 * 24 * time.Hour
	}
	lg, store := log.New(io.Discard, "", 0), db.NewMemoryStore()
	// It picks a profile at random where there are several and none is asked for.
	profiles := map[string]ca.Profile{"default": {ValidityPeriod: uint64(o.life / time.Second)}}
	if o.eab {
		profiles = map[string]ca.Profile{"shortlived": {ValidityPeriod: 6 * 86400}}
		if err := store.AddExternalAccountKeyByID("kid-1", base64.RawURLEncoding.EncodeToString([]byte("a key of thirty-two bytes, agreed"))); err != nil {
			t.Fatal(err)
		}
	}
	signer := ca.New(lg, store, "", "ecdsa", 0, 1, profiles)
	front := wfe.New(lg, store, va.New(lg, o.http, o.tls, false, o.dns, store), signer, []string{"pebble.letsencrypt.org"}, false, o.eab, 0, 0)
	p := &pebble{roots: poolOf(signer.GetRootCert(0).Cert)}
	h := front.Handler()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/order-plz") {
			p.note(r)
		}
		if strings.Contains(r.URL.Path, "/renewalInfo/") && p.proposes() {
			w.Header().Set("Retry-After", "21600")
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"suggestedWindow": map[string]time.Time{"start": time.Now().Add(-2 * time.Hour), "end": time.Now().Add(-time.Hour)}})
			return
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Issuer = Issuer{Directory: srv.URL + "/dir", Root: file}
	if o.eab {
		p.EABKeyID, p.EABMACKey, p.Profile = "kid-1", base64.RawURLEncoding.EncodeToString([]byte("a key of thirty-two bytes, agreed")), "shortlived"
	}
	return p
}

// note keeps the payload of a newOrder request (a JWS) and leaves its body to be read again.
func (p *pebble) note(r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	var jws struct{ Payload string }
	_ = json.Unmarshal(body, &jws)
	payload, _ := base64.RawURLEncoding.DecodeString(jws.Payload)
	order := map[string]any{}
	_ = json.Unmarshal(payload, &order)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.orders = append(p.orders, order)
}

func (p *pebble) ordered() []map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.orders)
}

func (p *pebble) proposes() bool {
	p.mu.Lock()
	f := p.ari
	p.mu.Unlock()
	return f != nil && f()
}

// acmeOptions are for a Keeper of mcp.test that asks these authorities.
func acmeOptions(t *testing.T, issuers ...Issuer) Options {
	t.Helper()
	c := DefaultConfig()
	c.Mode, c.ACME.Issuers, c.ACME.Email = ModeACME, issuers, "admin@mcp.test"
	return Options{
		Config: c, Dir: t.TempDir(), Domain: "mcp.test", Hosts: func() []string { return []string{"auth.mcp.test", "a.mcp.test"} },
		every: 200 * time.Millisecond,
	}
}

// byDNS lets the Keeper write to a DNS server.
func (o Options) byDNS(s *dnstest.Server) Options {
	o.Config.ACME.DNS = dns.Config{Provider: "rfc2136", Resolvers: []string{s.Addr}, Timeout: 20 * time.Second, Settings: map[string]string{
		"nameserver": s.Addr, "tsig_key": dnstest.Key, "tsig_secret": dnstest.Secret,
	}}
	return o
}

// begin opens a Keeper and has it manage its hosts.
func begin(t *testing.T, o Options) *Keeper {
	t.Helper()
	k := open(t, o)
	if err := k.Manage(t.Context()); err != nil {
		t.Fatal(err)
	}
	return k
}

// eventually asks cond until it is "", for 30 s.
func eventually(t *testing.T, cond func() string) {
	t.Helper()
	end := time.After(60 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		now := cond()
		if now == "" {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not within 60 s: %s", now)
		}
	}
}

// has waits until a Keeper has exactly these certificates, all well.
func has(t *testing.T, k *Keeper, names ...string) []Certificate {
	t.Helper()
	var all []Certificate
	eventually(t, func() string {
		all = k.Status()
		var got []string
		for _, c := range all {
			if c.Error != "" || c.NotAfter.IsZero() {
				return strings.Join(c.Names, " ") + ": " + c.Error
			}
			got = append(got, c.Names...)
		}
		if !slices.Equal(got, names) {
			return "certificates for " + strings.Join(got, ", ")
		}
		return ""
	})
	return all
}

// serves demands handshakes for names with certificates of an authority.
func serves(t *testing.T, k *Keeper, p *pebble, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := shake(t, k, trusting(p.roots, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// port listens on a free port of 127.0.0.1.
func port(t *testing.T) (net.Listener, int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, l.Addr().(*net.TCPAddr).Port
}

// serve answers on l with h until the test's end; with k, behind TLS.
func serve(t *testing.T, l net.Listener, k *Keeper, h http.Handler) {
	t.Helper()
	srv := &http.Server{Handler: h, TLSConfig: k.TLSConfig(), ErrorLog: log.New(io.Discard, "", 0)}
	ended := make(chan struct{})
	go func() { // ends with Close, at the test's end
		defer close(ended)
		if k != nil {
			_ = srv.ServeTLS(l, "", "")
		} else {
			_ = srv.Serve(l)
		}
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-ended
	})
}

// to is a client for whatever name at one address.
func to(addr string, roots *x509.CertPool, keepAlive bool) *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true, DisableKeepAlives: !keepAlive,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		},
	}}
}

// lockedText collects what a process writes.
type lockedText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
