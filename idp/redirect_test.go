package idp

import (
	"net/url"
	"strings"
	"testing"
)

func TestMatchRedirect(t *testing.T) {
	for _, c := range []struct {
		registered, requested string
		want                  bool
	}{
		{"https://a.example/cb", "https://a.example/cb", true},
		{"https://a.example/cb", "https://a.example/cb/", false},
		{"https://a.example/cb", "https://a.example:443/cb", false},
		{"https://a.example/cb", "https://A.example/cb", false},
		{"https://a.example/cb", "http://a.example/cb", false},
		{"https://localhost/cb", "https://localhost:1/cb", false},
		{"cursor://x/cb", "cursor://x/cb", true},
		{"cursor://x/cb", "cursor://x/CB", false},
		{"cursor://x/cb", "cursor://x:1/cb", false},
		{"http://localhost/cb", "http://localhost:1/cb", true},
		{"http://localhost:2/cb", "http://localhost/cb", true},
		{"http://localhost:2/cb", "http://LOCALHOST:1/cb", true},
		{"http://localhost/cb", "http://127.0.0.1/cb", false},
		{"http://127.0.0.1/cb", "http://[::1]/cb", false},
		{"http://[::1]/cb", "http://[::1]:99/cb", true},
		{"http://[::1]/cb", "http://[0:0:0:0:0:0:0:1]:99/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.2/cb", false},
		{"http://localhost", "http://localhost:3142", true},
		{"http://localhost", "http://localhost:3142/", false},
		{"http://localhost/cb?a=1", "http://localhost:1/cb?a=1", true},
		{"http://localhost/cb?a=1", "http://localhost:1/cb?a=2", false},
		{"http://localhost/cb", "http://localhost:1/cb?", false},
		{"http://localhost/cb", "http://localhost:1/%63b", false},
		{"http://localhost/cb", "http://localhost:1/cb#", false},
		{"http://localhost/cb", "http://localhost:1@evil.example/cb", false},
		{"http://localhost/cb", "http://localhost.evil.example/cb", false},
		{"http://localhost/cb", "http://localhost:1/cb\n", false},
		{"http://evil.example/cb", "http://evil.example:1/cb", false},
	} {
		if got := matchRedirect(c.registered, c.requested); got != c.want {
			t.Errorf("registered %q, requested %q: %v", c.registered, c.requested, got)
		}
	}
}

// Whatever matches leads to the same host, path and query as what was registered, in a browser's reading as well.
func FuzzMatchRedirect(f *testing.F) {
	for _, seed := range []string{"http://localhost:1/cb", "http://localhost:1/cb?", `http://localhost\@evil.example/cb`, "http://[::1]:1/cb", "http://localhost:/cb", "HTTP://localhost/cb", "http:///cb", "http:localhost/cb", "http://localhost%2eevil.example/cb"} {
		f.Add(seed)
	}
	registered := []string{"http://localhost/cb", "http://127.0.0.1:8080/cb?x=1", "http://[::1]/", "https://a.example/cb", "cursor://x/cb"}
	f.Fuzz(func(t *testing.T, requested string) {
		for _, r := range registered {
			if !matchRedirect(r, requested) || r == requested {
				continue
			}
			want, err := url.Parse(r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := url.Parse(requested)
			if err != nil {
				t.Fatalf("%q matches, but is no URL", requested)
			}
			if want.Scheme != "http" || got.Scheme != "http" || !strings.EqualFold(got.Hostname(), want.Hostname()) || got.EscapedPath() != want.EscapedPath() ||
				got.RawQuery != want.RawQuery || got.User != nil || strings.ContainsAny(requested, "\\#@ \t\r\n") || strings.Trim(got.Port(), "0123456789") != "" {
				t.Fatalf("%q matches %q", requested, r)
			}
		}
	})
}

// No registration that passes can run anything in the browser or lead away in clear.
func FuzzCheckRedirect(f *testing.F) {
	for _, seed := range []string{"https://a.example/cb", "javascript:alert(1)", "JavaScript:alert(1)", "\tjavascript:x", "cursor://x", "vscode:x", "http://127.0.0.1", "https:a.example", "https:///a.example", "https://*.example/"} {
		f.Add(seed)
	}
	schemes := DefaultConfig().Registration.Schemes
	f.Fuzz(func(t *testing.T, raw string) {
		if checkRedirect(raw, schemes) != nil {
			return
		}
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		scheme := strings.ToLower(raw[:strings.Index(raw, ":")])
		for _, bad := range []string{"javascript", "data", "file", "vbscript", "blob", "about"} {
			if scheme == bad {
				t.Fatalf("%q passes", raw)
			}
		}
		if scheme == "http" && !loopbackHost(u.Hostname()) || (scheme == "http" || scheme == "https") && u.Hostname() == "" {
			t.Fatalf("%q passes", raw)
		}
		if !matchRedirect(raw, raw) {
			t.Fatalf("%q can be registered, but does not match itself", raw)
		}
	})
}
