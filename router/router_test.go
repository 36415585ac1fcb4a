package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// seen is what a handler was given.
type seen struct {
	Path, Auth, Query string
	Who               Principal
	Known             bool
}

// house is a Router with two servers, an issuer, and what happened in them.
type house struct {
	*Router
	mu      sync.Mutex
	calls   []seen
	records []AccessRecord
	logs    *observer.ObservedLogs
}

func (h *house) handler(w http.ResponseWriter, r *http.Request) {
	who, known := PrincipalOf(r.Context())
	h.mu.Lock()
	h.calls = append(h.calls, seen{r.URL.Path, r.Header.Get("Authorization"), r.URL.RawQuery, who, known})
	h.mu.Unlock()
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, "served "+r.URL.Path)
}

func (h *house) take() []seen {
	h.mu.Lock()
	defer h.mu.Unlock()
	calls := h.calls
	h.calls = nil
	return calls
}

func (h *house) last(t *testing.T) AccessRecord {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.records) == 0 {
		t.Fatal("no access record")
	}
	return h.records[len(h.records)-1]
}

// verifyFor knows the tokens "good-<server>", and a few that fail in known ways.
func verifyFor(ctx context.Context, token, resource string) (Principal, error) {
	who := Principal{ID: "usr_1", Name: "alice", Client: "inspector", Scopes: []string{"mcp"}}
	switch {
	case token == "good-a" && strings.Contains(resource, "a.") || token == "good-a" && strings.Contains(resource, "/a/"):
		return who, nil
	case token == "narrow":
		return who, fmt.Errorf("scope: %w", ErrInsufficientScope)
	case token == "other-scope":
		who.Scopes = []string{"openid"}
		return who, nil
	case token == "broken-store":
		return who, errors.New("disk on fire at /var/lib/secret")
	}
	return Principal{}, fmt.Errorf("no such token %d bytes long: %w", len(token), ErrInvalidToken)
}

