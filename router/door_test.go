package router

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// wildcard is a certificate for mcp.example and all one label below it, as a real front door has.
func wildcard(t testing.TB) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"mcp.example", "*.mcp.example"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"h2", "http/1.1"}}, roots
}

// door is a house behind a real listener with TLS.
type door struct {
	*house
	l     *Listener
	roots *x509.CertPool
}

func newDoor(t testing.TB, adapt func(*Config, *Options)) *door {
	t.Helper()
	return newDoorOn(t, nil, adapt)
}

// newDoorOn takes sockets that are open already.
func newDoorOn(t testing.TB, passed []net.Listener, adapt func(*Config, *Options)) *door {
	t.Helper()
	c := DefaultConfig()
	c.HTTPS, c.HTTP = "127.0.0.1:0", "127.0.0.1:0"
	d := &door{}
	d.house = newHouse(t, "mcp.example", func(o *Options) {
		if adapt != nil {
			adapt(&c, o)
		}
		o.Proxies, o.Limits = c.TrustedProxies, c.Limits
	})
	config, roots := wildcard(t)
	d.roots = roots
	var err error
	if d.l, err = Listen(ListenOptions{Config: c, TLS: config, Handler: d, Passed: passed}); err != nil {
		t.Fatal(err)
	}
	d.l.HandlePlain(d.ToHTTPS())
	done := make(chan error, 1)
	go func() { done <- d.l.Serve(context.Background()) }() // ends with Shutdown
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = d.l.Shutdown(ctx)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d *door) tls(name string, protos ...string) *tls.Config {
	return &tls.Config{ServerName: name, RootCAs: d.roots, NextProtos: protos}
}

