package cimd

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
)

// guard decides which addresses a fetch may connect to.
type guard struct {
	global  netip.Prefix   // all of IPv6 that is given out for the public Internet
	special []netip.Prefix // never public
	allowed []netip.Prefix // reachable all the same
}

// specialPurpose are the blocks of the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890) that
// are not the public Internet, or that lead to another address: NAT64, 6to4, Teredo.
const specialPurpose = `
	0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.31.196.0/24
	192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
	2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20`

func newGuard(allowed []netip.Prefix) (*guard, error) {
	g := &guard{global: netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20}), 3), allowed: allowed}
	for _, s := range strings.Fields(specialPurpose) {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("cannot parse address block: %w", err)
		}
		g.special = append(g.special, p)
	}
	return g, nil
}

// public reports whether an address may be connected to.
func (g *guard) public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	within := func(p netip.Prefix) bool { return p.Contains(a) }
	if slices.ContainsFunc(g.allowed, within) {
		return true
	}
	return a.IsValid() && (a.Is4() || g.global.Contains(a)) && !slices.ContainsFunc(g.special, within)
}

// errAddress says that a name leads where no public document is.
type errAddress struct{ address string }

func (e errAddress) Error() string {
	return "cannot connect to " + e.address + ": it is not a public address"
}

// control is a net.Dialer's: it sees the address that is being connected to, after every resolution.
func (g *guard) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || !g.public(ap.Addr()) {
		return errAddress{address}
	}
	return nil
}
