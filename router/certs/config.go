package certs

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mcpd/mcpd/router/certs/dns"
)

// The values of Config.Mode.
const (
	ModeAuto     = "auto"
	ModeACME     = "acme"
	ModeFiles    = "files"
	ModeInternal = "internal"
	ModeOff      = "off"
)

// Config is the [tls] table.
type Config struct {
	// Mode is where certificates come from: "acme" (a public authority such as
	// Let's Encrypt), "files" (yours), "internal" (an authority of mcpd's own, see
	// `mcpd trust`), "off" (none: another program in front of mcpd speaks TLS), or
	// "auto": "acme", and "off" where domain is "localhost". Default: "auto".
	// SIGHUP: no, needs a restart.
	Mode string `koanf:"mode"`

	// ACME is mode "acme".
	ACME ACMEConfig `koanf:"acme"`

	// Files are the pairs of mode "files". Which one is used is decided by the
	// name that a client asks for. Default: none. SIGHUP: no, needs a restart; the
	// files themselves are read again within seconds after they change.
	Files []Pair `koanf:"files"`

	// Internal is mode "internal".
	Internal InternalConfig `koanf:"internal"`
}

// ACMEConfig is the [tls.acme] table.
type ACMEConfig struct {
	// Email is where the authority writes when something is wrong with a
	// certificate. Default: "", nowhere. SIGHUP: no, needs a restart.
	Email string `koanf:"email"`

	// Staging takes Let's Encrypt's staging authority: nobody trusts its
	// certificates, and its limits are wide. Default: false. SIGHUP: no, needs a
	// restart.
	Staging bool `koanf:"staging"`

	// ARI renews when the authority proposes it (RFC 9773), and not only in the
	// last third of a certificate's life. Default: true. SIGHUP: no, needs a restart.
	ARI bool `koanf:"ari"`

	// Issuers are the authorities, in the order in which they are tried. Default:
	// Let's Encrypt. SIGHUP: no, needs a restart.
	Issuers []Issuer `koanf:"issuers"`

	// DNS proves the domain by a TXT record, which makes one wildcard of it all.
	DNS dns.Config `koanf:"dns"`
}

// Issuer is one of [[tls.acme.issuers]].
type Issuer struct {
	// Directory is the authority's ACME directory: "letsencrypt",
	// "letsencrypt-staging", "zerossl", "google", or a URL.
	Directory string `koanf:"directory"`
	// EABKeyID and EABMACKey bind our account to one that you have there, where the
	// authority wants that (RFC 8555 §7.3.4).
	EABKeyID  string `koanf:"eab_key_id"`
	EABMACKey string `koanf:"eab_mac_key"`
	// Profile is the kind of certificate, of those that the authority offers, such
	// as "shortlived". Default: "", the authority's own choice.
	Profile string `koanf:"profile"`
	// Root is a PEM file with the root that the authority's own HTTPS is verified
	// by, instead of the machine's, for a private authority. Default: "".
	Root string `koanf:"root"`
}

// directories are the authorities that have a name.
func directories() map[string]string {
	return map[string]string{
		"letsencrypt":         "https://acme-v02.api.letsencrypt.org/directory",
		"letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
		"zerossl":             "https://acme.zerossl.com/v2/DV90",
		"google":              "https://dv.acme-v02.api.pki.goog/directory",
	}
}

// authorities are the issuers with their URLs.
func (c ACMEConfig) authorities() []Issuer {
	list := c.Issuers
	if len(list) == 0 {
		list = []Issuer{{Directory: "letsencrypt"}}
		if c.Staging {
			list = []Issuer{{Directory: "letsencrypt-staging"}}
		}
	}
	all := slices.Clone(list)
	for i, is := range all {
		if u := directories()[is.Directory]; u != "" {
			all[i].Directory = u
		}
	}
	return all
}

