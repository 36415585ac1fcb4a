package main

import (
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
		if got := matchAllow(tt.rule, tt.name); got != tt.want {
			t.Errorf("matchAllow(%q, %q) = %v, want %v", tt.rule, tt.name, got, tt.want)
		}
	}
}

func TestPolicyDeniesByDefault(t *testing.T) {
	alice := idp.User{ID: "usr_1", Name: "alice"}
	w := func(domain string, allow ...string) *world {
		cfg := &Config{Domain: domain}
		return &world{cfg: cfg, tenants: map[string]*tenant{"a": {name: "a", cfg: ServerConfig{Allow: allow}}}}
	}
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
	} {
		if got := tt.w.allowed(tt.server, alice); got != tt.want {
			t.Errorf("%s: allowed = %v, want %v", tt.name, got, tt.want)
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
