package router

import (
	"context"
	"fmt"
	"net/http"
	"testing"
)

// quiet is a response writer that keeps nothing, so that only the router is measured.
type quiet struct{ h http.Header }

func (q *quiet) Header() http.Header         { return q.h }
func (q *quiet) Write(p []byte) (int, error) { return len(p), nil }
func (q *quiet) WriteHeader(int)             {}

func benchRouter(b *testing.B, prefixed bool) *Router {
	b.Helper()
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	var routes []Route
	for i := range 50 {
		name := fmt.Sprintf("server-%d", i)
		if prefixed {
			routes = append(routes, Route{Name: name, Host: "localhost", Prefix: "/" + name, Resource: "http://localhost:8080/" + name + "/mcp", Handler: nothing})
		} else {
			routes = append(routes, Route{Name: name, Host: name + ".mcp.example", Resource: "https://" + name + ".mcp.example/mcp", Handler: nothing})
		}
	}
	t, err := NewTable(routes)
	if err != nil {
		b.Fatal(err)
	}
	r := New(Options{
		Verify: func(context.Context, string, string) (Principal, error) { return Principal{ID: "usr_1"}, nil },
		Access: func(*AccessRecord) {}, Issuer: "https://auth.mcp.example", Loopback: prefixed,
	})
	r.Swap(t)
	return r
}

func BenchmarkLookup(b *testing.B) {
	for _, bb := range []struct {
		name, host, path string
		prefixed         bool
	}{
		{"host", "server-7.mcp.example:443", "/mcp", false},
		{"prefix", "localhost:8080", "/server-7/mcp", true},
		{"stranger", "evil.example", "/mcp", false},
	} {
		b.Run(bb.name, func(b *testing.B) {
			t := benchRouter(b, bb.prefixed).world.Load().table
			b.ReportAllocs()
			for b.Loop() {
				t.Lookup(bb.host, bb.path)
			}
		})
	}
}

func BenchmarkRequest(b *testing.B) {
	for _, bb := range []struct {
		name, url string
		token     bool
		prefixed  bool
	}{
		{"gate", "https://server-7.mcp.example/mcp", true, false},
		{"gate-prefix", "http://localhost:8080/server-7/mcp", true, true},
		{"no-token", "https://server-7.mcp.example/mcp", false, false},
		{"stranger", "https://evil.example/mcp", false, false},
	} {
		b.Run(bb.name, func(b *testing.B) {
			r := benchRouter(b, bb.prefixed)
			req, err := http.NewRequest(http.MethodPost, bb.url, nil)
			if err != nil {
				b.Fatal(err)
			}
			auth := []string{"Bearer mcpd_at_0123456789abcdef0123456789abcdef"}
			w := &quiet{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				if bb.token {
					req.Header["Authorization"] = auth // the gate takes it off
				}
				clear(w.h)
				r.ServeHTTP(w, req)
			}
		})
	}
}
