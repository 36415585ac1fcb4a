package systemd

import (
	"net"
	"slices"
	"strconv"
	"strings"
)

// word quotes one word of a list or a command line in a unit file (systemd.syntax(7), "Quoting"). A command line
// must begin with ":" so that $ means nothing in it.
func word(s string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("/._-+@:,=~", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%").Replace(s) + `"`
}

// path writes a path where the rest of the line is one.
func path(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// listenStreams writes addresses as ListenStream= takes them. later tells that one of them is an address that the machine
// may get only after the socket is opened. What has no port or host that is fixed now, mcpd opens itself.
func listenStreams(addresses []string, ipv6 bool) (lines []string, later bool) {
	add := func(line string) {
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	for _, a := range addresses {
		host, port, err := net.SplitHostPort(a)
		if n, bad := strconv.Atoi(port); err != nil || bad != nil || n == 0 {
			continue
		}
		ip := net.ParseIP(host)
		switch {
		case host == "":
			add(port) // every address, IPv4 too
		case host == "localhost":
			add(net.JoinHostPort("127.0.0.1", port))
			if ipv6 {
				add(net.JoinHostPort("::1", port))
			}
		case ip != nil:
			add(net.JoinHostPort(ip.String(), port))
			later = later || !ip.IsLoopback() && !ip.IsUnspecified()
		}
	}
	return lines, later
}
