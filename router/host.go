package router

import (
	"net/netip"
	"strings"
)

// loopbackHost is the name under which the one origin of the loopback mode is routed.
const loopbackHost = "localhost"

// maxHostLen bounds what is looked at: a DNS name has at most 253 characters
// (RFC 1035 §2.3.4), a port at most six more with its colon.
const maxHostLen = 260

// normalHost brings a Host header, or the host of a Route, to the form in which
// hosts are compared: lower case, no port, no trailing dot, no brackets. ok is
// false for what cannot be a host.
func normalHost(s string) (host string, ok bool) {
	if s == "" || len(s) > maxHostLen {
		return "", false
	}
	if s[0] == '[' {
		return normalIPv6(s)
	}
	if i := strings.IndexByte(s, ':'); i >= 0 {
		if !isPort(s[i+1:]) {
			return "", false
		}
		s = s[:i]
	}
	s = strings.TrimSuffix(s, ".")
	upper := false
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '.' && i > 0 && s[i-1] != '.':
		case 'A' <= c && c <= 'Z':
			upper = true
		default:
			return "", false
		}
	}
	if s == "" || s[len(s)-1] == '.' {
		return "", false
	}
	if upper {
		s = strings.ToLower(s)
	}
	return s, true
}

// normalIPv6 reads "[::1]" and "[::1]:8080".
func normalIPv6(s string) (string, bool) {
	addr, port, ok := strings.Cut(s[1:], "]")
	if !ok || (port != "" && (port[0] != ':' || !isPort(port[1:]))) {
		return "", false
	}
	ip, err := netip.ParseAddr(addr)
	if err != nil || !ip.Is6() || ip.Zone() != "" {
		return "", false
	}
	return ip.String(), true
}

// isPort accepts the empty port too: "example.com:" is a valid authority (RFC 3986 §3.2.3).
func isPort(s string) bool {
	if len(s) > 5 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// meant reports whether a connection that was opened for name, by SNI, may carry a
// request for host. It has to be the same host, also where the certificate covers both
// and HTTP/2 would allow to share the connection (RFC 9113 §9.1.1): with one wildcard
// that would be all servers, and what stands before us, or was granted to a connection,
// goes by the name it was opened for. Who shares gets 421 and opens another (RFC 9110
// §15.5.20), as browsers do by themselves.
func meant(name, host string) bool {
	if name == host {
		return true
	}
	name, ok := normalHost(name)
	return ok && name == host
}

// isLoopback reports whether a normalised host can only mean this machine.
// Names below .localhost are left out: resolvers do not agree about them.
func isLoopback(host string) bool {
	switch host {
	case loopbackHost, "127.0.0.1", "::1":
		return true
	}
	if !strings.HasPrefix(host, "127.") {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// oneOrigin maps the three spellings of the loopback origin to one.
func oneOrigin(host string) string {
	if host == "127.0.0.1" || host == "::1" {
		return loopbackHost
	}
	return host
}
