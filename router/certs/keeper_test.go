package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// open opens a Keeper until the test's end.
func open(t *testing.T, o Options) *Keeper {
	t.Helper()
	o.Config = filled(o.Config)
	k, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// filled has the defaults where a test says nothing.
func filled(c Config) Config {
	if c.Internal.Life == 0 {
		c.Internal = DefaultConfig().Internal
	}
	if c.ACME.DNS.Timeout == 0 {
		c.ACME = DefaultConfig().ACME
	}
	return c
}

// shake makes one handshake with a Keeper, as a client with conf does, and returns what the client then knows.
func shake(t *testing.T, k *Keeper, conf *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		defer server.Close()
		conn := tls.Server(server, k.TLSConfig())
		if conn.Handshake() == nil {
			_, _ = conn.Write([]byte("hello"))
		}
	}()
	conn := tls.Client(client, conf)
	err := conn.Handshake()
	if err == nil {
		_, err = conn.Read(make([]byte, 5)) // session tickets come with it
	}
	_ = client.Close()
	<-served
	return conn.ConnectionState(), err
}

func trusting(roots *x509.CertPool, name string) *tls.Config {
	return &tls.Config{RootCAs: roots, ServerName: name, Time: time.Now}
}

// mustRefuse demands that a handshake for a name ends with the alert that says why.
func mustRefuse(t *testing.T, k *Keeper, names ...string) {
	t.Helper()
	for _, name := range names {
		_, err := shake(t, k, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("a handshake for %q: %v, want the alert unrecognized name", name, err)
		}
	}
}

