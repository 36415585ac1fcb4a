package dns

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// rfc2136 writes by DNS UPDATE (RFC 2136), signed with TSIG (RFC 8945). It adds and
// deletes one value, so that apex and wildcard do not get in each other's way.
type rfc2136 struct {
	server      string
	key, secret string // key is "" for a server that goes by addresses
	algorithm   string
	zoneName    string // "" asks the server
	ttl         uint32
}

func newRFC2136(settings map[string]string) (provider, error) {
	p := &rfc2136{
		server: settings["nameserver"], secret: settings["tsig_secret"], algorithm: dns.HmacSHA256, ttl: 60,
	}
	if p.server == "" {
		return nil, errors.New("nameserver is missing: the address that takes updates, such as 192.0.2.1 or ns.example.com:53")
	}
	p.server = withPort(p.server)
	if key := settings["tsig_key"]; key != "" {
		p.key = dns.CanonicalName(key)
	}
	if (p.key == "") != (p.secret == "") {
		return nil, errors.New("tsig_key and tsig_secret go together")
	}
	if a := settings["tsig_algorithm"]; a != "" {
		p.algorithm = dns.Fqdn(strings.ToLower(a))
		switch p.algorithm {
		case dns.HmacSHA1, dns.HmacSHA224, dns.HmacSHA256, dns.HmacSHA384, dns.HmacSHA512:
		default:
			return nil, fmt.Errorf("tsig_algorithm %q is not hmac-sha256, -sha1, -sha224, -sha384 or -sha512", a)
		}
	}
	if z := settings["zone"]; z != "" {
		p.zoneName = dns.CanonicalName(z)
	}
	if t := settings["ttl"]; t != "" {
		n, err := strconv.ParseUint(t, 10, 31)
		if err != nil {
			return nil, fmt.Errorf("ttl %q is no number of seconds", t)
		}
		p.ttl = uint32(n)
	}
	return p, nil
}

func (p *rfc2136) serial() bool { return false }

func (p *rfc2136) add(ctx context.Context, r record) error {
	return p.update(ctx, r, (*dns.Msg).Insert)
}

func (p *rfc2136) remove(ctx context.Context, r record) error {
	return p.update(ctx, r, (*dns.Msg).Remove)
}

func (p *rfc2136) update(ctx context.Context, r record, change func(*dns.Msg, []dns.RR)) error {
	zone, err := p.zone(ctx, r.name)
	if err != nil {
		return err
	}
	m := new(dns.Msg).SetUpdate(zone)
	change(m, []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: r.name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: p.ttl}, Txt: []string{r.value}}})
	c := &dns.Client{Net: "tcp", Timeout: 10 * time.Second}
	if p.key != "" {
		c.TsigSecret = map[string]string{p.key: p.secret}
		m.SetTsig(p.key, p.algorithm, 300, time.Now().Unix())
	}
	answer, _, err := c.ExchangeContext(ctx, m, p.server)
	if answer != nil && answer.Rcode != dns.RcodeSuccess { // a TSIG error is here too, and in err
		return p.refused(zone, answer)
	}
	if err != nil {
		return fmt.Errorf("the name server %s does not answer: %w", p.server, err)
	}
	return nil
}

// zone is the one that the server itself says the name is in.
func (p *rfc2136) zone(ctx context.Context, name string) (string, error) {
	if p.zoneName != "" {
		return p.zoneName, nil
	}
	for _, i := range dns.Split(name) {
		answer, err := ask(ctx, p.server, name[i:], dns.TypeSOA)
		if err != nil {
			return "", fmt.Errorf("the name server %s does not answer: %w", p.server, err)
		}
		for _, rr := range append(answer.Answer, answer.Ns...) {
			if soa, ok := rr.(*dns.SOA); ok && dns.IsSubDomain(soa.Hdr.Name, name) {
				return soa.Hdr.Name, nil
			}
		}
	}
	return "", fmt.Errorf("the name server %s has no zone that this name is in", p.server)
}

// refused says what a response code means here (RFC 2136 §2.2, RFC 8945 §5.2).
func (p *rfc2136) refused(zone string, answer *dns.Msg) error {
	who, key := "the name server "+p.server, strings.TrimSuffix(p.key, ".")
	if t := answer.IsTsig(); t != nil {
		switch t.Error {
		case dns.RcodeBadSig:
			return fmt.Errorf("%s knows the TSIG key %s, but not with this tsig_secret or tsig_algorithm (BADSIG)", who, key)
		case dns.RcodeBadKey:
			return fmt.Errorf("%s does not know the TSIG key %s, or not with %s (BADKEY)", who, key, strings.TrimSuffix(p.algorithm, "."))
		case dns.RcodeBadTime:
			return fmt.Errorf("the clocks of this machine and of %s differ by more than 5 minutes (BADTIME)", who)
		}
	}
	code := dns.RcodeToString[answer.Rcode]
	switch answer.Rcode {
	case dns.RcodeRefused:
		if p.key == "" {
			return fmt.Errorf("zone %s found, but %s takes no update from this address without a TSIG key (%s)", zone, who, code)
		}
		return fmt.Errorf("zone %s found, but at %s the TSIG key %s may not write this name (%s)", zone, who, key, code)
	case dns.RcodeNotAuth:
		if p.key != "" {
			return fmt.Errorf("%s does not accept the TSIG key %s, or is not the primary of the zone %s (%s)", who, key, zone, code)
		}
		return fmt.Errorf("%s is not the primary of the zone %s (%s)", who, zone, code)
	case dns.RcodeNotZone:
		return fmt.Errorf("the name is not in the zone %s (%s)", zone, code)
	}
	return fmt.Errorf("%s does not make the update of the zone %s: %s", who, zone, code)
}
