package router

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pires/go-proxyproto"
)

// doorman is a socket that lets in who may come: as many connections per address as
// and in all are allowed, and with the PROXY protocol trusted proxies only.
type doorman struct {
	net.Listener
	conns    *tally[netip.Addr] // nil: no limits
	crowd    *crowd             // likewise
	chatter  *tally[netip.Addr] // likewise
	trusted  blocks
	proxying bool
}

// behindDoor puts a doorman before each socket. Listening sockets share the counts.
func behindDoor(c Config, sockets []net.Listener, conns, chatter *tally[netip.Addr], all *crowd) []net.Listener {
	trusted := parseBlocks(c.TrustedProxies)
	if conns == nil && chatter == nil && all == nil && !c.ProxyProtocol {
		return sockets
	}
	guarded := make([]net.Listener, len(sockets))
	for i, s := range sockets {
		guarded[i] = &doorman{Listener: s, conns: conns, crowd: all, chatter: chatter, trusted: trusted, proxying: c.ProxyProtocol}
		if c.ProxyProtocol {
			// The header is read by the connection's own goroutine, so that nobody
			// who sends none keeps others from being accepted.
			guarded[i] = &proxyproto.Listener{
				Listener: guarded[i], ReadHeaderTimeout: c.HeaderTimeout, ValidateHeader: networkAddress,
				ConnPolicy: func(proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) { return proxyproto.REQUIRE, nil },
			}
		}
	}
	return guarded
}

// networkAddress refuses a header that tells of a client without an IP address: a
// local socket's, or none. LOCAL is the proxy itself, looking whether we live.
func networkAddress(h *proxyproto.Header) error {
	if _, ok := h.SourceAddr.(*net.TCPAddr); ok || h.Command.IsLocal() {
		return nil
	}
	return fmt.Errorf("cannot use a PROXY protocol header with %v", h.TransportProtocol)
}

// Accept closes those who may not come, and goes on.
func (d *doorman) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer := addrOf(c)
		known := d.trusted.contain(peer)
		if d.proxying && !known {
			_ = c.Close() // who it is nobody told
			continue
		}
		key, counts := subscriber(peer)
		if known || !counts {
			return c, nil
		}
		if !d.enter(key) {
			_ = c.Close() // there is no word to say before TLS
			continue
		}
		return newGuest(c, key, d.chatter, func() { d.crowd.leave(); d.conns.leave(key) }), nil
	}
}

// enter counts a connection of an address, if there is room for one more of it and one more at all.
func (d *doorman) enter(key netip.Addr) bool {
	if _, ok := d.conns.enter(key, time.Time{}); !ok {
		return false
	}
	if !d.crowd.enter() {
		d.conns.leave(key)
		return false
	}
	return true
}

func addrOf(c net.Conn) netip.Addr {
	if at, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return at.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