// writePair writes a self-signed certificate with its key.
func writePair(t *testing.T, p Pair, curve bool, names ...string) *x509.Certificate {
	t.Helper()
	tmpl := &x509.Certificate{
		Subject: pkix.Name{CommonName: "tester"}, DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	var private, public any
	if curve {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		private, public = k, k.Public()
	} else {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		private, public = k, k.Public()
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, public, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{p.Cert: {Type: "CERTIFICATE", Bytes: der}, p.Key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func poolOf(certs ...*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool
}

func pairIn(dir, name string) Pair {
	return Pair{Cert: filepath.Join(dir, name+".pem"), Key: filepath.Join(dir, name+".key")}
}

func TestFilesAreChosenByName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	wild, exact, old := pairIn(dir, "wild"), pairIn(dir, "exact"), pairIn(dir, "old")
	a := writePair(t, wild, true, "example.com", "*.example.com")
	b := writePair(t, exact, true, "api.example.com")
	c := writePair(t, old, false, "api.example.com")
	k := open(t, Options{Config: Config{Mode: ModeFiles, Files: []Pair{wild, exact, old}}, Dir: dir, Domain: "example.com"})
	roots := poolOf(a, b, c)
	for name, want := range map[string]*x509.Certificate{"example.com": a, "x.example.com": a, "API.Example.com": b} {
		st, err := shake(t, k, trusting(roots, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !st.PeerCertificates[0].Equal(want) {
			t.Errorf("%s is answered with the certificate of %v", name, st.PeerCertificates[0].DNSNames)
		}
	}
	rsaOnly := trusting(roots, "api.example.com")
	rsaOnly.MaxVersion, rsaOnly.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	if st, err := shake(t, k, rsaOnly); err != nil || !st.PeerCertificates[0].Equal(c) {
		t.Errorf("a client that knows RSA only: %v", err)
	}
	mustRefuse(t, k, "a.b.example.com", "example.org", "localhost", "")
}

func TestFilesAreReadAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		p := pairIn(dir, "one")
		first := writePair(t, p, true, "example.com")
		k, err := Open(t.Context(), Options{Config: filled(Config{Mode: ModeFiles, Files: []Pair{p}}), Domain: "example.com"})
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		serves := func(want *x509.Certificate) {
			t.Helper()
			time.Sleep(2 * filesEvery)
			if st, err := shake(t, k, trusting(poolOf(want), "example.com")); err != nil || !st.PeerCertificates[0].Equal(want) {
				t.Fatalf("not the certificate that was wanted: %v", err)
			}
		}
		serves(first)
		second := writePair(t, p, true, "example.com")
		serves(second)

		// A bad one changes nothing, and is told of.
		if err := os.WriteFile(p.Cert, []byte("half a fi"), 0o600); err != nil {
			t.Fatal(err)
		}
		serves(second)
		if got := k.Status()[0].Error; !strings.Contains(got, "cannot use the certificate "+`"`+p.Cert) {
			t.Errorf("the status says %q of a broken file", got)
		}
		if err := os.Remove(p.Key); err != nil {
			t.Fatal(err)
		}
		serves(second)
		third := writePair(t, p, true, "example.com", "www.example.com")
		serves(third)
		if got := k.Status()[0]; got.Error != "" || !slices.Equal(got.Names, []string{"example.com", "www.example.com"}) || got.Issuer != "tester" {
			t.Errorf("the status is %+v", got)
		}
	})
}

func TestFilesThatCannotBeUsedAreNotBegunWith(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := pairIn(dir, "a"), pairIn(dir, "b")
	writePair(t, a, true, "example.com")
	writePair(t, b, true, "example.com")
	for want, p := range map[string]Pair{
		"no such file":               pairIn(dir, "none"),
		"private key does not match": {Cert: a.Cert, Key: b.Key},
	} {
		_, err := Open(t.Context(), Options{Config: filled(Config{Mode: ModeFiles, Files: []Pair{p}})})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// rootOf reads the root that an internal authority keeps below dir.
func rootOf(t *testing.T, dir string) *x509.Certificate {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, RootFile))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestInternalAuthority(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hosts := []string{"mcp.test", "auth.mcp.test", "tools.corp.test"}
	o := Options{Config: Config{Mode: ModeInternal}, Dir: dir, Domain: "mcp.test", Hosts: func() []string { return hosts }}
	k := open(t, o)
	root := rootOf(t, dir)
	trust := poolOf(root)
	for _, name := range []string{"mcp.test", "auth.mcp.test", "any.MCP.test", "tools.corp.test"} {
		if st, err := shake(t, k, trusting(trust, name)); err != nil || st.Version != tls.VersionTLS13 {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustRefuse(t, k, "a.b.mcp.test", "corp.test", "example.com", "")
	if info, err := os.Stat(filepath.Join(dir, rootKey)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the root's key: %v %v, want mode 0600", info.Mode(), err)
	}

	// A host that came later and that the root may not sign for: said, and the others serve.
	hosts = append(hosts, "elsewhere.example")
	if err := k.Manage(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot sign for elsewhere.example") {
		t.Errorf("a host beyond the root's names: %v", err)
	}
	all := k.Status()
	if i := slices.IndexFunc(all, func(c Certificate) bool { return slices.Contains(c.Names, "elsewhere.example") }); i < 0 || all[i].Error == "" {
		t.Errorf("the status does not tell of it: %+v", all)
	}
	if _, err := shake(t, k, trusting(trust, "tools.corp.test")); err != nil {
		t.Error(err)
	}

	// The root stays over a restart, and not over a change of the domain, which it may not sign for.
	hosts = hosts[:1]
	open(t, o)
	if !rootOf(t, dir).Equal(root) {
		t.Error("a restart made a new root")
	}
	o.Domain, hosts = "other.test", nil
	open(t, o)
	if rootOf(t, dir).Equal(root) {
		t.Error("the root of one domain serves for another")
	}
}

// A root that somebody trusts must be of no use for the names of others.
func TestInternalRootIsConstrained(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := open(t, Options{Config: Config{Mode: ModeInternal}, Dir: dir, Domain: "mcp.test"})
	in, ok := k.source.(*internal)
	if !ok {
		t.Fatal("no internal authority")
	}
	in.root.PermittedDNSDomains = append(in.root.PermittedDNSDomains, "bank.example") // as a thief of the key would
	stolen, err := in.sign([]string{"www.bank.example", "192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"www.bank.example", "192.0.2.1"} {
		if _, err := stolen.Leaf.Verify(x509.VerifyOptions{Roots: poolOf(rootOf(t, dir)), DNSName: name}); err == nil {
			t.Errorf("a stolen root is good for %s", name)
		}
	}
}

func TestInternalLeavesAreRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		k, err := Open(t.Context(), Options{Config: filled(Config{Mode: ModeInternal, Internal: InternalConfig{Life: 24 * time.Hour}}), Dir: dir, Domain: "mcp.test"})
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		first := k.Status()[0]
		if left := time.Until(first.Renews); left < 15*time.Hour || left > 17*time.Hour {
			t.Errorf("the next renewal is in %v of a life of 24h", left)
		}
		for range 90 { // hours
			time.Sleep(time.Hour)
			if _, err := shake(t, k, trusting(poolOf(rootOf(t, dir)), "a.mcp.test")); err != nil {
				t.Fatal(err)
			}
		}
		if got := k.Status()[0]; !got.NotAfter.After(first.NotAfter.Add(48 * time.Hour)) {
			t.Errorf("after 90 hours the certificate ends %v", got.NotAfter)
		}
	})
}

func TestWhatTheListenerOffers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := open(t, Options{Config: Config{Mode: ModeInternal}, Dir: dir, Domain: "mcp.test"})
	base := trusting(poolOf(rootOf(t, dir)), "mcp.test")
	for name, c := range map[string]struct {
		change func(*tls.Config)
		ok     bool
	}{
		"TLS 1.2 with AEAD": {func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, true},
		"TLS 1.1":           {func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, false},
		"TLS 1.2 with CBC": {func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		}, false},
	} {
		conf := base.Clone()
		c.change(conf)
		if _, err := shake(t, k, conf); (err == nil) != c.ok {
			t.Errorf("%s: %v, want it to work: %v", name, err, c.ok)
		}
	}
	conf := base.Clone()
	conf.NextProtos = []string{"http/1.1", "h2"}
	if st, err := shake(t, k, conf); err != nil || st.NegotiatedProtocol != "h2" {
		t.Errorf("of h2 and http/1.1 %q was taken: %v", st.NegotiatedProtocol, err)
	}
}

// The same tls.Config is asked twice: a client that comes back resumes.
func TestSessionsAreResumed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := open(t, Options{Config: Config{Mode: ModeInternal}, Dir: dir, Domain: "mcp.test"})
	l, err := tls.Listen("tcp", "127.0.0.1:0", k.TLSConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // ends when l is closed
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("hello"))
			_ = conn.Close()
		}
	}()
	conf := trusting(poolOf(rootOf(t, dir)), "mcp.test")
	conf.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for i, want := range []bool{false, true} {
		conn, err := tls.Dial("tcp", l.Addr().String(), conf)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Read(make([]byte, 5))
		if got := conn.ConnectionState().DidResume; got != want {
			t.Errorf("connection %d resumed: %v", i+1, got)
		}
		_ = conn.Close()
	}
}

func TestModeOffIsNil(t *testing.T) {
	t.Parallel()
	k, err := Open(context.Background(), Options{Config: DefaultConfig(), Domain: "localhost"})
	if k != nil || err != nil {
		t.Fatalf("%v %v", k, err)
	}
	if k.TLSConfig() != nil || k.Status() != nil || k.Manage(context.Background()) != nil {
		t.Error("a nil Keeper does something")
	}
	k.Close()
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	c := Config{Mode: "lets-encrypt", Files: []Pair{{Cert: "a.pem", Key: "/b.key"}}, Internal: InternalConfig{Life: time.Second}}
	err := c.Validate()
	for _, want := range []string{`mode: "lets-encrypt" must be one of auto, `, `files[0].cert: "a.pem" must be an absolute path`, "internal.life: 1s must be between 1h and 397d"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}
