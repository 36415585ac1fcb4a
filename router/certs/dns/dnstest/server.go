package dnstest

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// The TSIG key that updates are signed with.
const (
	Key       = "acme."
	Secret    = "c2VjcmV0IG9mIHRoZSB0ZXN0IHNlcnZlciAwMTIzNDU="
	Algorithm = dns.HmacSHA256
)

// Server is a running server.
type Server struct {
	Addr string // host:port, for UDP and TCP

	mu      sync.Mutex
	zones   []string
	records []dns.RR
	blind   bool
	closed  []string
	updates int
}

// New starts a server for some zones until the test's end. Every name in them has the address 127.0.0.1.
func New(t testing.TB, zones ...string) *Server {
	t.Helper()
	s := &Server{}
	for _, z := range zones {
		s.zones = append(s.zones, dns.CanonicalName(z))
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Addr = tcp.Addr().String()
	udp, err := net.ListenPacket("udp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range []*dns.Server{{Listener: tcp}, {PacketConn: udp}} {
		started := make(chan struct{})
		server.Handler, server.TsigSecret = dns.HandlerFunc(s.answer), map[string]string{Key: Secret}
		server.MsgAcceptFunc = func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept } // updates too
		server.NotifyStartedFunc = func() { close(started) }
		ended := make(chan struct{})
		// Ends with Shutdown, at the test's end.
		go func() {
			defer close(ended)
			_ = server.ActivateAndServe()
		}()
		<-started
		t.Cleanup(func() {
			_ = server.Shutdown()
			<-ended
		})
	}
	return s
}

// Add adds records in the form of a zone file.
func (s *Server) Add(t testing.TB, lines ...string) {
	t.Helper()
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		s.records = append(s.records, rr)
		s.mu.Unlock()
	}
}

// Blind makes a server show no TXT record, as one that lags behind, or ends that.
func (s *Server) Blind(blind bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blind = blind
}

// Close refuses updates of names below this one.
func (s *Server) Close(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = append(s.closed, dns.CanonicalName(name))
}

// TXT returns the values at a name, and how many updates there were in all.
func (s *Server) TXT(name string) (values []string, updates int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rr := range s.find(dns.CanonicalName(name), dns.TypeTXT) {
		if txt, ok := rr.(*dns.TXT); ok {
			values = append(values, strings.Join(txt.Txt, ""))
		}
	}
	return values, s.updates
}

func (s *Server) answer(w dns.ResponseWriter, r *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := new(dns.Msg).SetReply(r)
	if r.Opcode == dns.OpcodeUpdate {
		s.update(w, r, m)
	} else {
		s.query(r.Question[0], m)
	}
	_ = w.WriteMsg(m)
}

func (s *Server) zone(name string) string {
	best := ""
	for _, z := range s.zones {
		if dns.IsSubDomain(z, name) && len(z) > len(best) {
			best = z
		}
	}
	return best
}

func (s *Server) query(q dns.Question, m *dns.Msg) {
	name := dns.CanonicalName(q.Name)
	zone := s.zone(name)
	if zone == "" {
		m.Rcode = dns.RcodeRefused
		return
	}
	m.Authoritative = true
	for range 8 {
		m.Answer = append(m.Answer, s.find(name, q.Qtype)...)
		alias := s.find(name, dns.TypeCNAME)
		if q.Qtype == dns.TypeCNAME || len(alias) == 0 {
			break
		}
		m.Answer = append(m.Answer, alias...)
		if c, ok := alias[0].(*dns.CNAME); ok {
			name = dns.CanonicalName(c.Target)
		}
	}
	soa, _ := dns.NewRR(zone + " 60 IN SOA ns." + zone + " admin." + zone + " 1 60 60 60 60")
	switch {
	case name == zone && q.Qtype == dns.TypeSOA:
		m.Answer = append(m.Answer, soa)
	case name == zone && q.Qtype == dns.TypeNS && len(m.Answer) == 0:
		ns, _ := dns.NewRR(zone + " 60 IN NS ns." + zone)
		m.Answer = append(m.Answer, ns)
	case q.Qtype == dns.TypeA && len(m.Answer) == 0:
		a, _ := dns.NewRR(name + " 60 IN A 127.0.0.1")
		m.Answer = append(m.Answer, a)
	case len(m.Answer) == 0:
		m.Ns = append(m.Ns, soa)
	}
}

func (s *Server) find(name string, kind uint16) (found []dns.RR) {
	if s.blind && kind == dns.TypeTXT {
		return nil
	}
	for _, rr := range s.records {
		if dns.CanonicalName(rr.Header().Name) == name && rr.Header().Rrtype == kind {
			found = append(found, rr)
		}
	}
	return found
}

// update is RFC 2136 §3 as far as single values go.
func (s *Server) update(w dns.ResponseWriter, r, m *dns.Msg) {
	t := r.IsTsig()
	if t == nil {
		m.Rcode = dns.RcodeRefused
		return
	}
	if w.TsigStatus() != nil {
		m.Rcode = dns.RcodeNotAuth
		m.SetTsig(Key, Algorithm, 300, int64(t.TimeSigned))
		if tsig := m.IsTsig(); tsig != nil {
			tsig.Error = dns.RcodeBadSig
			if dns.CanonicalName(t.Hdr.Name) != Key {
				tsig.Error = dns.RcodeBadKey
			}
		}
		return
	}
	m.SetTsig(Key, Algorithm, 300, int64(t.TimeSigned))
	if !slices.Contains(s.zones, dns.CanonicalName(r.Question[0].Name)) {
		m.Rcode = dns.RcodeNotAuth
		return
	}
	for _, rr := range r.Ns {
		name := dns.CanonicalName(rr.Header().Name)
		if slices.ContainsFunc(s.closed, func(c string) bool { return dns.IsSubDomain(c, name) }) {
			m.Rcode = dns.RcodeRefused
			return
		}
		s.updates++
		if rr.Header().Class == dns.ClassNONE {
			s.records = slices.DeleteFunc(s.records, func(old dns.RR) bool {
				a, ok1 := old.(*dns.TXT)
				b, ok2 := rr.(*dns.TXT)
				return ok1 && ok2 && dns.CanonicalName(old.Header().Name) == name && slices.Equal(a.Txt, b.Txt)
			})
			continue
		}
		s.records = append(s.records, rr)
	}
}

// Replace makes value the only TXT value at a name, or "" none, as the API of many a DNS host does.
func (s *Server) Replace(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name = dns.CanonicalName(name)
	s.records = slices.DeleteFunc(s.records, func(rr dns.RR) bool {
		return rr.Header().Rrtype == dns.TypeTXT && dns.CanonicalName(rr.Header().Name) == name
	})
	if value != "" {
		s.records = append(s.records, &dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 1}, Txt: []string{value}})
	}
}
