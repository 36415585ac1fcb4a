package main

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/mcpd/mcpd/idp"
)

func TestMatchAllow(t *testing.T) {
	for _, tt := range []struct {
		rule, name string
		want       bool
	}{
		{"alice", "alice", true},
		{"Alice@Example.com", "alice@example.COM", true},
		{"alice", "alice2", false},
		{"*@corp.example", "bob@corp.example", true},
		{"*@corp.example", "bob@corp.example.evil", false},
		{"*@corp.example", "bob@evilcorp.example", false},
		{"*", "anyone", true},
		{"a*c", "abc", true},
		{"a*c", "ac", true},
		{"a*bc", "abcb", false},
		{"a*b*c", "a1b2c", true},
		{"a*b*c", "acb", false},
		{"ab*ba", "aba", false}, // head and tail may not share characters
		{"", "alice", false},
		{"*", "service:ci", false},
		{"service:*", "service:ci", true},
		{"service:ci", "service:ci", true},
		{"*ci", "service:ci", false},
	} {
		u := idp.User{ID: "usr_1", Name: tt.name}
		if strings.HasPrefix(tt.name, servicePrefix) {
			u.ID = "svc_1"
		}
		if got := matchAllow(tt.rule, u); got != tt.want {
			t.Errorf("matchAllow(%q, %q) = %v, want %v", tt.rule, tt.name, got, tt.want)
		}
	}
}

func TestMatchAllowOfAProvider(t *testing.T) {
	bob := idp.User{ID: "usr_1", Name: "bob@corp.example", Provider: "corp", Groups: []string{"Research", "all people", "eu/dev"}}
	for rule, want := range map[string]bool{
		"group:Research": true, "group:research": false, "group:Res": false, "group:all people": true, "group:eu/*": true, "group:us/*": false,
		"group:corp": false, "provider:corp": true, "provider:Corp": false, "provider:*": true, "provider:google": false, "corp": false, "*@corp.example": true,
	} {
		if got := matchAllow(rule, bob); got != want {
			t.Errorf("matchAllow(%q) = %v, want %v", rule, got, want)
		}
	}
	own := idp.User{ID: "usr_2", Name: "alice"} // mcpd's own: of no provider and in no group
	service := idp.User{ID: "svc_1", Name: "service:ci", Provider: "corp", Groups: []string{"Research"}}
	for _, rule := range []string{"group:*", "provider:*", "group:", "provider:"} {
		if matchAllow(rule, own) || matchAllow(rule, service) {
			t.Errorf("%q lets in who has neither", rule)
		}
	}
}

func TestPolicyDeniesByDefault(t *testing.T) {
	alice := idp.User{ID: "usr_1", Name: "alice"}
	w := func(domain string, allow ...string) *world {
		cfg := &Config{Domain: domain}
		return &world{cfg: cfg, urls: urls{domain: domain}, tenants: map[string]*tenant{"a": {name: "a", cfg: ServerConfig{Allow: allow}}}}
	}
	moved := w("mcp.example.com")
	moved.cfg.Domain = "localhost"
	for _, tt := range []struct {
		name   string
		w      *world
		server string
		want   bool
	}{
		{"a real domain and no rule", w("mcp.example.com"), "a", false},
		{"a real domain and a rule", w("mcp.example.com", "alice"), "a", true},
		{"another's rule", w("mcp.example.com", "bob"), "a", false},
		{"local mode and no rule", w("localhost"), "a", true},
		{"local mode and a rule for another", w("localhost", "bob"), "a", false},
		{"no such server", w("localhost"), "b", false},
		{"a reload that says localhost, which takes a restart", moved, "a", false},
	} {
		if got := tt.w.allowed(tt.server, alice); got != tt.want {
			t.Errorf("%s: allowed = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// A further host is a resource of its own: its tokens are bound to it, not to the server's first.
func TestResourceOfAFurtherHost(t *testing.T) {
	w := &world{urls: urls{"mcp.example.com", 8443}, tenants: map[string]*tenant{
		"a": {url: "https://a.mcp.example.com:8443/mcp", cfg: ServerConfig{Hosts: []string{"a.example"}}},
	}}
	for raw, want := range map[string]string{
		"https://a.mcp.example.com:8443/mcp": "https://a.mcp.example.com:8443/mcp",
		"https://a.example:8443/mcp":         "https://a.example:8443/mcp",
		"https://a.example:8443":             "https://a.example:8443/mcp",
		"https://a.example/mcp":              "",
		"https://b.example:8443/mcp":         "",
	} {
		if got, server, ok := w.resource(raw); got != want || ok != (want != "") || ok && server != "a" {
			t.Errorf("resource(%q) = %q, %q, %v, want %q", raw, got, server, ok, want)
		}
	}
}

func TestURLs(t *testing.T) {
	for _, tt := range []struct {
		toml, addr, issuer, server string
	}{
		{"", "127.0.0.1:8080", "http://localhost:8080", "http://localhost:8080/a/mcp"},
		{"", "127.0.0.1:80", "http://localhost", "http://localhost/a/mcp"},
		{"domain = \"m.example\"\n[tls]\nmode = \"internal\"", "127.0.0.1:443", "https://auth.m.example", "https://a.m.example/mcp"},
		{"domain = \"m.example\"\n[tls]\nmode = \"internal\"", "127.0.0.1:8443", "https://auth.m.example:8443", "https://a.m.example:8443/mcp"},
		{"domain = \"m.example\"\n[listen]\npublic_port = 443\n[tls]\nmode = \"internal\"", "127.0.0.1:8443", "https://auth.m.example", "https://a.m.example/mcp"},
		{"domain = \"m.example\"\n[tls]\nmode = \"off\"", "127.0.0.1:8080", "https://auth.m.example", "https://a.m.example/mcp"},
		{"domain = \"m.example\"\n[listen]\npublic_port = 8443\n[tls]\nmode = \"off\"", "127.0.0.1:8080", "https://auth.m.example:8443", "https://a.m.example:8443/mcp"},
	} {
		u := newURLs(mustLoad(t, tt.toml), net.TCPAddrFromAddrPort(netip.MustParseAddrPort(tt.addr)))
		if u.issuer() != tt.issuer || u.server("a") != tt.server {
			t.Errorf("%q at %s: %s and %s", tt.toml, tt.addr, u.issuer(), u.server("a"))
		}
	}
}

func TestResourceIsOneExactServer(t *testing.T) {
	w := &world{tenants: map[string]*tenant{"a": {url: "https://a.mcp.example.com/mcp"}}}
	for raw, want := range map[string]bool{
		"https://a.mcp.example.com/mcp":     true,
		"https://a.mcp.example.com":         true, // the root document's resource
		"https://a.mcp.example.com/MCP":     false,
		"https://a.mcp.example.com/mcp/mcp": false,
		"https://b.mcp.example.com/mcp":     false,
		"http://a.mcp.example.com/mcp":      false,
		"https://mcp.example.com":           false,
		"":                                  false,
	} {
		url, _, got := w.resource(raw)
		if got != want || got && url != "https://a.mcp.example.com/mcp" {
			t.Errorf("resource(%q) = %q, %v, want %v", raw, url, got, want)
		}
	}
}
