package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// everythingConfig serves the real server-everything, started the way a user starts it: through npx. The package is in
// testdata/peers, and npx takes it from there without a network.
func everythingConfig() string {
	return fmt.Sprintf(`
[servers.everything]
command  = "npx"
args     = ["-y", "@modelcontextprotocol/server-everything"]
dir      = %q
sse      = true
timeouts = { start = "60s" }
`, peersDir())
}

// withNode puts the peers' Node first on PATH; npm and npx are the machine's.
func withNode() string {
	return "PATH=" + filepath.Dir(nodeBinary()) + string(os.PathListSeparator) + os.Getenv("PATH")
}

// everything starts mcpd with server-everything behind it and somebody who may sign in.
func everything(t *testing.T) *instance {
	t.Helper()
	foreign(t)
	need(t, "node", "npx", "npm:@modelcontextprotocol/server-everything")
	d := startDaemon(t, everythingConfig(), withNode())
	d.addUser()
	return d
}

// TestSDKClients: the official Go SDK's client, pinned to each protocol revision, calls a tool of a real npm server.
func TestSDKClients(t *testing.T) {
	t.Parallel()
	d := everything(t)
	target, token := d.url("everything"), d.token("everything")
	for _, version := range revisions() {
		t.Run(version, func(t *testing.T) {
			sdkEcho(t, target, token, version, "echo", map[string]any{"message": "hi " + version}, "Echo: hi "+version)
		})
	}
}

// TestSDKClientsOfDemo is the same with the server inside the binary: it needs nothing but Go.
func TestSDKClientsOfDemo(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, demoConfig+"sse = true\n")
	d.addUser()
	target, token := d.url("demo"), d.token("demo")
	for _, version := range revisions() {
		t.Run(version, func(t *testing.T) {
			sdkEcho(t, target, token, version, "echo", map[string]any{"text": "hi " + version}, "hi "+version)
		})
	}
}

// revisions are those of MCP that there are clients of.
func revisions() []string {
	return []string{"2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"}
}

func sdkEcho(t *testing.T, target, token, version, tool string, arguments any, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := sdkSession(ctx, target, token, version)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := s.InitializeResult().ProtocolVersion; got != version {
		t.Errorf("the session speaks %s, want %s", got, version)
	}
	tools, err := s.ListTools(ctx, nil)
	if err != nil || len(tools.Tools) == 0 {
		t.Fatalf("tools/list: %v, %+v", err, tools)
	}
	got, err := sdkCall(ctx, s, tool, arguments)
	if err != nil || got != want {
		t.Errorf("%s: %q, %v; want %q", tool, got, err, want)
	}
}