// client is one whose connections are all made for name, whatever it asks for over them.
func (d *door) client(t testing.TB, name string, h2 bool) *http.Client {
	protos := &http.Protocols{}
	protos.SetHTTP1(!h2)
	protos.SetHTTP2(h2)
	tr := &http.Transport{TLSClientConfig: d.tls(name), Protocols: protos, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var dial net.Dialer
		return dial.DialContext(ctx, network, d.l.Addr().String())
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// A request is answered only on a connection that was opened for its host, also where one certificate covers both.
func TestConnectionsAreForOneHost(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	hosts := []string{"a.mcp.example", "b.mcp.example", "auth.mcp.example", "stranger.mcp.example", "mcp.example"}
	for _, h2 := range []bool{false, true} {
		for _, sni := range hosts {
			c := d.client(t, sni, h2)
			for _, host := range append(hosts, "evil.example") {
				req, err := http.NewRequest(http.MethodGet, "https://"+host+"/", nil)
				if err != nil {
					t.Fatal(err)
				}
				res, err := c.Do(req)
				if err != nil {
					t.Fatalf("%s over %s: %v", host, sni, err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				want := http.StatusMisdirectedRequest
				if host == sni && (host[:2] == "a." || host[:2] == "b." || host[:5] == "auth.") {
					want = http.StatusOK
				}
				if res.StatusCode != want || (res.ProtoMajor == 2) != h2 {
					t.Errorf("HTTP/%d for %s over a connection for %s: %d, want %d", res.ProtoMajor, host, sni, res.StatusCode, want)
				}
				if got := res.Header.Get("Strict-Transport-Security"); (got != "") != (want == http.StatusOK) {
					t.Errorf("%s over %s: Strict-Transport-Security is %q", host, sni, got)
				}
			}
		}
	}
	for name, want := range map[string]bool{"A.MCP.example.": true, "": false, "127.0.0.1": false, "b.mcp.example": false} {
		if meant(name, "a.mcp.example") != want {
			t.Errorf("a connection for %q", name)
		}
	}
}

func TestPlainListenerOnlyRedirects(t *testing.T) {
	t.Parallel()
	for port, origin := range map[int]string{0: "https://a.mcp.example", 443: "https://a.mcp.example", 8443: "https://a.mcp.example:8443"} {
		h := newHouse(t, "mcp.example", func(o *Options) { o.Port = port })
		for _, tt := range []struct {
			method, url, host string
			status            int
			to                string
		}{
			{"POST", "/mcp", "a.mcp.example", 308, "/mcp"},
			{"GET", "/x%2Fy?q=%0d%0aSet-Cookie:+a", "A.mcp.example:80", 308, "/x%2Fy?q=%0d%0aSet-Cookie:+a"},
			{"GET", "//evil.example/", "a.mcp.example", 308, "//evil.example/"},
			{"GET", "/", "evil.example", 421, ""},
			{"GET", "/", "nosuch.mcp.example", 421, ""},
			{"GET", "/", "127.0.0.1", 421, ""},
			{"GET", "/", "a.mcp.example@evil.example", 421, ""},
		} {
			res := askPlain(h, tt.method, tt.url, tt.host)
			want := ""
			if tt.to != "" {
				want = origin + tt.to
			}
			if res.StatusCode != tt.status || res.Header.Get("Location") != want {
				t.Errorf("%s %s of %s: %d to %q, want %d to %q", tt.method, tt.url, tt.host, res.StatusCode, res.Header.Get("Location"), tt.status, want)
			}
			if res.Header.Get("Strict-Transport-Security") != "" {
				t.Error("Strict-Transport-Security over plain HTTP, which RFC 6797 §7.2 forbids")
			}
			if len(h.take()) != 0 {
				t.Error("a handler was asked over plain HTTP")
			}
		}
	}
}

func askPlain(h *house, method, target, host string) *http.Response {
	req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n")))
	if err != nil {
		return &http.Response{StatusCode: 400, Body: http.NoBody}
	}
	w := &blank{header: http.Header{}}
	h.ToHTTPS().ServeHTTP(w, req)
	return &http.Response{StatusCode: w.status, Header: w.header}
}

// blank is a response writer without a body.
type blank struct {
	header http.Header
	status int
}

func (r *blank) Header() http.Header { return r.header }
func (r *blank) WriteHeader(s int)   { r.status = s }
func (r *blank) Write(p []byte) (int, error) {
	r.status = max(r.status, 200)
	return len(p), nil
}

// from asks as a peer at an address.
func (h *house) from(addr, url string, headers ...string) *http.Response {
	req, err := http.NewRequest(http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil
	}
	req.RemoteAddr = addr
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	w := &blank{header: http.Header{}}
	h.ServeHTTP(w, req)
	return &http.Response{StatusCode: w.status, Header: w.header, Body: http.NoBody}
}

func TestWhoTheClientIs(t *testing.T) {
	t.Parallel()
	const peer, inner = "10.0.0.1:4000", "10.9.9.9"
	tests := []struct {
		name, peer string
		headers    []string
		want       string // address; "" is a refusal
	}{
		{"no proxy", "192.0.2.7:99", nil, "192.0.2.7:99"},
		{"a stranger's word is nothing", "192.0.2.7:99", []string{"X-Forwarded-For: 198.51.100.1", "Forwarded: for=198.51.100.2"}, "192.0.2.7:99"},
		{"one proxy", peer, []string{"X-Forwarded-For: 198.51.100.1"}, "198.51.100.1:0"},
		{"with a port", peer, []string{"X-Forwarded-For: 198.51.100.1:1234"}, "198.51.100.1:0"},
		{"IPv6", peer, []string{`Forwarded: for="[2001:db8::7]:47011";proto=https`}, "[2001:db8::7]:0"},
		{"what the client wrote is left of it", peer, []string{"X-Forwarded-For: 127.0.0.1, 203.0.113.9, 198.51.100.1"}, "198.51.100.1:0"},
		{"in a line of its own", peer, []string{"X-Forwarded-For: 127.0.0.1", "X-Forwarded-For: 198.51.100.1"}, "198.51.100.1:0"},
		{"two proxies", peer, []string{"X-Forwarded-For: 203.0.113.9, 198.51.100.1, " + inner}, "198.51.100.1:0"},
		{"a client that says to be a proxy", peer, []string{"X-Forwarded-For: 198.51.100.66, " + inner + ", 198.51.100.1"}, "198.51.100.1:0"},
		{"no address where one should be", peer, []string{"X-Forwarded-For: 198.51.100.1, unknown"}, peer},
		{"and behind a second proxy", peer, []string{"X-Forwarded-For: 198.51.100.1, _hidden, " + inner}, inner + ":0"},
		{"nothing at all", peer, []string{"X-Forwarded-For: "}, peer},
		{"both headers, in step", peer, []string{"X-Forwarded-For: 198.51.100.1", "Forwarded: for=198.51.100.1"}, "198.51.100.1:0"},
		{"the header that the proxy does not write", peer, []string{"X-Forwarded-For: 127.0.0.1", "Forwarded: for=198.51.100.1"}, ""},
		{"the other way round", peer, []string{"X-Forwarded-For: 198.51.100.1", "Forwarded: for=127.0.0.1"}, ""},
		{"a zone is not part of an address", peer, []string{"X-Forwarded-For: fe80::1%eth0"}, "[fe80::1]:0"},
		{"a long chain ends", peer, []string{"X-Forwarded-For: 198.51.100.1" + strings.Repeat(", "+inner, 1000)}, inner + ":0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, "mcp.example", func(o *Options) { o.Proxies = []string{"10.0.0.0/8"} })
			res := h.from(tt.peer, "https://a.mcp.example/", tt.headers...)
			if tt.want == "" {
				if res.StatusCode != http.StatusBadRequest {
					t.Errorf("answered with %d", res.StatusCode)
				}
				return
			}
			if got := h.last(t).Addr; got != tt.want || res.StatusCode != 200 {
				t.Errorf("the client is %s, want %s (%d)", got, tt.want, res.StatusCode)
			}
		})
	}
}

// Behind a proxy that does TLS, its word on the scheme decides; a stranger's does not.
func TestSchemeBehindAProxy(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "mcp.example", func(o *Options) { o.Proxies = []string{"10.0.0.1"} })
	for _, tt := range []struct {
		peer, header string
		status       int
		hsts         bool
	}{
		{"10.0.0.1:1", "X-Forwarded-Proto: https", 200, true},
		{"10.0.0.1:1", "X-Forwarded-Proto: http", 308, false},
		{"10.0.0.1:1", "Forwarded: for=192.0.2.1;proto=http", 308, false},
		{"10.0.0.1:1", "X-Forwarded-Proto: https, http", 308, false},
		{"10.0.0.1:1", "Accept: */*", 200, false},
		{"10.0.0.2:1", "X-Forwarded-Proto: http", 200, false},
		{"10.0.0.2:1", "X-Forwarded-Proto: https", 200, false},
	} {
		res := h.from(tt.peer, "http://a.mcp.example/", tt.header)
		if res.StatusCode != tt.status || (res.Header.Get("Strict-Transport-Security") != "") != tt.hsts {
			t.Errorf("%s from %s: %d %v", tt.header, tt.peer, res.StatusCode, res.Header)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "mcp.example", func(o *Options) { o.Limits = Limits{Rate: 3, UserRate: 2} })
	ask := func(addr string, headers ...string) int {
		return h.from(addr, "https://a.mcp.example/mcp", headers...).StatusCode
	}
	for range 3 {
		if got := ask("192.0.2.1:1"); got != 401 {
			t.Fatalf("within the limit: %d", got)
		}
	}
	res := h.from("192.0.2.1:2", "https://a.mcp.example/mcp")
	for range 1000 { // a slow machine gives some back meanwhile
		if res.StatusCode == 429 {
			break
		}
		res = h.from("192.0.2.1:2", "https://a.mcp.example/mcp")
	}
	if res.StatusCode != 429 || res.Header.Get("Retry-After") != "1" {
		t.Errorf("above the limit: %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
	}
	if h.last(t).Status != 429 {
		t.Error("no record of it")
	}
	if got := ask("192.0.2.2:1"); got != 401 {
		t.Errorf("somebody else's limit: %d", got)
	}
	refused := false
	for i := range 1000 { // one subscriber, many addresses
		if refused = ask(fmt.Sprintf("[2001:db8:1:1::%d]:1", i)) == 429; refused {
			break
		}
	}
	if !refused {
		t.Error("the addresses of a /64 have a limit each")
	}
	if got := ask("[2001:db8:1:2::9]:1"); got != 401 {
		t.Errorf("the next /64: %d", got)
	}
	for range 20 {
		if got := ask("127.0.0.1:1", "Authorization: Bearer good-a"); got != 200 {
			t.Fatalf("this machine's own clients: %d", got)
		}
	}
	for i, want := range []int{200, 200, 429} { // from everywhere together
		if got := ask(fmt.Sprintf("198.51.100.%d:1", i), "Authorization: Bearer good-a"); got != want {
			t.Errorf("call %d of one person: %d, want %d", i, got, want)
		}
	}
}

func TestRequestsAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "mcp.example", func(o *Options) { o.Limits = Limits{Requests: 2} })
	entered, leave := make(chan bool), make(chan bool)
	table, err := NewTable([]Route{{Host: "slow.mcp.example", Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		entered <- true
		<-leave
	})}})
	if err != nil {
		t.Fatal(err)
	}
	h.Swap(table)
	ended := make(chan bool, 2)
	for range 2 {
		go func() { // ends with leave
			h.from("192.0.2.1:1", "https://slow.mcp.example/")
			ended <- true
		}()
		<-entered
	}
	if got := h.from("192.0.2.1:3", "https://slow.mcp.example/").StatusCode; got != 429 {
		t.Errorf("a third at once: %d", got)
	}
	close(leave)
	<-ended
	<-ended
	go func() { <-entered }() // ends with the request below
	if got := h.from("192.0.2.1:3", "https://slow.mcp.example/").StatusCode; got != 0 {
		t.Errorf("after they ended: %d", got)
	}
}

