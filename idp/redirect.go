package idp

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// maxRedirect bounds one redirect URI, in bytes.
const maxRedirect = 2048

// checkRedirect says whether a client may register a redirect URI: https to a host,
// http to this computer (RFC 8252 §7.3), or a private-use scheme that the operator
// allows (RFC 8252 §7.1). The error's text is for the client's developer.
func checkRedirect(raw string, schemes []string) error {
	u, err := parseRedirect(raw)
	if err != nil {
		return err
	}
	switch u.Scheme {
	case "https":
		if strings.Contains(u.Host, "*") {
			return fmt.Errorf("wildcards are not supported")
		}
		if u.Hostname() == "" {
			return fmt.Errorf("it has no host")
		}
	case "http":
		if !loopbackHost(u.Hostname()) {
			return fmt.Errorf("http is for localhost, 127.0.0.1 and [::1] only; use https")
		}
	default:
		if !slices.Contains(schemes, u.Scheme) {
			return fmt.Errorf("the scheme %q is not allowed here; the operator can add it to registration.schemes", u.Scheme)
		}
	}
	return nil
}

// matchRedirect compares a requested redirect URI with a registered one: exactly, but
// for the port of http on loopback, which a native client picks when it starts
// (RFC 8252 §7.3, OAuth 2.1 §8.4.2). localhost, 127.0.0.1 and [::1] are three different hosts.
func matchRedirect(registered, requested string) bool {
	if registered == requested {
		_, err := parseRedirect(requested)
		return err == nil
	}
	a, err := parseRedirect(registered)
	if err != nil || a.Scheme != "http" || !loopbackHost(a.Hostname()) {
		return false
	}
	b, err := parseRedirect(requested)
	if err != nil {
		return false
	}
	return b.Scheme == "http" && strings.EqualFold(a.Hostname(), b.Hostname()) &&
		a.EscapedPath() == b.EscapedPath() && a.RawQuery == b.RawQuery && a.ForceQuery == b.ForceQuery
}

// parseRedirect refuses what browsers, url.Parse and people may read differently.
func parseRedirect(raw string) (*url.URL, error) {
	if len(raw) > maxRedirect {
		return nil, fmt.Errorf("it is longer than %d bytes", maxRedirect)
	}
	for n := range len(raw) {
		if c := raw[n]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			return nil, fmt.Errorf("it has a character that must be percent-encoded")
		}
	}
	if strings.Contains(raw, "#") {
		return nil, fmt.Errorf("it must have no fragment") // RFC 6749 §3.1.2
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" {
		return nil, fmt.Errorf("it is not an absolute URI")
	}
	if u.User != nil {
		return nil, fmt.Errorf("it must have no user name")
	}
	if (u.Scheme == "http" || u.Scheme == "https") && (u.Opaque != "" || u.Host == "") {
		return nil, fmt.Errorf("it has no host")
	}
	return u, nil
}

// checkLogoutURIs says whether a client may name these as places to go after signing out: a web page, as for redirects.
func checkLogoutURIs(uris []string) error {
	if len(uris) > maxRedirects {
		return fmt.Errorf("there are more than %d post_logout_redirect_uris", maxRedirects)
	}
	for n, uri := range uris {
		if err := checkRedirect(uri, nil); err != nil {
			return fmt.Errorf("post_logout_redirect_uris[%d]: %w", n, err)
		}
	}
	return nil
}

// httpsURL says whether a client's word for its home page is one.
func httpsURL(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Scheme == "https" && u.Host != "" && len(raw) <= maxMetadata
}

func loopbackHost(host string) bool {
	return strings.EqualFold(host, "localhost") || host == "127.0.0.1" || host == "::1"
}

// destination is where a person is told the client will get its answer.
type destination struct {
	Name  string // what to show: a host, or the scheme of an app
	Local bool   // a program on this computer
	App   bool   // an app that claims a URI scheme
}

func destinationOf(redirect string) destination {
	u, err := parseRedirect(redirect)
	switch {
	case err != nil:
		return destination{Name: "an unknown place"}
	case u.Scheme == "http":
		return destination{Name: "this computer (" + u.Host + ")", Local: true}
	case u.Scheme == "https":
		return destination{Name: u.Host, Local: loopbackHost(u.Hostname())}
	}
	return destination{Name: "the app that opens " + u.Scheme + ": links", App: true}
}
