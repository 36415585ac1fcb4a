package router

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestResourceMetadata(t *testing.T) {
	t.Parallel()
	tests := []struct{ domain, url, resource string }{
		{"mcp.example", "https://a.mcp.example/.well-known/oauth-protected-resource/mcp", "https://a.mcp.example/mcp"},
		{"mcp.example", "https://a.mcp.example/.well-known/oauth-protected-resource", "https://a.mcp.example"},
		{"mcp.example", "https://B.mcp.example:443/.well-known/oauth-protected-resource", "https://b.mcp.example"},
		{"localhost", "http://localhost:8080/.well-known/oauth-protected-resource/a/mcp", "http://localhost:8080/a/mcp"},
		{"localhost", "http://127.0.0.1:8080/.well-known/oauth-protected-resource/a/mcp", "http://localhost:8080/a/mcp"},
		{"localhost", "http://localhost:8080/.well-known/oauth-protected-resource/b", "http://localhost:8080/b"},
		{"localhost", "http://localhost:8080/a/.well-known/oauth-protected-resource", "http://localhost:8080/a"},
		{"localhost", "http://localhost:8080/a/.well-known/oauth-protected-resource/mcp", "http://localhost:8080/a/mcp"},
	}
	for _, tt := range tests {
		t.Run(tt.url, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, tt.domain)
			res := h.ask("GET", tt.url, "Origin: https://anyone.example")
			var m resourceMetadata
			if err := json.Unmarshal([]byte(text(t, res)), &m); err != nil {
				t.Fatal(err)
			}
			issuer := "https://auth.mcp.example"
			if tt.domain == "localhost" {
				issuer = "http://localhost:8080"
			}
			if m.Resource != tt.resource || len(m.AuthorizationServers) != 1 || m.AuthorizationServers[0] != issuer ||
				strings.Join(m.BearerMethods, " ") != "header" || strings.Join(m.ScopesSupported, " ") != "mcp" || m.ResourceName == "" {
				t.Errorf("%+v", m)
			}
			if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/json" ||
				res.Header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(res.Header.Get("Cache-Control"), "max-age") {
				t.Errorf("%d %v", res.StatusCode, res.Header)
			}
			if res := h.ask("HEAD", tt.url); res.StatusCode != 200 || text(t, res) != "" {
				t.Errorf("HEAD: %d", res.StatusCode)
			}
			if res := h.ask("OPTIONS", tt.url, "Origin: https://anyone.example", "Access-Control-Request-Method: GET"); res.StatusCode != 204 ||
				res.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("OPTIONS: %d", res.StatusCode)
			}
			if res := h.ask("POST", tt.url); res.StatusCode != 405 || res.Header.Get("Allow") == "" {
				t.Errorf("POST: %d", res.StatusCode)
			}
			if len(h.take()) != 0 {
				t.Error("a handler was asked")
			}
		})
	}
}

func TestIssuerMetadataBesideServers(t *testing.T) {
	t.Parallel()
	for url, domain := range map[string]string{
		"https://a.mcp.example/.well-known/oauth-authorization-server":              "mcp.example",
		"https://a.mcp.example/.well-known/oauth-authorization-server/mcp":          "mcp.example",
		"http://localhost:8080/.well-known/oauth-authorization-server/a/mcp":        "localhost",
		"http://localhost:8080/.well-known/oauth-authorization-server/a":            "localhost",
		"http://localhost:8080/a/.well-known/oauth-authorization-server?ignored=it": "localhost",
	} {
		res := newHouse(t, domain).ask("GET", url)
		if body := text(t, res); res.StatusCode != 200 || body != `{"issuer":"it","asked":"/.well-known/oauth-authorization-server"}` ||
			res.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: %d %s", url, res.StatusCode, body)
		}
	}
	// At the root of the one origin it is the issuer's own document.
	h := newHouse(t, "localhost")
	h.ask("GET", "http://localhost:8080/.well-known/oauth-authorization-server")
	if calls := h.take(); len(calls) != 1 {
		t.Errorf("the issuer saw %v", calls)
	}
	if res := newHouse(t, "mcp.example").ask("GET", "https://a.mcp.example/.well-known/nothing"); res.StatusCode != 404 {
		t.Errorf("status %d", res.StatusCode)
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	for url, domain := range map[string]string{
		"https://a.mcp.example/":   "mcp.example",
		"http://localhost:8080/a":  "localhost",
		"http://localhost:8080/a/": "localhost",
		"http://127.0.0.1:8080/a/": "localhost",
	} {
		h := newHouse(t, domain)
		res := h.ask("GET", url)
		body := text(t, res)
		endpoint := "https://a.mcp.example/mcp"
		if domain == "localhost" {
			endpoint = "http://localhost:8080/a/mcp"
		}
		if res.StatusCode != 200 || !strings.Contains(body, "<pre>"+endpoint+"</pre>") || !strings.Contains(body, "you sign in") ||
			!strings.Contains(body, "claude mcp add --transport http a "+endpoint) {
			t.Errorf("%s: %d\n%s", url, res.StatusCode, body)
		}
		style, _, _ := strings.Cut(body[strings.Index(body, "<style>")+len("<style>"):], "</style>")
		if style != pageStyle || !strings.Contains(res.Header.Get("Content-Security-Policy"), styleHash()) {
			t.Error("the policy's hash is not that of the style")
		}
		for _, bad := range []string{"<script", "src=", "http-equiv", "@import", "url("} {
			if strings.Contains(body, bad) {
				t.Errorf("the page has %s", bad)
			}
		}
		if res := h.ask("HEAD", url); res.StatusCode != 200 || text(t, res) != "" {
			t.Errorf("HEAD: %d", res.StatusCode)
		}
	}
	h := newHouse(t, "localhost", func(o *Options) { o.Anonymous = true })
	if body := text(t, h.ask("GET", "http://localhost:8080/a")); !strings.Contains(body, "Sign-in is switched off") {
		t.Error(body)
	}
	if newHouse(t, "localhost").renderPage(Route{Name: `<b>"&`, Handler: http.NotFoundHandler(), Resource: "http://x/mcp"}) == nil {
		t.Error("the page does not render")
	}
}
