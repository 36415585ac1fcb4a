package router

import (
	"net/http"
	"strings"
	"testing"
)

func TestNormalHost(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in, want string
		ok       bool
	}{
		{"example.com", "example.com", true},
		{"EXAMPLE.com:443", "example.com", true},
		{"example.com.", "example.com", true},
		{"example.com.:8080", "example.com", true},
		{"example.com:", "example.com", true},
		{"[::1]", "::1", true},
		{"[0:0::1]:8080", "::1", true},
		{"127.0.0.1:80", "127.0.0.1", true},
		{"a_b.example", "a_b.example", true},
		{"", "", false},
		{".", "", false},
		{":80", "", false},
		{"a..b", "", false},
		{".a", "", false},
		{"a.b..", "", false},
		{"a:b", "", false},
		{"a:1:2", "", false},
		{"a:123456", "", false},
		{"::1", "", false},
		{"[::1", "", false},
		{"[::1]x", "", false},
		{"[fe80::1%eth0]", "", false},
		{"[127.0.0.1]", "", false},
		{"user@host", "", false},
		{"a/b", "", false},
		{"a b", "", false},
		{"ä.example", "", false},
		{"a\x00", "", false},
		{strings.Repeat("a", 300), "", false},
	}
	for _, tt := range tests {
		if got, ok := normalHost(tt.in); got != tt.want || ok != tt.ok {
			t.Errorf("normalHost(%q) = %q, %v", tt.in, got, ok)
		}
	}
}

func FuzzNormalHost(f *testing.F) {
	for _, s := range []string{"example.com", "A.B:1", "[::1]:8", "a..", "x@y", "[::ffff:1.2.3.4]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, ok := normalHost(s)
		if !ok {
			return
		}
		if host == "" || host != strings.ToLower(host) || strings.ContainsAny(host, " /@[]\x00") {
			t.Fatalf("%q became %q", s, host)
		}
		again := host
		if strings.Contains(host, ":") {
			again = "[" + host + "]"
		}
		if twice, ok := normalHost(again); !ok || twice != host {
			t.Fatalf("%q became %q became %q", s, host, twice)
		}
	})
}

func FuzzLookup(f *testing.F) {
	table := mustTable(f)
	f.Add("localhost", "/a/mcp")
	f.Add("a.example", "////")
	f.Fuzz(func(t *testing.T, host, path string) {
		r, ok := table.Lookup(host, path)
		if ok && r.Prefix != "" && path != r.Prefix && !strings.HasPrefix(path, r.Prefix+"/") {
			t.Fatalf("%q is routed to %q", path, r.Prefix)
		}
		if ok && !table.Has(host) {
			t.Fatalf("routed at a host we do not have: %q", host)
		}
	})
}

func mustTable(t testing.TB) *Table {
	t.Helper()
	h := http.NotFoundHandler()
	table, err := NewTable([]Route{
		{Name: "root", Host: "localhost", Handler: h},
		{Name: "a", Host: "localhost", Prefix: "/a", Handler: h},
		{Name: "ab", Host: "localhost", Prefix: "/a/b", Handler: h},
		{Name: "host", Host: "A.example.", Handler: h},
		{Name: "deep", Host: "deep.example", Prefix: "/x/y", Handler: h},
	})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestLookup(t *testing.T) {
	t.Parallel()
	table := mustTable(t)
	tests := []struct{ host, path, name string }{
		{"localhost", "/", "root"},
		{"localhost", "/x", "root"},
		{"LOCALHOST:8080", "/a", "a"},
		{"localhost", "/a/", "a"},
		{"localhost", "/a/c", "a"},
		{"localhost", "/a/b", "ab"},
		{"localhost", "/a/b/c/d", "ab"},
		{"localhost", "/a/bc", "a"},
		{"localhost", "/ab", "root"},
		{"localhost", "//a", "root"},
		{"localhost", "/A", "root"},
		{"localhost", "", ""},
		{"localhost", "*", ""},
		{"a.example:1", "/anything", "host"},
		{"b.example", "/", ""},
		{"deep.example", "/x", ""},
		{"deep.example", "/x/y", "deep"},
		{"deep.example", "/x/y/z", "deep"},
		{"deep.example", "/" + strings.Repeat("/", 60000), ""},
	}
	for _, tt := range tests {
		r, ok := table.Lookup(tt.host, tt.path)
		if r.Name != tt.name || ok != (tt.name != "") {
			t.Errorf("Lookup(%q, %.40q) = %q, %v; want %q", tt.host, tt.path, r.Name, ok, tt.name)
		}
	}
	if !table.Has("A.EXAMPLE") || table.Has("example") || table.Has("x.a.example") || len(table.Routes()) != 5 {
		t.Error("Has or Routes is wrong")
	}
}

func TestNewTableRefuses(t *testing.T) {
	t.Parallel()
	h := http.NotFoundHandler()
	tests := []struct {
		route Route
		want  string
	}{
		{Route{Host: "a b", Handler: h}, "not a host name"},
		{Route{Host: "a"}, "no handler"},
		{Route{Host: "a", Prefix: "x", Handler: h}, "not of the form"},
		{Route{Host: "a", Prefix: "/x/", Handler: h}, "not of the form"},
		{Route{Host: "a", Prefix: "/", Handler: h}, "not of the form"},
		{Route{Host: "a", Prefix: "/../x", Handler: h}, "not of the form"},
		{Route{Host: "a", Prefix: "/.well-known", Handler: h}, "not of the form"},
		{Route{Host: "a", Prefix: "/x y", Handler: h}, "not of the form"},
		{Route{Host: "a", Handler: h, Resource: "https://b/mcp"}, "is not at"},
		{Route{Host: "a", Handler: h, Resource: "https://a/x/mcp"}, "is not at"},
		{Route{Host: "a", Prefix: "/x", Handler: h, Resource: "https://a/mcp"}, "is not at"},
		{Route{Host: "a", Handler: h, Resource: "https://a/mcp?x"}, "not a plain"},
		{Route{Host: "a", Handler: h, Resource: "ftp://a/mcp"}, "not a plain"},
		{Route{Host: "a", Handler: h, Resource: "https://u@a/mcp"}, "not a plain"},
	}
	for _, tt := range tests {
		if _, err := NewTable([]Route{tt.route}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.route, err, tt.want)
		}
	}
	_, err := NewTable([]Route{{Name: "1", Host: "a", Handler: h}, {Name: "2", Host: "A.", Handler: h}, {Name: "3", Host: "a"}})
	if err == nil || !strings.Contains(err.Error(), `"1" is already there`) || !strings.Contains(err.Error(), "no handler") {
		t.Errorf("%v", err)
	}
}