func TestTallyIsBounded(t *testing.T) {
	t.Parallel()
	ta := newTally[int](0, 5)
	ta.keep = 4
	now := time.Now()
	for i := range 100_000 {
		ta.enter(i, now)
	}
	total := 0
	for i := range ta.part {
		total += len(ta.part[i].keys)
	}
	if total > 4*len(ta.part) {
		t.Errorf("%d keys are remembered", total)
	}
	open := newTally[int](1, 0)
	open.keep = 4
	for i := range 1000 {
		open.enter(i, now)
	}
	if _, ok := open.enter(7, now); ok {
		t.Error("what is open was forgotten")
	}
	for i := range 1000 {
		open.leave(i)
	}
	for i := range open.part {
		if len(open.part[i].keys) != 0 {
			t.Error("what ended is remembered")
		}
	}
	var off *tally[int]
	if _, ok := off.enter(1, now); !ok {
		t.Error("no limit refuses")
	}
}

// guestList is a net.Listener whose connections come from wherever a test says.
type guestList struct {
	pipes
}

type pretender struct {
	net.Conn
	addr net.Addr
}

func (p *pretender) RemoteAddr() net.Addr { return p.addr }

func TestConnectionsPerAddress(t *testing.T) {
	t.Parallel()
	p := &guestList{pipes{make(chan net.Conn, 8), make(chan struct{})}}
	c := DefaultConfig()
	c.TrustedProxies = []string{"10.0.0.0/8"}
	l := behindDoor(c, []net.Listener{p}, newTally[netip.Addr](1, 0), nil, nil)[0]
	come := func(ip string) net.Conn {
		client, server := net.Pipe()
		p.conns <- &pretender{server, net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 1))}
		return client
	}
	accept := func() net.Conn {
		t.Helper()
		got, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	come("192.0.2.1")
	first := accept()
	second := come("192.0.2.1")
	for range 2 {
		come("127.0.0.1") // this machine
		come("10.1.1.1")  // the proxy
	}
	for range 4 {
		accept()
	}
	if _, err := second.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("one connection too many: %v", err)
	}
	_ = first.Close()
	_ = first.Close() // counted once
	come("192.0.2.1")
	accept()
}

