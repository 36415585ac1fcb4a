//go:build !race

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// environ is what a client needs to find the hosts of the domain on this machine, and to trust their certificates: a proxy, and
// the root. The browser trusts whatever the root's chains go through.
func (s *secureDoor) environ(t testing.TB) []string {
	t.Helper()
	at := connectProxy(t, s.addr)
	c, err := s.dial("auth.mcp.test", "http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var keys []string
	for _, cert := range c.(*tls.Conn).ConnectionState().PeerCertificates {
		sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
		keys = append(keys, base64.StdEncoding.EncodeToString(sum[:]))
	}
	root := s.path("root.pem")
	return []string{
		"HTTPS_PROXY=" + at, "https_proxy=" + at, "NO_PROXY=127.0.0.1,localhost", "no_proxy=127.0.0.1,localhost", "NODE_USE_ENV_PROXY=1",
		"NODE_EXTRA_CA_CERTS=" + root, "SSL_CERT_FILE=" + root, "MCPD_TEST_PROXY=" + at, "MCPD_TEST_KEYS=" + strings.Join(keys, ","),
	}
}

// connectProxy is an HTTP proxy that leads to one address, whatever host below .test is asked for.
func connectProxy(t testing.TB, addr string) string {
	var tunnels sync.WaitGroup
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if r.Method != http.MethodConnect || err != nil || !strings.HasSuffix(host, ".test") {
			http.Error(w, "not here", http.StatusForbidden)
			return
		}
		to, err := net.Dial("tcp", addr)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		from, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			_ = to.Close()
			return
		}
		_, _ = io.WriteString(from, "HTTP/1.1 200 Connection established\r\n\r\n")
		tunnels.Go(func() { _, _ = io.Copy(to, buffered); _ = to.Close() }) // ends with the client's connection
		tunnels.Go(func() { _, _ = io.Copy(from, to); _ = from.Close() })   // ends with mcpd's
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// TestClientsOverTLS: clients that others wrote, each against a host of its own domain with a certificate of a private authority,
// sign in at another through the real pages in Chromium, and call a tool.
func TestClientsOverTLS(t *testing.T) {
	t.Parallel()
	foreign(t)
	need(t, "node", "chromium", "npm:playwright-core", "npm:@modelcontextprotocol/inspector", "npm:@modelcontextprotocol/sdk", "npm:@modelcontextprotocol/client", "npm:mcp-remote")
	s := startSecure(t, secureDemo+documentsOfAgents)
	more, target := s.environ(t), s.server("demo").URL
	inspector := npmFile("@modelcontextprotocol/inspector", "clients/launcher/build/index.js")
	sdk := filepath.Join(peersDir(), "sdk.mjs")
	for _, at := range []struct {
		name, want string
		command    []string
	}{
		{"inspector", "hi", []string{inspector, "--cli", target, "--transport", "http", "--protocol-era", "modern",
			"--method", "tools/call", "--tool-name", "echo", "--tool-arg", "text=hi", "--format", "json"}},
		{"sdk-v1-registered", "echo said hi", []string{sdk, "v1", target, "-"}},
		{"sdk-v2-auto-document", "echo said hi", []string{sdk, "v2", target, "auto", "https://claude.ai/oauth/claude-code-client-metadata"}},
	} {
		t.Run(at.name, func(t *testing.T) {
			environ, log := browserEnv(t, s.instance, at.name)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, nodeBinary(), at.command...)
			cmd.Env, cmd.Dir, cmd.WaitDelay = append(environ, more...), s.dir, 5*time.Second
			out, err := cmd.CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte(at.want)) {
				t.Fatalf("%v, want %q\n%s\nbrowser:\n%s", err, at.want, out, readLog(log))
			}
			if l := trail(t, log); strings.Contains(l, "console:") {
				t.Errorf("the browser says:\n%s", l)
			}
		})
	}
	t.Run("inspector-web", func(t *testing.T) { // which opens no browser: it is in one
		environ, _ := browserEnv(t, s.instance, "inspector-web")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, nodeBinary(), filepath.Join(peersDir(), "inspector.mjs"), inspector, target)
		cmd.Env, cmd.Dir, cmd.WaitDelay = append(environ, more...), s.dir, 5*time.Second
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("signs in at auth.mcp.test\ncalled in the era modern\n")) {
			t.Errorf("%v\n%s", err, out)
		}
	})
	for _, protocol := range []string{"legacy", "auto"} {
		t.Run("remote-"+protocol, func(t *testing.T) {
			environ, log := browserEnv(t, s.instance, "remote-"+protocol)
			remote(t, s.instance, append(environ, more...), log, "text", "hi", target, "--protocol", protocol)
		})
	}
}
