package certs

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/mcpd/mcpd/router/certs/dns"
)

// Preflight tries all that a certificate takes short of an order, which would count
// against an authority's limits, and tells of every step how it went. It uses the
// network, and with a DNS provider it writes a record, sees to it that everybody who
// matters sees it, and removes it.
func Preflight(ctx context.Context, o Options, tell func(step string, err error)) {
	switch o.Config.ModeFor(o.Domain) {
	case ModeFiles:
		for _, p := range o.Config.Files {
			l := &loaded{Pair: p}
			if l.read(); l.err == nil {
				if c := certificateOf(l.cert.Leaf); c.Error != "" {
					l.err = errors.New(c.Error)
				}
			}
			tell("certificate "+p.Cert, l.err)
		}
	case ModeACME:
		for _, is := range o.Config.ACME.authorities() {
			tell("certificate authority "+is.Directory, askDirectory(ctx, is))
		}
		if d := o.Config.ACME.DNS; d.Provider != "" {
			s, err := dns.New(d, nil)
			if err == nil {
				err = s.Try(ctx, normal(o.Domain))
			}
			tell("TXT record for "+o.Domain+" by "+d.Provider, err)
		}
		for _, h := range o.Hosts() {
			addrs, err := net.DefaultResolver.LookupHost(ctx, h)
			if err != nil {
				err = fmt.Errorf("cannot find its address, so no client can: %w", err)
			}
			tell(strings.TrimSpace("host "+h+" "+strings.Join(addrs, " ")), err)
		}
	}
}

// askDirectory fetches an authority's directory and looks whether it is one (RFC 8555 §7.1.1).
func askDirectory(ctx context.Context, is Issuer) error {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if is.Root != "" {
		var err error
		if conf.RootCAs, err = poolFrom(is.Root); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, is.Directory, nil)
	if err != nil {
		return fmt.Errorf("cannot ask it: %w", err)
	}
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: conf, Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("cannot ask it: %w", err)
	}
	defer resp.Body.Close()
	var dir struct {
		NewOrder string `json:"newOrder"`
		Meta     struct {
			EAB      bool           `json:"externalAccountRequired"`
			Profiles map[string]any `json:"profiles"`
		} `json:"meta"`
	}
	switch err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&dir); {
	case err != nil || dir.NewOrder == "":
		return fmt.Errorf("what it answers (%s) is no ACME directory", resp.Status)
	case dir.Meta.EAB && is.EABKeyID == "":
		return errors.New("it wants an account of yours there: set eab_key_id and eab_mac_key")
	case is.Profile != "" && dir.Meta.Profiles[is.Profile] == nil:
		return fmt.Errorf("it has no profile %q, but %s", is.Profile, strings.Join(sortedNames(dir.Meta.Profiles), ", "))
	}
	return nil
}
