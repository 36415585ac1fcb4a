package router

import (
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// TestDiscoveryByARealClient goes the way of a client that knows nothing but the URL: the 401, its
// challenge, the document it names. The SDK compares `resource` byte by byte and refuses otherwise.
func TestDiscoveryByARealClient(t *testing.T) {
	t.Parallel()
	l, _ := start(t, onPort0(), nil)
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	origin := "http://localhost:" + port
	h := newHouse(t, "localhost", func(o *Options) { o.Issuer = origin })
	table, err := NewTable([]Route{{Name: "a", Host: "localhost", Prefix: "/a", Resource: origin + "/a/mcp", Handler: http.NotFoundHandler()}})
	if err != nil {
		t.Fatal(err)
	}
	h.Swap(table)
	l.Handle(h)
	for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodHead} {
		req, err := http.NewRequestWithContext(t.Context(), method, origin+"/a/mcp", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		challenges, err := oauthex.ParseWWWAuthenticate(res.Header.Values("WWW-Authenticate"))
		if err != nil || len(challenges) != 1 || challenges[0].Scheme != "bearer" || challenges[0].Params["scope"] != "mcp" {
			t.Fatalf("%s: %v %v", method, challenges, err)
		}
		m, err := oauthex.GetProtectedResourceMetadata(t.Context(), challenges[0].Params["resource_metadata"], origin+"/a/mcp", http.DefaultClient)
		if err != nil || len(m.AuthorizationServers) != 1 || m.AuthorizationServers[0] != origin {
			t.Fatalf("%s: %+v %v", method, m, err)
		}
	}
	for url, resource := range map[string]string{
		"/.well-known/oauth-protected-resource/a":     "/a",
		"/a/.well-known/oauth-protected-resource":     "/a",
		"/a/.well-known/oauth-protected-resource/mcp": "/a/mcp",
	} {
		if _, err := oauthex.GetProtectedResourceMetadata(t.Context(), origin+url, origin+resource, http.DefaultClient); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}
