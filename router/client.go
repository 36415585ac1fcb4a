package router

import (
	"net/http"
	"net/netip"
	"strings"
)

// client is who is at the other end of a request, as far as that can be believed.
type client struct {
	key     netip.Addr // what the address is counted by; see subscriber
	remote  bool       // there is a key: it is not on this machine
	counted bool       // in Router.addresses
	secure  bool       // it came to us, or to the trusted proxy before us, with TLS
	plain   bool       // a trusted proxy says that it came without
}

// maxHops is how many proxies one behind another are looked through.
const maxHops = 16

// identify finds the client of a request. What a header says is believed from a trusted
// proxy only, and of several addresses the right-most that is no trusted proxy: what is
// further left came from that client itself, who may write what it likes.
func (r *Router) identify(x *exchange, req *http.Request) error {
	x.client.secure = req.TLS != nil
	if len(r.proxies) == 0 && r.addresses == nil && r.people == nil {
		return nil
	}
	peer, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil {
		return nil // no network in between: a test, or another server's
	}
	addr := peer.Addr().Unmap()
	if r.proxies.contain(addr) {
		client, proto, err := r.forwarded(addr, req.Header)
		if err != nil {
			return err
		}
		if client != addr {
			addr = client
			req.RemoteAddr = netip.AddrPortFrom(addr, 0).String()
			x.rec.Addr = req.RemoteAddr
		}
		if req.TLS == nil {
			x.client.secure, x.client.plain = proto == "https", proto == "http"
		}
	}
	x.client.key, x.client.remote = subscriber(addr)
	return nil
}

// forwarded reads X-Forwarded-For and -Proto, or Forwarded (RFC 7239). A proxy that
// writes one of them passes the other on as the client sent it; so where both are
// there they must agree, or a client could choose its address.
func (r *Router) forwarded(peer netip.Addr, h http.Header) (addr netip.Addr, proto string, err error) {
	old, standard := h["X-Forwarded-For"], h["Forwarded"]
	addr, proto = peer, lastOf(h["X-Forwarded-Proto"])
	if len(old) > 0 {
		addr = r.nearest(peer, old, func(s string) string { return s })
	}
	if len(standard) == 0 {
		return addr, proto, nil
	}
	other := r.nearest(peer, standard, func(s string) string { return parameter(s, "for") })
	if len(old) > 0 && other != addr {
		return addr, "", refuse(http.StatusBadRequest, "Forwarded and X-Forwarded-For name different clients: let the proxy remove the one that it does not write")
	}
	if p := parameter(lastOf(standard), "proto"); p != "" {
		proto = p
	}
	return other, proto, nil
}

// nearest goes from the right to the first address that is no trusted proxy. Where
// something else than an address stands, it stops before it.
func (r *Router) nearest(at netip.Addr, lines []string, node func(string) string) netip.Addr {
	for hops := 0; hops < maxHops && r.proxies.contain(at) && len(lines) > 0; hops++ {
		last := lines[len(lines)-1]
		i := strings.LastIndexByte(last, ',')
		next, ok := parseNode(node(strings.TrimSpace(last[i+1:])))
		if !ok {
			return at
		}
		at = next
		if lines = lines[: len(lines)-1 : len(lines)-1]; i >= 0 {
			lines = append(lines, last[:i])
		}
	}
	return at
}

// parseNode reads an address with or without port, as all the proxies write it.
func parseNode(s string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	return a.Unmap().WithZone(""), err == nil
}

// parameter takes one out of a forwarded-element (RFC 7239 §4).
func parameter(element, name string) string {
	for pair := range strings.SplitSeq(element, ";") {
		if k, v, ok := strings.Cut(strings.TrimSpace(pair), "="); ok && strings.EqualFold(k, name) {
			return strings.Trim(v, `"`)
		}
	}
	return ""
}

// lastOf is the last element of a list header.
func lastOf(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	last := lines[len(lines)-1]
	return strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
}

// blocks are address blocks.
type blocks []netip.Prefix

func (b blocks) contain(a netip.Addr) bool {
	for _, p := range b {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// parseBlocks reads blocks and single addresses; what cannot be read Config.Validate
// has named before.
func parseBlocks(texts []string) blocks {
	var all blocks
	for _, t := range texts {
		if p, ok := parseBlock(t); ok {
			all = append(all, p)
		}
	}
	return all
}

func parseBlock(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err == nil
}
