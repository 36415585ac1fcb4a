package cimd

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// site is a web server with certificates for example.com, reachable by this fetcher at 127.0.0.1.
type site struct {
	*httptest.Server
	hits atomic.Int64
}

func newSite(t *testing.T, address string, h http.HandlerFunc) *site {
	t.Helper()
	s := &site{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.hits.Add(1)
		h(w, r)
	}))
	if address != "" {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Skipf("cannot listen on %s here: %v", address, err)
		}
		_ = s.Listener.Close()
		s.Listener = l
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func newFetcher(t *testing.T, s *site, networks ...string) *Fetcher {
	t.Helper()
	var allowed []netip.Prefix
	for _, n := range networks {
		allowed = append(allowed, netip.MustParsePrefix(n))
	}
	roots := x509.NewCertPool()
	if s != nil {
		roots.AddCert(s.Certificate())
	}
	f, err := New(allowed, roots)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func serve(body func(id string) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body("https://"+r.Host+r.URL.Path))
	}
}

func document(id string) string {
	return fmt.Sprintf(`{"client_id":%q,"client_name":"App","redirect_uris":["http://localhost/callback"]}`, id)
}

func TestDocument(t *testing.T) {
	s := newSite(t, "", serve(document))
	f := newFetcher(t, s, "127.0.0.0/8")
	d, err := f.Document(t.Context(), s.URL+"/app")
	if err != nil || d.Name != "App" || d.AuthMethod != "none" || !d.Fresh.After(time.Now().Add(50*time.Minute)) {
		t.Fatalf("%+v %v", d, err)
	}
	keys, _, err := f.Keys(t.Context(), s.URL+"/keys")
	if err != nil || len(keys) == 0 {
		t.Fatal(err)
	}
}

// The server-side request forgery list: none of these gets an answer, and what the error says is nothing that was read.
func TestForgery(t *testing.T) {
	inside := newSite(t, "", serve(document))
	for name, h := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inside.URL+"/app", http.StatusFound) },
		"permanent redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, inside.URL+"/app", http.StatusPermanentRedirect)
		},
		"not found": func(w http.ResponseWriter, r *http.Request) { http.Error(w, "secret of the inside", 404) },
		"other 2xx": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNonAuthoritativeInfo) },
		"text": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, document("https://"+r.Host+r.URL.Path))
		},
		"oversize":    serve(func(id string) string { return document(id) + strings.Repeat(" ", maxDocument) }),
		"endless":     func(w http.ResponseWriter, r *http.Request) { endless(w) },
		"not JSON":    serve(func(string) string { return "secret of the inside" }),
		"another id":  serve(func(string) string { return document("https://example.com/other") }),
		"slow":        func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"slow body":   func(w http.ResponseWriter, r *http.Request) { slowly(w, r) },
		"big headers": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X", strings.Repeat("x", 64<<10)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "", h)
			f := newFetcher(t, s, "127.0.0.0/8")
			f.timeout = 200 * time.Millisecond
			if name == "redirect" || name == "oversize" {
				f.timeout = fetchTime // these are no matter of time
			}
			d, err := f.Document(t.Context(), s.URL+"/app")
			if err == nil {
				t.Fatalf("fetched %+v", d)
			}
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "127.0.0.1") {
				t.Errorf("the error tells what was there: %v", err)
			}
		})
	}
	t.Run("unknown certificate", func(t *testing.T) {
		if _, err := newFetcher(t, nil, "127.0.0.0/8").Document(t.Context(), inside.URL+"/app"); err == nil {
			t.Fatal("fetched")
		}
	})
	t.Run("loopback", func(t *testing.T) {
		f := newFetcher(t, inside)
		before := inside.hits.Load()
		port := inside.URL[strings.LastIndexByte(inside.URL, ':'):]
		for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f000001", "0.0.0.0", "[::]"} {
			if _, err := f.Document(t.Context(), "https://"+host+port+"/app"); err == nil {
				t.Errorf("%s was fetched", host)
			}
			if _, _, err := f.Keys(t.Context(), "https://"+host+port+"/keys"); err == nil {
				t.Errorf("keys of %s were fetched", host)
			}
		}
		if inside.hits.Load() != before {
			t.Error("a request came through")
		}
	})
}

func endless(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	for {
		if _, err := io.WriteString(w, strings.Repeat(" ", 4096)); err != nil {
			return
		}
	}
}

func slowly(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// resolver answers every name with the addresses of the moment, over a pipe.
func resolver(answers func() []netip.Addr) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go answerNames(there, answers) // ends when the other side closes
		return here, nil
	}}
}

func answerNames(c net.Conn, answers func() []netip.Addr) {
	defer c.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(query) != nil || len(m.Questions) != 1 {
			return
		}
		m.Response, m.Additionals = true, nil
		if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
			for _, a := range answers() {
				m.Answers = append(m.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: &dnsmessage.AResource{A: a.As4()},
				})
			}
		}
		b, err := m.Pack()
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
			return
		}
	}
}