// When all addresses together have had their share, new ones are closed until somebody leaves; this machine and the
// proxy come in all the same, and nobody fills the log.
func TestConnectionsInAll(t *testing.T) {
	t.Parallel()
	p := &guestList{pipes{make(chan net.Conn, 8), make(chan struct{})}}
	c := DefaultConfig()
	c.TrustedProxies = []string{"10.0.0.0/8"}
	core, logged := observer.New(zap.WarnLevel)
	l := behindDoor(c, []net.Listener{p}, newTally[netip.Addr](2, 0), nil, newCrowd(3, zap.New(core)))[0]
	come := func(ip string) net.Conn {
		client, server := net.Pipe()
		p.conns <- &pretender{server, net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 1))}
		return client
	}
	accept := func(from string) net.Conn {
		t.Helper()
		got, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if at := addrOf(got); at.String() != from {
			t.Errorf("%v came in, want %s", at, from)
		}
		return got
	}
	shut := func(c net.Conn) {
		t.Helper()
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("one connection too many: %v", err)
		}
	}
	for _, ip := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
		come(ip)
	}
	first := accept("192.0.2.1")
	accept("192.0.2.2")
	accept("192.0.2.3")
	var late []net.Conn
	for _, ip := range []string{"192.0.2.1", "192.0.2.4", "192.0.2.4", "192.0.2.4"} {
		late = append(late, come(ip))
	}
	come("127.0.0.1")
	come("10.1.1.1")
	accept("127.0.0.1")
	accept("10.1.1.1")
	for _, c := range late {
		shut(c)
	}
	if n := logged.Len(); n != 1 || logged.All()[0].ContextMap()["setting"] != "listen.limits.total" {
		t.Errorf("%d lines in the log, want 1: %v", n, logged.All())
	}
	_ = first.Close()
	come("192.0.2.4") // those that were turned away count for nothing
	accept("192.0.2.4")
	c5 := come("192.0.2.5")
	come("127.0.0.1")
	accept("127.0.0.1")
	shut(c5)
}