// TestSDKSignIn: the SDK's own OAuth client goes the whole way from a 401 to a tool call: metadata, registration (or a document of
// its own), authorization with PKCE, the sign-in and consent pages (submitted as a browser without scripts does), code, token. It
// does so on one origin of this computer, and at hosts of a domain with certificates of a private authority.
func TestSDKSignIn(t *testing.T) {
	t.Parallel()
	const callback = "http://localhost:3142/callback" // never opened: the redirect is read, not followed
	registered := auth.AuthorizationCodeHandlerConfig{DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{
		ClientName: "sdk test", RedirectURIs: []string{callback}, GrantTypes: []string{"authorization_code", "refresh_token"},
	}}}
	documented := auth.AuthorizationCodeHandlerConfig{ClientIDMetadataDocumentConfig: &auth.ClientIDMetadataDocumentConfig{URL: "https://claude.ai/oauth/claude-code-client-metadata"}}
	plain := startDaemon(t, demoConfig)
	plain.addUser()
	secure := startSecure(t, secureDemo+documentsOfAgents)
	transport := secure.client(t).Transport
	for _, at := range []struct {
		name, target string
		transport    http.RoundTripper
		config       auth.AuthorizationCodeHandlerConfig
	}{
		{"registered", plain.url("demo"), http.DefaultTransport, registered},
		{"registered-over-tls", secure.server("demo").URL, transport, registered},
		{"document-over-tls", secure.server("demo").URL, transport, documented},
	} {
		t.Run(at.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			person := &person{t: t, name: plain.user, password: testPassword, transport: at.transport}
			at.config.RedirectURL, at.config.Client = callback, &http.Client{Transport: at.transport}
			at.config.AuthorizationCodeFetcher = func(ctx context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
				back, err := person.authorize(ctx, args.URL, callback)
				if err != nil {
					return nil, err
				}
				q := back.Query()
				return &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}, nil
			}
			h, err := auth.NewAuthorizationCodeHandler(&at.config)
			if err != nil {
				t.Fatal(err)
			}
			client := mcp.NewClient(&mcp.Implementation{Name: "sdk", Version: "1"}, nil)
			s, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: at.target, HTTPClient: at.config.Client, OAuthHandler: h, DisableStandaloneSSE: true}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if got, err := sdkCall(ctx, s, "echo", map[string]any{"text": "signed in"}); err != nil || got != "signed in" {
				t.Errorf("echo: %q, %v", got, err)
			}
			if person.pages < 2 {
				t.Errorf("the person saw %d pages, want the sign-in and the consent page", person.pages)
			}
		})
	}
}

// person fills in the issuer's pages over plain HTTP: what works here works without scripts.
type person struct {
	t              testing.TB
	name, password string
	transport      http.RoundTripper
	pages          int
}

var (
	formTag  = regexp.MustCompile(`(?is)<form\b([^>]*)>(.*?)</form>`)
	inputTag = regexp.MustCompile(`(?is)<(?:input|button)\b([^>]*)>`)
	attr     = regexp.MustCompile(`(?is)([a-z-]+)\s*=\s*"([^"]*)"`)
)

func attrs(tag string) map[string]string {
	m := map[string]string{}
	for _, a := range attr.FindAllStringSubmatch(tag, -1) {
		m[strings.ToLower(a[1])] = unescape.Replace(a[2])
	}
	return m
}

var unescape = strings.NewReplacer("&amp;", "&", "&#34;", `"`, "&#39;", "'", "&#43;", "+", "&lt;", "<", "&gt;", ">", "&quot;", `"`)

var errCallback = errors.New("at the client's callback")

// authorize opens the URL and answers page after page until the issuer redirects to the client.
func (p *person) authorize(ctx context.Context, open, callback string) (*url.URL, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	var back *url.URL
	browser := &http.Client{Jar: jar, Transport: p.transport, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), callback) {
			back = r.URL
			return errCallback
		}
		return nil
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, open, nil)
	if err != nil {
		return nil, err
	}
	for range 6 {
		resp, err := browser.Do(req)
		if back != nil {
			return back, nil
		}
		if err != nil {
			return nil, err
		}
		page, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s: %s: %s", resp.Request.URL.Path, resp.Status, page)
		}
		p.pages++
		if req, err = p.fill(ctx, resp.Request.URL, string(page)); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("still not at the client's callback after six pages")
}

// fill answers the form of a page: signs in, or allows.
func (p *person) fill(ctx context.Context, at *url.URL, page string) (*http.Request, error) {
	for _, f := range formTag.FindAllStringSubmatch(page, -1) {
		form, values, found := attrs(f[1]), url.Values{}, false
		for _, in := range inputTag.FindAllStringSubmatch(f[2], -1) {
			a := attrs(in[1])
			switch {
			case a["id"] == "username":
				a["value"] = p.name
			case a["id"] == "password":
				a["value"] = p.password
			case a["id"] == "signin" || a["id"] == "allow":
				found = true
			case a["type"] == "submit" || a["type"] == "checkbox" || a["id"] == "deny" || strings.HasPrefix(strings.ToLower(in[0]), "<button"):
				continue
			}
			if a["name"] != "" {
				values.Set(a["name"], a["value"])
			}
		}
		if !found {
			continue
		}
		target, err := at.Parse(form["action"])
		if err != nil {
			return nil, err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(values.Encode()))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", at.Scheme+"://"+at.Host)
		req.Header.Set("Sec-Fetch-Site", "same-origin")
		return req, nil
	}
	return nil, fmt.Errorf("%s has no form with #signin or #allow:\n%s", at.Path, page)
}