// validate reports what is wrong, with the key in the front.
func (c ACMEConfig) validate() (errs []error) {
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("acme."+format, args...)) }
	if c.Email != "" && !strings.Contains(c.Email, "@") {
		wrong("email: %q is no address", c.Email)
	}
	if c.Staging && len(c.Issuers) > 0 {
		wrong(`staging: is for the default issuer; with issuers name "letsencrypt-staging" there`)
	}
	for i, is := range c.Issuers {
		if u, err := url.Parse(is.Directory); directories()[is.Directory] == "" && (err != nil || u.Scheme != "https" || u.Host == "") {
			wrong("issuers[%d].directory: %q must be an https URL or one of letsencrypt, letsencrypt-staging, zerossl, google", i, is.Directory)
		}
		if (is.EABKeyID == "") != (is.EABMACKey == "") {
			wrong("issuers[%d].eab_mac_key: eab_key_id and eab_mac_key go together", i)
		}
		if is.EABKeyID == "" && (is.Directory == "zerossl" || is.Directory == "google") {
			wrong("issuers[%d].eab_key_id: %s wants an account of yours there: eab_key_id and eab_mac_key", i, is.Directory)
		}
		if is.Root != "" && !filepath.IsAbs(is.Root) {
			wrong("issuers[%d].root: %q must be an absolute path of a PEM file", i, is.Root)
		}
	}
	return errs
}

// Pair is a certificate with its key, as PEM files with absolute paths.
type Pair struct {
	// Cert has the chain, the server's own certificate first.
	Cert string `koanf:"cert"`
	// Key has the private key of the first certificate.
	Key string `koanf:"key"`
}

// InternalConfig is the [tls.internal] table.
type InternalConfig struct {
	// Life is how long a certificate of the internal authority is good; it is
	// replaced after two thirds of that. Default: 7d. SIGHUP: no, needs a restart.
	Life time.Duration `koanf:"life"`
}

// DefaultConfig returns what holds where the file says nothing.
func DefaultConfig() Config {
	return Config{Mode: ModeAuto, ACME: ACMEConfig{ARI: true, DNS: dns.DefaultConfig()}, Internal: InternalConfig{Life: 7 * 24 * time.Hour}}
}

// ModeFor is the mode that "auto" stands for.
func (c Config) ModeFor(domain string) string {
	switch {
	case c.Mode != ModeAuto:
		return c.Mode
	case domain == localDomain:
		return ModeOff
	}
	return ModeACME
}

// localDomain is the domain that is this machine alone: no authority knows it.
const localDomain = "localhost"

// Validate reports everything that is wrong; each error's text begins with its key.
func (c Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	modes := []string{ModeAuto, ModeACME, ModeFiles, ModeInternal, ModeOff}
	if !slices.Contains(modes, c.Mode) {
		wrong("mode: %q must be one of %s", c.Mode, strings.Join(modes, ", "))
	}
	if c.Mode == ModeFiles && len(c.Files) == 0 {
		wrong(`files: mode "files" needs at least one pair, as in [[tls.files]] cert = "/etc/…/fullchain.pem", key = "/etc/…/privkey.pem"`)
	}
	errs = append(errs, c.ACME.validate()...)
	if many, ok := c.ACME.DNS.Validate().(interface{ Unwrap() []error }); ok {
		for _, err := range many.Unwrap() {
			wrong("acme.dns.%w", err)
		}
	}
	for i, p := range c.Files {
		for _, f := range []struct{ key, path string }{{"cert", p.Cert}, {"key", p.Key}} {
			if !filepath.IsAbs(f.path) {
				wrong("files[%d].%s: %q must be an absolute path of a PEM file", i, f.key, f.path)
			}
		}
	}
	if c.Internal.Life < time.Hour || c.Internal.Life > maxInternalLife {
		wrong("internal.life: %v must be between 1h and 397d", c.Internal.Life)
	}
	return errors.Join(errs...)
}

// maxInternalLife is what browsers and Apple's systems accept of any authority.
const maxInternalLife = 397 * 24 * time.Hour
