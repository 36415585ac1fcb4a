package dns

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// Config is the [tls.acme.dns] table.
type Config struct {
	// Provider is who has the domain's DNS: "rfc2136" for a server that takes DNS
	// updates (BIND, Knot, PowerDNS), or the name of a DNS host; `mcpd check` lists
	// them. With it the certificates are a wildcard and the domain itself, without
	// it one per host. Default: "", none. SIGHUP: no, needs a restart.
	Provider string `koanf:"provider"`

	// Settings are the provider's own: its credentials. The keys are those of lego
	// (go-acme.github.io/lego/dns) without the provider's name and in small letters:
	// CLOUDFLARE_DNS_API_TOKEN is dns_api_token. Those of rfc2136 are nameserver,
	// tsig_key, tsig_secret, tsig_algorithm, zone and ttl.
	// Default: none. SIGHUP: no, needs a restart.
	Settings map[string]string `koanf:"settings"`

	// Resolvers are asked for zones and delegations, and every one of them must see
	// the record before the authority is told to look: addresses, with or without
	// port. Default: none, which asks the machine's own, and then every
	// authoritative server of the zone must see it. SIGHUP: no, needs a restart.
	Resolvers []string `koanf:"resolvers"`

	// Timeout is how long that may take. Default: 2m. SIGHUP: no, needs a restart.
	Timeout time.Duration `koanf:"timeout"`
}

// DefaultConfig returns what holds where the file says nothing.
func DefaultConfig() Config { return Config{Timeout: 2 * time.Minute} }

// Validate reports everything that is wrong; each error's text begins with its key.
func (c Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Timeout < time.Second || c.Timeout > time.Hour {
		wrong("timeout: %v must be between 1s and 1h", c.Timeout)
	}
	for i, r := range c.Resolvers {
		if host, _, err := net.SplitHostPort(withPort(r)); err != nil || net.ParseIP(host) == nil {
			wrong("resolvers[%d]: %q is not an address such as 1.1.1.1", i, r)
		}
	}
	if c.Provider == "" {
		if len(c.Settings) > 0 {
			wrong("provider: must be set, for there are settings of one")
		}
		return errors.Join(errs...)
	}
	known := providers()
	p, ok := known[c.Provider]
	if !ok {
		wrong("provider: %q is not known; there are %s", c.Provider, strings.Join(sortedKeys(known), ", "))
		return errors.Join(errs...)
	}
	all := true
	for _, key := range sortedKeys(c.Settings) {
		if !slices.Contains(p.keys, key) {
			wrong("settings.%s: unknown; %s has %s", key, c.Provider, strings.Join(p.keys, ", "))
			all = false
		}
	}
	if all {
		if _, err := p.build(c.Settings); err != nil {
			wrong("settings: %s", strings.ReplaceAll(redact(err.Error(), c.Settings), "\n", "; "))
		}
	}
	return errors.Join(errs...)
}

// secret tells by its key whether a setting's value must not be shown.
func secret(key string) bool {
	return slices.ContainsFunc([]string{"token", "secret", "password", "api_key", "application_key", "consumer_key", "access_key"}, func(word string) bool {
		return strings.Contains(key, word)
	})
}

// redact takes the provider's secrets out of a text: their APIs quote what they were sent, some in URLs.
func redact(text string, settings map[string]string) string {
	for key, value := range settings {
		if len(value) >= 6 && secret(key) { // a shorter one is none, and would tear the text to pieces
			text = strings.ReplaceAll(text, value, "***")
		}
	}
	return text
}