// browserEnv writes a command that opens a URL the way a person does (testdata/peers/browser.mjs), under both
// names that clients look for, and returns the environment that leads them to it.
func browserEnv(t *testing.T, d *instance, name string) (environ []string, log string) {
	t.Helper()
	dir := filepath.Join(d.dir, name)
	log = filepath.Join(dir, "browser.log")
	for _, sub := range []string{"", "home", "browser-home"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// The browser gets a home of its own: a client hands on whatever it was given.
	script := fmt.Sprintf("#!/bin/sh\nexport HOME=%q\nunset NODE_OPTIONS NODE_EXTRA_CA_CERTS\nexec %q %q \"$1\" >>%q 2>&1\n",
		filepath.Join(dir, "browser-home"), nodeBinary(), filepath.Join(peersDir(), "browser.mjs"), log)
	for _, file := range []string{"browser.sh", "xdg-open"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	path := dir + string(os.PathListSeparator) + filepath.Dir(nodeBinary()) + string(os.PathListSeparator) + os.Getenv("PATH")
	chrome, err := exec.LookPath(chromium)
	if err != nil {
		t.Fatal(err)
	}
	return []string{"PATH=" + path, "HOME=" + filepath.Join(dir, "home"), "TMPDIR=" + d.path("tmp"), "LANG=C.UTF-8",
		"BROWSER=" + filepath.Join(dir, "browser.sh"), "MCPD_TEST_CHROMIUM=" + chrome,
		"MCPD_TEST_USER=" + d.user, "MCPD_TEST_PASSWORD=" + testPassword,
		"MCP_AUTO_OPEN_ENABLED=true", "MCP_INSPECTOR_SECRET_STORE=file", "MCP_REMOTE_CONFIG_DIR=" + filepath.Join(dir, "home", ".mcp-auth"),
		"MCP_OAUTH_CALLBACK_URL=http://" + freeAddress(t) + "/oauth/callback"}, log
}

// freeAddress is a loopback address that nobody listened on a moment ago, for a client that wants to be told its port.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func readLog(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// trail waits for what the browser writes at its end: a client that has its code does not wait for it.
func trail(t *testing.T, file string) string {
	t.Helper()
	eventually(t, 30*time.Second, "the end of the browser", func() (bool, string) {
		l := readLog(file)
		return strings.Contains(l, "client page:"), l
	})
	return readLog(file)
}

// TestInspector: the MCP Inspector's command line signs in through the real pages in Chromium and calls a tool, as it does when
// nobody tells it a protocol. The other one is in TestClientsOverTLS.
func TestInspector(t *testing.T) {
	t.Parallel()
	need(t, "node", "chromium", "npm:@modelcontextprotocol/inspector", "npm:playwright-core")
	d := everything(t)
	environ, log := browserEnv(t, d, "inspector")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, nodeBinary(), npmFile("@modelcontextprotocol/inspector", "clients/launcher/build/index.js"),
		"--cli", d.url("everything"), "--transport", "http", "--method", "tools/call", "--tool-name", "echo", "--tool-arg", "message=hi", "--format", "json")
	cmd.Env, cmd.Dir, cmd.WaitDelay = environ, d.dir, 5*time.Second
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("Echo: hi")) {
		t.Fatalf("inspector: %v\n%s\nbrowser:\n%s", err, out, readLog(log))
	}
	if l := trail(t, log); strings.Contains(l, "console:") {
		t.Errorf("the browser says:\n%s", l)
	}
}

