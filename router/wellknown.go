package router

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	wellKnownResource = "/.well-known/oauth-protected-resource"
	wellKnownIssuer   = "/.well-known/oauth-authorization-server"
	wellKnown         = "/.well-known/"
)

// document is what is served at one exact path below a host.
type document struct {
	name   string // of the server
	body   []byte // nil: the issuer's metadata
	length []string
}

// resourceMetadata is RFC 9728 §2, as far as it means something here.
type resourceMetadata struct {
	Resource             string   `json:"resource"`
	AuthorizationServers []string `json:"authorization_servers"`
	ScopesSupported      []string `json:"scopes_supported,omitempty"`
	BearerMethods        []string `json:"bearer_methods_supported"`
	ResourceName         string   `json:"resource_name,omitempty"`
	ResourceDocs         string   `json:"resource_documentation,omitempty"`
}

// wellKnownOf lists the documents of one route. The `resource` of each is the
// identifier from which the document's URL is built, as RFC 9728 §3.3 demands:
// clients compare it byte by byte. There are up to four places per URL that clients
// are configured with, because they insert the well-known part before the path (the
// RFC), append it (old ones), or drop the path.
func (r *Router) wellKnownOf(route Route) map[string]*document {
	docs := make(map[string]*document, 8)
	serve := func(path string) {
		d := r.resourceDocument(route, route.at(path))
		docs[wellKnownResource+route.Prefix+path] = d
		docs[route.Prefix+wellKnownResource+path] = d
		if r.issuerMetadata != nil {
			docs[wellKnownIssuer+route.Prefix+path] = &document{name: route.Name}
			docs[route.Prefix+wellKnownIssuer+path] = &document{name: route.Name}
		}
	}
	serve("")
	for _, path := range route.entries() {
		serve(path)
	}
	return docs
}

// at is the URL of a path below the prefix.
func (r *Route) at(path string) string { return strings.TrimSuffix(r.Resource, mcpPath) + path }

func (r *Router) resourceDocument(route Route, resource string) *document {
	m := resourceMetadata{
		Resource: resource, ScopesSupported: slices.Concat(r.scopes, route.Scopes), BearerMethods: []string{"header"},
		ResourceName: route.Name, ResourceDocs: strings.TrimSuffix(route.Resource, "mcp"),
	}
	if r.issuer != "" {
		m.AuthorizationServers = []string{r.issuer}
	}
	body, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		body = []byte("{}") // a struct of strings cannot fail to encode
	}
	return &document{name: route.Name, body: body, length: []string{strconv.Itoa(len(body))}}
}

// metadataURL is the absolute URL of the path-inserted document of a resource.
func metadataURL(resource string) string {
	u, err := url.Parse(resource)
	if err != nil {
		return "" // NewTable has parsed it before
	}
	return u.Scheme + "://" + u.Host + wellKnownResource + u.Path
}

// serveDocument answers a well-known path. It is public: it is how a client without
// a token finds out where to get one.
func (r *Router) serveDocument(d *document, x *exchange, req *http.Request) error {
	wanted, err := openToAll(x, req)
	if !wanted {
		return err
	}
	if d.body == nil {
		r.serveIssuerMetadata(x, req)
		return nil
	}
	h := x.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("X-Content-Type-Options", "nosniff")
	h["Content-Length"] = d.length
	x.WriteHeader(http.StatusOK)
	if req.Method != http.MethodHead {
		_, _ = x.Write(d.body) // a client that left is no news
	}
	return nil
}

// serveIssuerMetadata hands the request over as if it had come to the issuer: the
// oldest clients (MCP 2025-03-26) look for the issuer at the server's own origin.
func (r *Router) serveIssuerMetadata(x *exchange, req *http.Request) {
	x.url = url.URL{Path: wellKnownIssuer}
	inner := *req
	inner.URL = &x.url
	r.issuerMetadata.ServeHTTP(x, &inner)
}