// A name that leads outside when it is looked at and inside when it is used: what is checked is what is connected to.
func TestNameThatChanges(t *testing.T) {
	outside := newSite(t, "127.0.0.2:0", serve(document))
	port := outside.Listener.Addr().(*net.TCPAddr).Port
	inside := newSite(t, fmt.Sprintf("127.0.0.1:%d", port), serve(document))
	f := newFetcher(t, outside, "127.0.0.2/32")
	var lookups atomic.Int64
	f.dialer.Resolver = resolver(func() []netip.Addr {
		if lookups.Add(1) == 1 {
			return []netip.Addr{netip.MustParseAddr("127.0.0.2")}
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	})
	id := fmt.Sprintf("https://example.com:%d/app", port)
	if _, err := f.Document(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if d, err := f.Document(t.Context(), id); err == nil {
		t.Fatalf("from the inside: %+v", d)
	}
	f.dialer.Resolver = resolver(func() []netip.Addr {
		return []netip.Addr{netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")}
	})
	if _, err := f.Document(t.Context(), id); err != nil {
		t.Errorf("one of several addresses is good: %v", err)
	}
	if n := inside.hits.Load(); n != 0 {
		t.Errorf("%d requests came inside", n)
	}
}

// More at once than there are slots: the rest wait, and not for ever.
func TestManyFetches(t *testing.T) {
	release := make(chan struct{})
	s := newSite(t, "", func(w http.ResponseWriter, r *http.Request) {
		<-release
		serve(document)(w, r)
	})
	f := newFetcher(t, s, "127.0.0.0/8")
	errs := make(chan error)
	for range maxFetches {
		go func() { // ends with the fetch, which the test releases
			_, err := f.Document(t.Context(), s.URL+"/app")
			errs <- err
		}()
	}
	for len(f.slots) < maxFetches {
		if t.Context().Err() != nil {
			t.Fatal("the slots are never taken")
		}
		runtime.Gosched()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := f.Document(ctx, s.URL+"/app"); err == nil || !strings.Contains(err.Error(), "too many") {
		t.Errorf("one more: %v", err)
	}
	close(release)
	for range maxFetches {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestAddresses(t *testing.T) {
	g, err := newGuard(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range strings.Fields(`127.0.0.1 127.255.255.254 0.0.0.0 10.0.0.1 172.16.0.1 172.31.255.255 192.168.0.1 169.254.169.254 169.254.0.1
		100.64.0.1 100.100.100.200 192.0.0.192 198.18.0.1 192.0.2.1 203.0.113.9 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
		::1 :: fe80::1 fc00::1 fd00:ec2::254 fec0::1 ff02::1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe
		64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1::1 3fff::1 fe80::1%eth0`) {
		if g.public(netip.MustParseAddr(a)) {
			t.Errorf("%s counts as public", a)
		}
		if g.control("tcp", net.JoinHostPort(a, "443"), nil) == nil {
			t.Errorf("%s is connected to", a)
		}
	}
	for _, a := range strings.Fields("1.1.1.1 8.8.8.8 160.79.104.10 100.63.255.255 100.128.0.1 172.32.0.1 192.0.1.1 2606:4700::1111 2a00:1450::1 ::ffff:8.8.8.8") {
		if !g.public(netip.MustParseAddr(a)) {
			t.Errorf("%s does not count as public", a)
		}
	}
	if g.public(netip.Addr{}) || g.control("tcp", "localhost:443", nil) == nil {
		t.Error("what is no address is connected to")
	}
	if g, err = newGuard([]netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}); err != nil || !g.public(netip.MustParseAddr("10.1.2.3")) || g.public(netip.MustParseAddr("10.2.0.1")) {
		t.Error("the operator's networks", err)
	}
}

func TestFreshness(t *testing.T) {
	for _, c := range []struct {
		header []string
		want   time.Duration
	}{
		{nil, usualFresh},
		{[]string{"Cache-Control", "public, max-age=7200"}, 2 * time.Hour},
		{[]string{"Cache-Control", `MAX-AGE="7200"`, "Age", "3600"}, time.Hour},
		{[]string{"Cache-Control", "max-age=99999999"}, maxFresh},
		{[]string{"Cache-Control", "max-age=0"}, minFresh},
		{[]string{"Cache-Control", "max-age=-5"}, usualFresh},
		{[]string{"Cache-Control", "max-age=7200, no-store"}, minFresh},
		{[]string{"Cache-Control", "no-cache"}, minFresh},
		{[]string{"Date", "Mon, 02 Nov 2026 10:00:00 GMT", "Expires", "Mon, 02 Nov 2026 12:00:00 GMT"}, 2 * time.Hour},
		{[]string{"Date", "Mon, 02 Nov 2026 10:00:00 GMT", "Expires", "0"}, usualFresh},
		{[]string{"Age", "999999999"}, minFresh},
	} {
		h := http.Header{}
		for n := 0; n < len(c.header); n += 2 {
			h.Set(c.header[n], c.header[n+1])
		}
		if got := freshness(h); got != c.want {
			t.Errorf("%v: %v, want %v", c.header, got, c.want)
		}
	}
}