func newHouse(t testing.TB, domain string, adapt ...func(*Options)) *house {
	t.Helper()
	h := &house{}
	core, logs := observer.New(zap.DebugLevel)
	h.logs = logs
	o := Options{
		Verify: verifyFor, Scopes: []string{"mcp"}, Logger: zap.New(core), Origins: []string{"https://*.trusted.example"},
		IssuerMetadata: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"issuer":"it","asked":%q}`, r.URL.Path)
		}),
		Access: func(a *AccessRecord) {
			h.mu.Lock()
			h.records = append(h.records, *a)
			h.mu.Unlock()
		},
	}
	inner := http.HandlerFunc(h.handler)
	var routes []Route
	if domain == "localhost" {
		o.Loopback, o.Issuer = true, "http://localhost:8080"
		routes = []Route{
			{Name: "issuer", Host: "localhost", Handler: inner},
			{Name: "a", Host: "localhost", Prefix: "/a", Resource: "http://localhost:8080/a/mcp", Handler: inner},
			{Name: "b", Host: "localhost", Prefix: "/b", Resource: "http://localhost:8080/b/mcp", Handler: inner},
		}
	} else {
		o.Issuer = "https://auth." + domain
		routes = []Route{
			{Name: "issuer", Host: "auth." + domain, Handler: inner},
			{Name: "a", Host: "a." + domain, Resource: "https://a." + domain + "/mcp", Handler: inner},
			{Name: "b", Host: "b." + domain, Resource: "https://b." + domain + "/mcp", Handler: inner},
		}
	}
	for _, f := range adapt {
		f(&o)
	}
	h.Router = New(o)
	table, err := NewTable(routes)
	if err != nil {
		t.Fatal(err)
	}
	h.Swap(table)
	return h
}

// ask makes one request; headers are "Name: value".
func (h *house) ask(method, url string, headers ...string) *http.Response {
	req := httptest.NewRequest(method, url, nil)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWhoAnswers(t *testing.T) {
	t.Parallel()
	const auth = "Authorization: Bearer good-a"
	tests := []struct {
		name, domain, method, url string
		headers                   []string
		status                    int
		body, handler             string // handler: the path it saw
	}{
		{"host form", "mcp.example", "POST", "https://a.mcp.example/mcp", []string{auth}, 200, "served /mcp", "/mcp"},
		{"host in capitals, with port and dot", "mcp.example", "POST", "https://A.MCP.example.:443/mcp", []string{auth}, 200, "served", "/mcp"},
		{"prefix form", "localhost", "POST", "http://localhost:8080/a/mcp", []string{auth}, 200, "served /mcp", "/mcp"},
		{"the IPv4 spelling of our origin", "localhost", "POST", "http://127.0.0.1:8080/a/mcp", []string{auth}, 200, "served", "/mcp"},
		{"the IPv6 spelling of our origin", "localhost", "POST", "http://[::1]:8080/a/mcp", []string{auth}, 200, "served", "/mcp"},
		{"the issuer is public", "mcp.example", "GET", "https://auth.mcp.example/authorize?x=1", nil, 200, "served /authorize", "/authorize"},
		{"the issuer under one origin", "localhost", "GET", "http://localhost:8080/authorize", nil, 200, "served /authorize", "/authorize"},
		{"its root too", "localhost", "GET", "http://localhost:8080/", nil, 200, "served /", "/"},
		{"a foreign host", "mcp.example", "GET", "https://evil.example/mcp", nil, 421, "this host is not served here", ""},
		{"a host of ours that is no server gets the same words", "mcp.example", "GET", "https://nosuch.mcp.example/mcp", nil, 421, "this host is not served here", ""},
		{"a host below a server", "mcp.example", "GET", "https://x.a.mcp.example/mcp", nil, 421, "this host", ""},
		{"DNS rebinding on the loopback origin", "localhost", "POST", "http://localhost:8080/a/mcp", []string{"Host: evil.example.com", auth}, 421, "this host", ""},
		{"a loopback look-alike", "localhost", "POST", "http://localhost:8080/a/mcp", []string{"Host: localhost.evil.example", auth}, 421, "this host", ""},
		{"localhost is not ours on a real domain", "mcp.example", "GET", "http://localhost/mcp", nil, 421, "this host", ""},
		{"a broken host", "mcp.example", "GET", "https://a.mcp.example/mcp", []string{"Host: a.mcp.example/x"}, 421, "this host", ""},
		{"an unknown path of a server names the right one", "mcp.example", "GET", "https://a.mcp.example/sse", nil, 404, "the MCP endpoint of a is https://a.mcp.example/mcp", ""},
		{"the root is the endpoint too", "mcp.example", "POST", "https://a.mcp.example/", []string{auth}, 200, "served /mcp", "/mcp"},
		{"and for a stream", "mcp.example", "GET", "https://a.mcp.example/", []string{auth, "Accept: text/event-stream"}, 200, "served /mcp", "/mcp"},
		{"also of a prefix", "localhost", "POST", "http://localhost:8080/a", []string{auth}, 200, "served /mcp", "/mcp"},
		{"but not for all methods", "mcp.example", "GET", "https://a.mcp.example/", []string{auth, "Accept: text/html"}, 200, "<!doctype html>", ""},
		{"it asks for a token", "localhost", "POST", "http://localhost:8080/a", nil, 401, "the MCP endpoint of a", ""},
		{"a slash too many", "localhost", "POST", "http://localhost:8080/a/mcp/", nil, 404, "http://localhost:8080/a/mcp", ""},
		{"a prefix ends at a slash", "localhost", "GET", "http://localhost:8080/ab/mcp", nil, 200, "served /ab/mcp", "/ab/mcp"},
		{"dots do not climb", "localhost", "POST", "http://localhost:8080/b/../a/mcp", []string{auth}, 404, "nothing at this path", ""},
		{"an escaped slash is a slash", "localhost", "POST", "http://localhost:8080/a%2Fmcp", nil, 401, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, tt.domain)
			res := h.ask(tt.method, tt.url, tt.headers...)
			body := text(t, res)
			if res.StatusCode != tt.status || !strings.Contains(body, tt.body) {
				t.Errorf("answer %d %q, want %d with %q", res.StatusCode, body, tt.status, tt.body)
			}
			calls := h.take()
			if tt.handler == "" && len(calls) > 0 {
				t.Errorf("the handler was asked for %v", calls)
			}
			if tt.handler != "" && (len(calls) != 1 || calls[0].Path != tt.handler) {
				t.Errorf("the handler saw %v, want %s", calls, tt.handler)
			}
			if res.Header.Get("X-Request-Id") == "" || h.last(t).RequestID != res.Header.Get("X-Request-Id") {
				t.Error("the answer's request id is not the record's")
			}
		})
	}
}

func TestSwapIsWhole(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "mcp.example")
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "new") })
	table, err := NewTable([]Route{{Name: "n", Host: "n.mcp.example", Handler: handler}})
	if err != nil {
		t.Fatal(err)
	}
	h.Swap(table)
	if res := h.ask("GET", "https://a.mcp.example/mcp"); res.StatusCode != 421 {
		t.Errorf("a removed host answers %d", res.StatusCode)
	}
	if res := h.ask("GET", "https://a.mcp.example/.well-known/oauth-protected-resource"); res.StatusCode != 421 {
		t.Errorf("a removed host's metadata answers %d", res.StatusCode)
	}
	if res := h.ask("GET", "https://n.mcp.example/x"); text(t, res) != "new" {
		t.Error("the new host does not answer")
	}
}

func TestFreshRouterKnowsNobody(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	New(Options{}).ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/", nil))
	if w.Code != http.StatusMisdirectedRequest {
		t.Errorf("status %d", w.Code)
	}
}

func TestPanicBecomes500(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "mcp.example")
	boom := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.HandlerFunc(nil).ServeHTTP(w, r) })
	table, err := NewTable([]Route{{Name: "p", Host: "p.mcp.example", Handler: boom}})
	if err != nil {
		t.Fatal(err)
	}
	h.Swap(table)
	res := h.ask("GET", "https://p.mcp.example/")
	body := text(t, res)
	if res.StatusCode != 500 || !strings.HasPrefix(body, "internal error (request ") || strings.Contains(body, "nil") {
		t.Errorf("answer %d %q", res.StatusCode, body)
	}
	if h.last(t).Status != 500 {
		t.Errorf("recorded as %d", h.last(t).Status)
	}
	logged := h.logs.FilterMessage("handler panicked").All()
	if len(logged) != 1 || !strings.Contains(fmt.Sprint(logged[0].ContextMap()["stack"]), "router_test.go") {
		t.Errorf("the log has no stack: %v", logged)
	}
}

func TestPanicInMidAnswerBreaksTheConnection(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "mcp.example")
	boom := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		http.HandlerFunc(nil).ServeHTTP(w, r)
	})
	table, err := NewTable([]Route{{Name: "p", Host: "127.0.0.1", Handler: boom}})
	if err != nil {
		t.Fatal(err)
	}
	h.Swap(table)
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = errorLog(zap.NewNop())
	srv.Start()
	defer srv.Close()
	res, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("a broken answer ended as if it were whole")
	}
}
