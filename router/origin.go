package router

import (
	"net/url"
	"strings"
)

// origins decides which web pages may talk to an MCP endpoint (MCP transports,
// "Security warning": servers must validate Origin against DNS rebinding).
type origins struct {
	own    map[string]bool // of the routes and of the issuer
	globs  []string        // configured
	strict bool            // no sign-in: loopback pages only
}

// allowed reports whether a page of this origin may call. A loopback origin is
// always fine: such a page runs on the caller's own machine, and it still needs a
// token. "null" is an origin of sandboxed and redirected pages and never ours.
func (o *origins) allowed(origin string) bool {
	if o.strict {
		return loopbackOrigin(origin)
	}
	if o.own[origin] || loopbackOrigin(origin) {
		return true
	}
	if len(o.globs) == 0 {
		return false
	}
	origin = strings.ToLower(origin)
	for _, g := range o.globs {
		if matchGlob(g, origin) {
			return true
		}
	}
	return false
}

// loopbackOrigin knows http://localhost:6274 and its like, any port, both schemes.
func loopbackOrigin(origin string) bool {
	rest, ok := strings.CutPrefix(origin, "http://")
	if !ok {
		if rest, ok = strings.CutPrefix(origin, "https://"); !ok {
			return false
		}
	}
	host, ok := normalHost(rest)
	return ok && isLoopback(host)
}

// originOf returns the origin of a URL as browsers write it, "" if there is none.
func originOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return ""
	}
	host := strings.ToLower(u.Host)
	switch {
	case u.Scheme == "https":
		host = strings.TrimSuffix(host, ":443")
	case u.Scheme == "http":
		host = strings.TrimSuffix(host, ":80")
	}
	return u.Scheme + "://" + host
}

// matchGlob matches with * for any run of characters but a slash; "*" alone is any
// origin. It is linear: one level of backtracking is enough when only * is special.
func matchGlob(pattern, s string) bool {
	if pattern == "*" {
		return true
	}
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p, i = p+1, i+1
		case star >= 0 && s[mark] != '/':
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
