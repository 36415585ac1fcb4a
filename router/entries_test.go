package router

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// A server with further entries: each is as well guarded as /mcp, by the same tokens, and its clients find metadata
// for the very URL they were configured with.
func TestEntries(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ domain, at, metadata, resource string }{
		{"mcp.example", "https://a.mcp.example", "https://a.mcp.example/.well-known/oauth-protected-resource/sse", "https://a.mcp.example/sse"},
		{"localhost", "http://localhost:8080/a", "http://localhost:8080/.well-known/oauth-protected-resource/a/sse", "http://localhost:8080/a/sse"},
	} {
		t.Run(tt.domain, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, tt.domain)
			for _, path := range []string{"/sse", "/messages"} {
				if res := h.ask("GET", tt.at+path, "Authorization: Bearer good-a"); res.StatusCode != 404 {
					t.Errorf("without entries %s answers %d", path, res.StatusCode)
				}
			}
			h.withEntries(t, map[string]string{"/sse": "/sse", "/messages": "/sse"})
			for _, path := range []string{"/sse", "/messages?sessionId=x"} {
				h.entry(t, tt.at+path, `Bearer resource_metadata="`+tt.metadata+`", scope="mcp"`)
			}
			var m resourceMetadata
			if err := json.Unmarshal([]byte(text(t, h.ask("GET", tt.metadata))), &m); err != nil || m.Resource != tt.resource {
				t.Errorf("metadata of %q, %v; want %q", m.Resource, err, tt.resource)
			}
			if res := h.ask("GET", strings.Replace(tt.metadata, "protected-resource", "authorization-server", 1)); res.StatusCode != 200 {
				t.Errorf("the issuer's metadata beside it: %d", res.StatusCode)
			}
			for _, path := range []string{"/messages/", "/sse/x", "/mcp/sse", "/other"} {
				if res := h.ask("GET", tt.at+path, "Authorization: Bearer good-a"); res.StatusCode != 404 {
					t.Errorf("%s answers %d", path, res.StatusCode)
				}
			}
		})
	}
}

// entry tries one URL: who has the right token is let through to it, nobody else.
func (h *house) entry(t *testing.T, url, challenge string) {
	t.Helper()
	h.take()
	for _, method := range []string{"GET", "POST", "DELETE"} {
		if res := h.ask(method, url); res.StatusCode != 401 || res.Header.Get("WWW-Authenticate") != challenge {
			t.Errorf("%s %s without a token: %d %q, want %q", method, url, res.StatusCode, res.Header.Get("WWW-Authenticate"), challenge)
		}
		if res := h.ask(method, url, "Authorization: Bearer good-b"); res.StatusCode != 401 {
			t.Errorf("%s %s with another server's token: %d", method, url, res.StatusCode)
		}
		if res := h.ask(method, url, "Authorization: Bearer good-a", "Origin: https://evil.example"); res.StatusCode != 403 {
			t.Errorf("%s %s from a foreign page: %d", method, url, res.StatusCode)
		}
	}
	if res := h.ask("OPTIONS", url, "Origin: http://localhost:6274", "Access-Control-Request-Method: POST"); res.StatusCode != 204 ||
		res.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("preflight of %s: %d", url, res.StatusCode)
	}
	if calls := h.take(); len(calls) != 0 {
		t.Errorf("the handler saw %v", calls)
	}
	res := h.ask("POST", url, "Authorization: Bearer good-a")
	calls := h.take()
	if res.StatusCode != 200 || len(calls) != 1 || calls[0].Auth != "" || calls[0].Who.ID != "usr_1" || strings.Contains(calls[0].Path, "/a/") {
		t.Errorf("POST %s: %d, the handler saw %+v", url, res.StatusCode, calls)
	}
}

// withEntries gives every gated server further entries.
func (h *house) withEntries(t *testing.T, entries map[string]string) {
	t.Helper()
	routes := h.world.Load().table.Routes()
	for i := range routes {
		if routes[i].Resource != "" {
			routes[i].Entries = entries
		}
	}
	table, err := NewTable(routes)
	if err != nil {
		t.Fatal(err)
	}
	h.Swap(table)
}

func TestNewTableRefusesEntries(t *testing.T) {
	t.Parallel()
	for path, at := range map[string]string{"": "", "/mcp": "/mcp", "sse": "sse", "/sse/": "/sse/", "/messages": "/sse", "/.well-known": "/.well-known"} {
		_, err := NewTable([]Route{{Host: "a", Handler: http.NotFoundHandler(), Resource: "https://a/mcp", Entries: map[string]string{path: at}}})
		if err == nil || !strings.Contains(err.Error(), "is not of the form") {
			t.Errorf("%q as %q: %v", path, at, err)
		}
	}
}
