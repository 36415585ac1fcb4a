package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// lookup asks the DNS.
type lookup struct {
	resolvers []string // host:port
	given     bool     // the operator named them: then they are the witnesses
	port      string   // of authoritative servers
}

// witness is a server that must see a record.
type witness struct{ what, addr string }

func newLookup(resolvers []string) (lookup, error) {
	l := lookup{given: len(resolvers) > 0, port: "53"}
	for _, r := range resolvers {
		l.resolvers = append(l.resolvers, withPort(r))
	}
	if l.given {
		return l, nil
	}
	conf, err := dns.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil {
		return l, fmt.Errorf("cannot find the machine's resolvers: %w; name some in tls.acme.dns.resolvers", err)
	}
	for _, s := range conf.Servers {
		l.resolvers = append(l.resolvers, net.JoinHostPort(s, conf.Port))
	}
	return l, nil
}

// ask asks one server, and again over TCP where the answer does not fit a datagram.
func ask(ctx context.Context, server, name string, kind uint16) (*dns.Msg, error) {
	m := new(dns.Msg).SetQuestion(name, kind)
	m.SetEdns0(1232, false)
	var answer *dns.Msg
	var err error
	for _, network := range []string{"udp", "tcp"} {
		c := &dns.Client{Net: network, Timeout: 5 * time.Second}
		answer, _, err = c.ExchangeContext(ctx, m, server)
		if err == nil && !answer.Truncated {
			break
		}
	}
	return answer, err
}

// resolve asks the resolvers in turn until one has an answer, be it that there is nothing.
func (l lookup) resolve(ctx context.Context, name string, kind uint16) (*dns.Msg, error) {
	var errs []error
	for _, r := range l.resolvers {
		answer, err := ask(ctx, r, name, kind)
		if err == nil && (answer.Rcode == dns.RcodeSuccess || answer.Rcode == dns.RcodeNameError) {
			return answer, nil
		}
		if err == nil {
			err = errors.New(dns.RcodeToString[answer.Rcode])
		}
		errs = append(errs, fmt.Errorf("resolver %s: %w", r, err))
	}
	if len(errs) == 0 {
		errs = append(errs, errors.New("there is no resolver"))
	}
	return nil, fmt.Errorf("cannot look up %s: %w", name, errors.Join(errs...))
}

// delegated follows the CNAMEs of a challenge's name to where the record has to be written.
func (l lookup) delegated(ctx context.Context, name string) (string, error) {
	for range 8 {
		answer, err := l.resolve(ctx, name, dns.TypeCNAME)
		if err != nil {
			return "", err
		}
		i := slices.IndexFunc(answer.Answer, func(rr dns.RR) bool {
			_, ok := rr.(*dns.CNAME)
			return ok && dns.CanonicalName(rr.Header().Name) == dns.CanonicalName(name)
		})
		if i < 0 {
			return name, nil
		}
		if c, ok := answer.Answer[i].(*dns.CNAME); ok {
			name = c.Target
		}
	}
	return "", fmt.Errorf("cannot follow the CNAME of %s: it goes on and on", name)
}

// zone is the zone that a name is in, by the SOA record at its apex.
func (l lookup) zone(ctx context.Context, name string) (string, error) {
	for _, i := range dns.Split(name) {
		answer, err := l.resolve(ctx, name[i:], dns.TypeSOA)
		if err != nil {
			return "", err
		}
		for _, rr := range answer.Answer {
			if soa, ok := rr.(*dns.SOA); ok {
				return soa.Hdr.Name, nil
			}
		}
	}
	return "", fmt.Errorf("cannot find the zone of %s: there is no SOA record", name)
}

// witnesses are who must see a record: the resolvers that were named, else every authoritative server of its zone.
func (l lookup) witnesses(ctx context.Context, name string) (all []witness, err error) {
	if l.given {
		for _, r := range l.resolvers {
			all = append(all, witness{"resolver " + strings.TrimSuffix(r, ":53"), r})
		}
		return all, nil
	}
	zone, err := l.zone(ctx, name)
	if err != nil {
		return nil, err
	}
	answer, err := l.resolve(ctx, zone, dns.TypeNS)
	if err != nil {
		return nil, err
	}
	for _, rr := range answer.Answer {
		ns, ok := rr.(*dns.NS)
		if !ok {
			continue
		}
		addr, err := l.address(ctx, ns.Ns)
		if err != nil {
			return nil, err
		}
		all = append(all, witness{fmt.Sprintf("name server %s (%s)", strings.TrimSuffix(ns.Ns, "."), addr), net.JoinHostPort(addr, l.port)})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("cannot find the name servers of the zone %s", zone)
	}
	return all, nil
}

// address prefers IPv4, which every machine with a DNS has.
func (l lookup) address(ctx context.Context, host string) (string, error) {
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		answer, err := l.resolve(ctx, host, kind)
		if err != nil {
			return "", err
		}
		for _, rr := range answer.Answer {
			switch rr := rr.(type) {
			case *dns.A:
				return rr.A.String(), nil
			case *dns.AAAA:
				return rr.AAAA.String(), nil
			}
		}
	}
	return "", fmt.Errorf("cannot find an address of the name server %s", host)
}

// sees returns "" when a server has the record, and otherwise what it has instead.
func (l lookup) sees(ctx context.Context, w witness, r record) string {
	answer, err := ask(ctx, w.addr, r.name, dns.TypeTXT)
	instead := ""
	switch {
	case err != nil:
		instead = "it does not answer: " + err.Error()
	case answer.Rcode != dns.RcodeSuccess:
		instead = "it answers " + dns.RcodeToString[answer.Rcode]
	default:
		others := 0
		for _, rr := range answer.Answer {
			if txt, ok := rr.(*dns.TXT); ok {
				if strings.Join(txt.Txt, "") == r.value {
					return ""
				}
				others++
			}
		}
		instead = fmt.Sprintf("it has %d other values", others)
	}
	return fmt.Sprintf("%s does not see the TXT record %s yet (%s)", w.what, r.name, instead)
}

func withPort(addr string) string {
	if _, _, err := net.SplitHostPort(addr); err == nil {
		return addr
	}
	return net.JoinHostPort(strings.Trim(addr, "[]"), "53")
}

func absolute(name string) string { return dns.Fqdn(name) }
