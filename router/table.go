package router

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
)

// mcpPath is where a server's MCP endpoint lives, below its Route's Prefix.
const mcpPath = "/mcp"

// Route says what answers at a host, or at a prefix of it.
type Route struct {
	Name    string       // of the server, as people know it; "" for what is no server
	Host    string       // host without port, e.g. "github.mcp.example.com", or "localhost"
	Prefix  string       // "" or "/name", without a trailing slash; the handler does not see it
	Handler http.Handler // of a gated route it is asked for /mcp and Entries only

	// Resource is the exact URL of the MCP endpoint, e.g.
	// "https://github.mcp.example.com/mcp". Tokens must be bound to it. An empty
	// Resource makes the route public: every path goes to Handler unchecked.
	Resource string

	// Scopes are asked for in challenges and named in the metadata, besides Options.Scopes. Handler
	// demands them where they are needed: see StepUp.
	Scopes []string

	// Entries are further paths of Handler, behind the same gate and with the same
	// tokens. Each is mapped to the one that its clients are configured with and
	// so compare the metadata's resource with: {"/sse": "/sse", "/messages": "/sse"}.
	Entries map[string]string

	// Former are paths of another program's below the prefix, that clients still know
	// from the time when it was here, with the URLs that they are now; "" where there
	// is none. A path that ends in a slash stands for all below it.
	Former map[string]string
}

// entries are all gated paths below the prefix, as in Entries.
func (r *Route) entries() map[string]string {
	all := map[string]string{mcpPath: mcpPath}
	maps.Copy(all, r.Entries)
	return all
}

// Table is an immutable set of routes. It is safe for concurrent use.
type Table struct {
	routes []Route
	hosts  map[string]*site
}

// site is everything that is routed at one host.
type site struct {
	prefixes map[string]int // prefix → index into Table.routes
	depth    int            // segments of the longest prefix
}

// NewTable checks the routes and indexes them. All faults are reported at once.
func NewTable(routes []Route) (*Table, error) {
	t := &Table{routes: make([]Route, len(routes)), hosts: make(map[string]*site)}
	var errs []error
	for i, r := range routes {
		host, err := checkRoute(r)
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot route %q at %q: %w", r.Name, r.Host+r.Prefix, err))
			continue
		}
		r.Host, r.Entries, r.Former = host, maps.Clone(r.Entries), maps.Clone(r.Former)
		t.routes[i] = r
		s := t.hosts[host]
		if s == nil {
			s = &site{prefixes: make(map[string]int)}
			t.hosts[host] = s
		}
		if j, taken := s.prefixes[r.Prefix]; taken {
			errs = append(errs, fmt.Errorf("cannot route %q at %q: %q is already there", r.Name, host+r.Prefix, t.routes[j].Name))
			continue
		}
		s.prefixes[r.Prefix] = i
		s.depth = max(s.depth, strings.Count(r.Prefix, "/"))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return t, nil
}

// Lookup finds the route of a host (as in a Host header) and a path: the exact
// host first, then the longest prefix that ends at a slash.
func (t *Table) Lookup(host, path string) (Route, bool) {
	host, ok := normalHost(host)
	if !ok {
		return Route{}, false
	}
	i := t.find(host, path)
	if i < 0 {
		return Route{}, false
	}
	return t.routes[i], true
}

// Has reports whether anything is routed at host. It is what TLS must ask before
// a certificate is ordered for a name.
func (t *Table) Has(host string) bool {
	host, ok := normalHost(host)
	return ok && t.hosts[host] != nil
}

// Routes returns a copy of the routes in the order in which they were given.
func (t *Table) Routes() []Route { return append([]Route(nil), t.routes...) }

// find is Lookup for a normalised host; -1 is "no such route". It looks at no more
// segments than the longest prefix has, so a path of a thousand slashes costs nothing.
func (t *Table) find(host, path string) int {
	s := t.hosts[host]
	if s == nil || path == "" || path[0] != '/' {
		return -1
	}
	end := 0
	for range s.depth {
		next := strings.IndexByte(path[min(end+1, len(path)):], '/')
		if next < 0 {
			end = len(path)
			break
		}
		end += 1 + next
	}
	for {
		if i, ok := s.prefixes[path[:end]]; ok {
			return i
		}
		if end == 0 {
			return -1
		}
		end = strings.LastIndexByte(path[:end], '/')
	}
}

// checkRoute returns the normalised host.
func checkRoute(r Route) (string, error) {
	host, ok := normalHost(r.Host)
	switch {
	case !ok:
		return "", errors.New("the host is not a host name")
	case r.Handler == nil:
		return "", errors.New("it has no handler")
	case r.Prefix != "" && !cleanPrefix(r.Prefix):
		return "", errors.New("the prefix is not of the form /name")
	}
	if r.Resource == "" {
		return host, nil
	}
	u, err := url.Parse(r.Resource)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("the resource %q is not a plain http or https URL", r.Resource)
	}
	if at, ok := normalHost(u.Host); !ok || at != host || u.Path != r.Prefix+mcpPath {
		return "", fmt.Errorf("the resource %q is not at %q", r.Resource, host+r.Prefix+mcpPath)
	}
	return host, checkEntries(r.Entries)
}

func checkEntries(entries map[string]string) error {
	for path, at := range entries {
		if path == "" || path == mcpPath || !cleanPrefix(path) || entries[at] != at {
			return fmt.Errorf("the entry %q, configured as %q, is not of the form /name", path, at)
		}
	}
	return nil
}

func cleanPrefix(p string) bool {
	if p[0] != '/' || strings.HasSuffix(p, "/") {
		return false
	}
	for seg := range strings.SplitSeq(p[1:], "/") {
		if seg == "" || seg == "." || seg == ".." || seg == ".well-known" || seg != url.PathEscape(seg) {
			return false
		}
	}
	return true
}
