package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// secureDoor is a daemon on a real domain: a host per server, TLS by the internal authority, and people signed in.
type secureDoor struct {
	*instance
	addr  string // of https
	plain string // of http
	roots *x509.CertPool
}

const secureDomain = "domain = \"mcp.test\"\n\n[tls]\nmode = \"internal\"\n\n[defaults]\nallow = [\"*\"]\n\n"

func startSecure(t testing.TB, servers string, environ ...string) *secureDoor {
	t.Helper()
	d := newInstance(t, secureDomain+servers, append([]string{"MCPD_LISTEN__HTTPS=127.0.0.1:0"}, environ...)...)
	d.start()
	d.addUser()
	return secured(t, d)
}

func secured(t testing.TB, d *instance) *secureDoor {
	t.Helper()
	s := &secureDoor{instance: d, roots: x509.NewCertPool()}
	st := d.status()
	s.addr, s.plain = st.Listen.HTTPS, st.Listen.HTTP
	root := d.must("trust")
	if !s.roots.AppendCertsFromPEM([]byte(root)) {
		t.Fatalf("mcpd trust printed no certificate: %q", root)
	}
	if err := os.WriteFile(d.path("root.pem"), []byte(root), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// dial opens a connection for a host, whatever it will be used for.
func (s *secureDoor) dial(sni string, protos ...string) (net.Conn, error) {
	dial := &net.Dialer{Timeout: 20 * time.Second}
	c, err := tls.DialWithDialer(dial, "tcp", s.addr, &tls.Config{ServerName: sni, RootCAs: s.roots, NextProtos: protos})
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Now().Add(30 * time.Second))
}

// client goes to the daemon for every name.
func (s *secureDoor) client(t testing.TB) *http.Client {
	tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: s.roots}, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var dial net.Dialer
		return dial.DialContext(ctx, network, s.addr)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

const secureDemo = "[servers.demo]\ncommand = \"mcpd\"\nargs = [\"demo-server\"]\n"

const initializeBody = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"https","version":"1"}}}`

// call posts an initialize and returns the answer's status and body.
func (s *secureDoor) call(c *http.Client, target, token string) (int, http.Header, string, error) {
	req, err := http.NewRequest(http.MethodPost, target, strings.NewReader(initializeBody))
	if err != nil {
		return 0, nil, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, res.Header, string(body), err
}

// Every host of a real domain, with its old and further names.
func TestHostsOfADomain(t *testing.T) {
	t.Parallel()
	s := startSecure(t, secureDemo+"hosts = [\"demo.test\", \"old.mcp.test\"]\n\n[servers.other]\ncommand = \"mcpd\"\nargs = [\"demo-server\"]\nsse = true\n")
	c := s.client(t)
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	token := s.token("demo")
	at := func(host, path string) string { return "https://" + host + ":" + port + path }
	for _, tt := range []struct {
		name, host, path, token string
		status                  int
		header, want            string // a header of the answer, and a part of it
	}{
		{"the server", "demo.mcp.test", "/mcp", token, 200, "Strict-Transport-Security", "max-age="},
		{"its root", "demo.mcp.test", "/", token, 200, "Mcp-Session-Id", ""},
		{"without a token", "demo.mcp.test", "/mcp", "", 401, "Www-Authenticate", `resource_metadata="` + at("demo.mcp.test", "/.well-known/oauth-protected-resource/mcp") + `"`},
		{"the root without", "demo.mcp.test", "/", "", 401, "Www-Authenticate", `resource_metadata="` + at("demo.mcp.test", "/.well-known/oauth-protected-resource") + `"`},
		{"another server", "other.mcp.test", "/mcp", token, 401, "Www-Authenticate", "invalid_token"},
		{"a further host is another resource", "old.mcp.test", "/mcp", token, 401, "Www-Authenticate", at("old.mcp.test", "/.well-known")},
		{"mcp-proxy's path", "mcp.test", "/servers/demo/mcp", "", 308, "Location", at("demo.mcp.test", "/mcp")},
		{"and of the older transport", "mcp.test", "/servers/other/sse", "", 308, "Location", at("other.mcp.test", "/sse")},
		{"which is not served everywhere", "mcp.test", "/servers/demo/sse", "", 404, "Content-Type", "text/plain"},
		{"of no server", "mcp.test", "/servers/none/mcp", "", 404, "Content-Type", "text/plain"},
		{"the old issuer at every host", "demo.mcp.test", "/.idp/token?x=1", "", 308, "Location", at("auth.mcp.test", "/token?x=1")},
		{"its login pages", "demo.mcp.test", "/.auth/google/callback?code=c", "", 410, "Content-Type", "text/plain"},
		{"a host that is not ours", "stranger.mcp.test", "/mcp", token, 421, "Content-Type", "text/plain"},
	} {
		status, header, body, err := s.call(c, at(tt.host, tt.path), tt.token)
		if tt.status == 421 && err != nil {
			continue // refused in the handshake already
		}
		if err != nil || status != tt.status || header.Get(tt.header) == "" || !strings.Contains(header.Get(tt.header), tt.want) {
			t.Errorf("%s: %d %v, %s is %q, want %d and %q\n%s", tt.name, status, err, tt.header, header.Get(tt.header), tt.status, tt.want, body)
		}
	}
	if strings.Contains(fmt.Sprint(s.status().Certificates), "stranger") {
		t.Errorf("a certificate for a stranger: %+v", s.status().Certificates)
	}
	res, err := c.Get(at("mcp.test", "/"))
	if err != nil {
		t.Fatal(err)
	}
	page, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if res.StatusCode != 200 || !strings.Contains(string(page), "https://NAME.mcp.test") || strings.Contains(string(page), "demo") {
		t.Errorf("the apex: %d\n%s", res.StatusCode, page)
	}
	for host, status := range map[string]int{"demo.mcp.test": 308, "demo.test": 308, "evil.test": 421} {
		if got := rawStatus(t, s.plain, nil, "POST /mcp HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"); got != status {
			t.Errorf("plain HTTP for %s: %d, want %d", host, got, status)
		}
	}
	line := regexp.MustCompile(`\{[^\n]*"host":"demo\.mcp\.test"[^\n]*"rpc_method":"initialize"[^\n]*`)
	eventually(t, 10*time.Second, "an access record", func() (bool, string) { return line.MatchString(s.log.String()), "" })
	for _, key := range []string{`"server":"demo"`, `"principal":`, `"user":"tester"`, `"status":200`, `"bytes":`, `"duration":`, `"request":`} {
		if got := line.FindString(s.log.String()); !strings.Contains(got, key) {
			t.Errorf("no %s in %s", key, got)
		}
	}
	if log := s.log.String(); strings.Contains(log, token) || strings.Contains(log, "code=c") {
		t.Error("a token or a query is in the log")
	}
}

// rawStatus writes bytes to a new connection and returns the first answer's status; 0 where the connection was closed without one.
func rawStatus(t testing.TB, addr string, c net.Conn, raw string) int {
	t.Helper()
	statuses := rawStatuses(t, addr, c, raw)
	if len(statuses) == 0 {
		return 0
	}
	return statuses[0]
}

func rawStatuses(t testing.TB, addr string, c net.Conn, raw string) (all []int) {
	t.Helper()
	if c == nil {
		var err error
		if c, err = net.DialTimeout("tcp", addr, 20*time.Second); err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	}
	defer c.Close()
	if _, err := io.WriteString(c, raw); err != nil {
		return nil
	}
	r := bufio.NewReader(c)
	for {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return all
		}
		_, _ = io.Copy(io.Discard, res.Body)
		all = append(all, res.StatusCode)
		if res.Close {
			return all
		}
	}
}

// smuggling are requests that two programs on the way could read in two ways. mcpd must answer at most the first, refuse
// it where its length or its host is in doubt, and then close the connection: the second must never be seen as a request.
var smuggling = []struct {
	name, raw string
	want      string // statuses that are fine, in order of the answers
}{
	{"fine, and then close", "GET /mcp HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", "401"},
	{"fine, two in a row", "GET /mcp HTTP/1.1\r\nHost: HOST\r\n\r\nGET /mcp HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", "401 401"},
	{"two lengths", "POST /mcp HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nSMUGGLE", "400"},
	{"two lengths in one line", "POST /mcp HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5, 6\r\n\r\nSMUGGLE", "400"},
	{"a length with a sign", "POST /mcp HTTP/1.1\r\nHost: HOST\r\nContent-Length: +5\r\n\r\nSMUGGLE", "400"},
	{"a negative length", "POST /mcp HTTP/1.1\r\nHost: HOST\r\nContent-Length: -1\r\n\r\nSMUGGLE", "400"},
	{"a length in hexadecimal", "POST /mcp HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0x5\r\n\r\nSMUGGLE", "400"},
	{"a length that is too long", "POST /mcp HTTP/1.1\r\nHost: HOST\r\nContent-Length: 99999999999999999999\r\n\r\nSMUGGLE", "400"},
	{"unknown coding", "POST /mcp HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: xchunked\r\n\r\nSMUGGLE", "400|501"},
	{"two codings", "POST /mcp HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\nSMUGGLE", "400|501"},
	{"two lines of codings", "POST /mcp HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\nSMUGGLE", "400|501"},
	{"a tab before the coding's end", "POST /mcp HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\nSMUGGLE", "400|501"},
	{"a space before the colon", "POST /mcp HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\nSMUGGLE", "400"},
	{"a space before the name", "POST /mcp HTTP/1.1\r\nHost: HOST\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nSMUGGLE", "400"},
	{"a null byte in a value", "POST /mcp HTTP/1.1\r\nHost: HOST\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\nSMUGGLE", "400"},
	{"a name that is none", "POST /mcp HTTP/1.1\r\nHost: HOST\r\nX\x00Y: a\r\nContent-Length: 0\r\n\r\nSMUGGLE", "400"},
	{"a broken chunk size", "POST /mcp HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nSMUGGLE\r\n0\r\n\r\n", "400|401"},
	{"a chunk that is longer than it says", "POST /mcp HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nSMUGGLE\r\n0\r\n\r\n", "400|401"},
	{"a coding in HTTP/1.0", "POST /mcp HTTP/1.0\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nSMUGGLE", "400|401|501"},
	{"no host", "GET /mcp HTTP/1.1\r\nConnection: close\r\n\r\n", "400"},
	{"two hosts", "GET /mcp HTTP/1.1\r\nHost: HOST\r\nHost: evil.test\r\nConnection: close\r\n\r\n", "400"},
	{"the same host twice", "GET /mcp HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\nConnection: close\r\n\r\n", "400"},
	{"a host with a user", "GET /mcp HTTP/1.1\r\nHost: HOST@evil.test\r\nConnection: close\r\n\r\n", "400|421"},
	{"a host with a path", "GET /mcp HTTP/1.1\r\nHost: HOST/x\r\nConnection: close\r\n\r\n", "400|421"},
	{"a host with a comma", "GET /mcp HTTP/1.1\r\nHost: HOST, evil.test\r\nConnection: close\r\n\r\n", "400|421"},
	{"a foreign host", "GET /mcp HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n", "421"},
	{"another host of ours", "GET /mcp HTTP/1.1\r\nHost: OTHER\r\nConnection: close\r\n\r\n", "421"},
	{"the address as host", "GET /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", "421"},
	{"a foreign host in the target", "GET http://evil.test/mcp HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", "421"},
	{"our host in the target only", "GET https://HOST/mcp HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n", "401"},
	{"another host of ours in the target", "GET https://OTHER/mcp HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", "421"},
	{"a target without a slash", "GET mcp HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", "400"},
	{"CONNECT", "CONNECT evil.test:443 HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", "400|404|405|421"},
	{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", "400|404"},
	{"an unknown version", "GET /mcp HTTP/3.7\r\nHost: HOST\r\nConnection: close\r\n\r\n", "400|505"},
	{"no version", "GET /mcp\r\nHost: HOST\r\n\r\n", "400"},
	{"a method that is none", "GE\x00T /mcp HTTP/1.1\r\nHost: HOST\r\n\r\n", "400"},
	{"an upgrade to cleartext HTTP/2", "GET /mcp HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", "401"},
	{"HTTP/2 with knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400|404|421|505|none"},
	{"headers without end", "GET /mcp HTTP/1.1\r\nHost: HOST\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 80) + "\r\n", "431"},
	{"a chunked body of which one says another length", "POST /mcp HTTP/1.1\r\nHost: HOST\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: HOST\r\n\r\n", "400|401"},
	{"lines that end in a line feed alone", "GET /mcp HTTP/1.1\nHost: HOST\nConnection: close\n\n", "400|401"},
	{"a folded header", "GET /mcp HTTP/1.1\r\nHost: HOST\r\nX: a\r\n Content-Length: 7\r\nConnection: close\r\n\r\n", "400|401"},
}

// TestSmuggling writes each of them, over plain HTTP and over TLS, to a real daemon.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	s := startSecure(t, secureDemo)
	front := newInstance(t, strings.ReplaceAll(secureDomain, "internal", "off")+secureDemo)
	front.start()
	plain := front.status().Listen.HTTP
	for _, tt := range smuggling {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			raw := strings.NewReplacer("HOST", "demo.mcp.test", "OTHER", "auth.mcp.test").Replace(tt.raw)
			c, err := s.dial("demo.mcp.test", "http/1.1")
			if err != nil {
				t.Fatal(err)
			}
			check := func(way string, got []int) {
				if text := strings.Trim(fmt.Sprint(got), "[]"); !regexp.MustCompile("^(" + strings.ReplaceAll(tt.want, "none", "") + ")$").MatchString(text) {
					t.Errorf("over %s: %q, want %q", way, text, tt.want)
				}
			}
			check("TLS", rawStatuses(t, "", c, raw))
			if strings.HasPrefix(tt.name, "another host of ours") {
				return // there is no connection for a host without TLS
			}
			check("plain HTTP", rawStatuses(t, plain, nil, raw))
		})
	}
}

// A socket of https that the service manager holds stays open over a restart, as that of http does.
func TestRestartThroughThePassedTLSSocket(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := newInstance(t, secureDomain+secureDemo, "MCPD_LISTEN__HTTPS="+l.Addr().String(), "MCPD_LISTEN__HTTP=none")
	if d.socket, err = l.(*net.TCPListener).File(); err != nil {
		t.Fatal(err)
	}
	defer d.socket.Close()
	d.start()
	d.addUser()
	s := secured(t, d)
	if s.addr != l.Addr().String() {
		t.Fatalf("mcpd listens on %s, not on the socket that was passed", s.addr)
	}
	token, target := d.token("demo"), d.server("demo").URL
	c := s.client(t)
	c.Transport.(*http.Transport).DisableKeepAlives = true
	d.throughRestart(func() error {
		status, _, body, err := s.call(c, target, token)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%d: %s", status, body)
		}
		return err
	})
}