// TestRemote: mcp-remote, a stdio server to its own client, signs in through the real pages and relays a tool call. Given the URL
// of HTTP+SSE it signs in for that, tries the newer transport first, and falls back. The newer one is in TestClientsOverTLS.
func TestRemote(t *testing.T) {
	t.Parallel()
	need(t, "node", "chromium", "npm:mcp-remote", "npm:playwright-core")
	d := everything(t)
	environ, log := browserEnv(t, d, "remote-sse")
	target := sseURL(d.url("everything"))
	remote(t, d, environ, log, "message", "Echo: hi", target)
	remote(t, d, environ, log, "message", "Echo: hi", target, "--transport", "sse-only") // with the token of before
}

func remote(t *testing.T, d *instance, environ []string, log, argument, want string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, nodeBinary(), append([]string{npmFile("mcp-remote", "dist/proxy.js")}, args...)...)
	cmd.Env, cmd.Dir, cmd.WaitDelay = environ, d.dir, 5*time.Second
	stderr := &lockedBuffer{}
	cmd.Stderr = stderr
	client := mcp.NewClient(&mcp.Implementation{Name: "local", Version: "1"}, nil)
	s, err := client.Connect(ctx, &mcp.CommandTransport{Command: cmd}, &mcp.ClientSessionOptions{ProtocolVersion: "2025-11-25"})
	if err != nil {
		t.Fatalf("connect: %v\n%s\nbrowser:\n%s", err, stderr, readLog(log))
	}
	defer s.Close()
	if got, err := sdkCall(ctx, s, "echo", map[string]any{argument: "hi"}); err != nil || got != want {
		t.Fatalf("echo: %q, %v\n%s\nbrowser:\n%s", got, err, stderr, readLog(log))
	}
	if l := trail(t, log); strings.Contains(l, "console:") {
		t.Errorf("the browser says:\n%s", l)
	}
}

// TestStatusNames holds the promise of `status --json`: members are never renamed.
func TestStatusNames(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, demoConfig)
	d.addUser()
	d.must("call", "--user", d.user, "demo", "echo", `{"text":"hi"}`)
	var st struct {
		Listen, Issuer any
		Orphans        *int
		Servers        []map[string]any
	}
	if err := json.Unmarshal([]byte(d.must("status", "--json")), &st); err != nil {
		t.Fatal(err)
	}
	if st.Listen == nil || st.Issuer == nil || st.Orphans == nil || *st.Orphans != 0 || len(st.Servers) != 1 {
		t.Fatalf("status: %+v", st)
	}
	for _, name := range []string{"name", "state", "since", "restarts", "url", "workers"} {
		if _, ok := st.Servers[0][name]; !ok {
			t.Errorf("servers[].%s is missing in %v", name, st.Servers[0])
		}
	}
	workers, _ := st.Servers[0]["workers"].([]any)
	if len(workers) != 1 {
		t.Fatalf("workers: %v, want one", st.Servers[0]["workers"])
	}
	w, _ := workers[0].(map[string]any)
	for _, name := range []string{"pid", "state", "key", "calls"} {
		if _, ok := w[name]; !ok {
			t.Errorf("servers[].workers[].%s is missing in %v", name, w)
		}
	}
}

// documentsOfAgents are what Claude Code and Codex publish about themselves: the tests have no Internet.
const documentsOfAgents = `
[auth.documents]
pinned = [
  '{"client_id":"https://claude.ai/oauth/claude-code-client-metadata","client_name":"Claude Code","redirect_uris":["http://localhost/callback","http://127.0.0.1/callback"],"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"none"}',
  '{"client_id":"https://chatgpt.com/oauth/codex/client.json","client_name":"Codex","redirect_uris":["http://127.0.0.1/callback","http://localhost/callback"],"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"none"}',
]
`