// The PROXY protocol is demanded, and from trusted proxies only.
func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	for _, trusted := range []bool{true, false} {
		d := newDoor(t, func(c *Config, _ *Options) {
			c.ProxyProtocol, c.TrustedProxies = true, []string{"127.0.0.1"}
			if !trusted {
				c.TrustedProxies = []string{"10.0.0.0/8"}
			}
		})
		client := &net.TCPAddr{IP: net.ParseIP("192.0.2.55"), Port: 5555}
		v1, err := proxyproto.HeaderProxyFromAddrs(1, client, d.l.Addr()).Format()
		if err != nil {
			t.Fatal(err)
		}
		v2, err := proxyproto.HeaderProxyFromAddrs(2, client, d.l.Addr()).Format()
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			name, header, addr string // addr "": closed
		}{
			{"version 1", string(v1), "192.0.2.55:5555"},
			{"version 2", string(v2), "192.0.2.55:5555"},
			{"LOCAL: the proxy itself", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", "127.0.0.1"},
			{"none", "", ""},
			{"broken", "PROXY TCP4 192.0.2.55\r\n", ""},
			{"twice", string(v1) + string(v1), ""},
			{"too long", "PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n", ""},
		} {
			got, err := overProxy(t, d, tt.header)
			want := tt.addr
			if !trusted {
				want = ""
			}
			if want == "" && err == nil || want != "" && (err != nil || !strings.HasPrefix(got, want)) {
				t.Errorf("trusted %v, %s: the client is %q, %v, want %q", trusted, tt.name, got, err, want)
			}
		}
	}
}

// overProxy makes a request over TLS behind a PROXY header, and returns who the record says that it was.
func overProxy(t *testing.T, d *door, header string) (string, error) {
	t.Helper()
	raw, err := net.Dial("tcp", d.l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(raw, header); err != nil {
		return "", err
	}
	c := tls.Client(raw, d.tls("a.mcp.example", "http/1.1"))
	if err := c.Handshake(); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.mcp.example\r\nConnection: close\r\n\r\n"); err != nil {
		return "", err
	}
	if _, err := io.ReadAll(c); err != nil {
		return "", err
	}
	return d.last(t).Addr, nil
}

func TestTraceID(t *testing.T) {
	t.Parallel()
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	for header, want := range map[string]string{
		"00-" + id + "-00f067aa0ba902b7-01":                      id,
		"01-" + id + "-00f067aa0ba902b7-01-what-comes-later":     id,
		"00-" + id + "-00f067aa0ba902b7-01-x":                    "",
		"ff-" + id + "-00f067aa0ba902b7-01":                      "",
		"00-" + strings.ToUpper(id) + "-00f067aa0ba902b7-01":     "",
		"00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01": "",
		"00-" + id + "-0000000000000000-01":                      "",
		"00-" + id[:31] + "\n-00f067aa0ba902b7-01":               "",
		"": "",
		"00-" + id + "-00f067aa0ba902b7-01, 00-" + id + "-0-01": "",
	} {
		if got, parent, untraced := traceparent([]string{header}); got != want || (parent == "00f067aa0ba902b7") != (want != "") || untraced {
			t.Errorf("%q: %q", header, got)
		}
	}
	for _, lines := range [][]string{nil, {"00-" + id + "-00f067aa0ba902b7-01", "x"}} {
		if got, _, _ := traceparent(lines); got != "" {
			t.Errorf("%q: %q", lines, got)
		}
	}
	if _, _, untraced := traceparent([]string{"00-" + id + "-00f067aa0ba902b7-02"}); !untraced {
		t.Error("the flag sampled is not looked at")
	}
}

func TestFormerPaths(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "mcp.example")
	table, err := NewTable([]Route{{
		Name: "a", Host: "a.mcp.example", Resource: "https://a.mcp.example/mcp", Handler: http.NotFoundHandler(),
		Former: map[string]string{"/.idp/token": "https://auth.mcp.example/token", "/.idp/": "", "/.auth/": ""},
	}})
	if err != nil {
		t.Fatal(err)
	}
	h.Swap(table)
	for path, want := range map[string]struct {
		status int
		to     string
	}{
		"/.idp/token?a=b":              {308, "https://auth.mcp.example/token?a=b"},
		"/.idp/other/x":                {410, ""},
		"/.auth/google/callback?code=": {410, ""},
		"/.idp":                        {404, ""},
		"/elsewhere":                   {404, ""},
	} {
		res := h.ask("POST", "https://a.mcp.example"+path)
		if res.StatusCode != want.status || res.Header.Get("Location") != want.to {
			t.Errorf("%s: %d to %q", path, res.StatusCode, res.Header.Get("Location"))
		}
	}
}
