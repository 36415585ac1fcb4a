package certs

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The values of Config.Mode.
const (
	ModeAuto     = "auto"
	ModeFiles    = "files"
	ModeInternal = "internal"
	ModeOff      = "off"
)

// Config is the [tls] table.
type Config struct {
	// Mode is where certificates come from: "files" (yours), "internal" (an
	// authority of mcpd's own, see `mcpd trust`), "off" (none: another program in
	// front of mcpd speaks TLS), or "auto": "off". Default: "auto". SIGHUP: no,
	// needs a restart.
	Mode string `koanf:"mode"`

	// Files are the pairs of mode "files". Which one is used is decided by the
	// name that a client asks for. Default: none. SIGHUP: no, needs a restart; the
	// files themselves are read again within seconds after they change.
	Files []Pair `koanf:"files"`

	// Internal is mode "internal".
	Internal InternalConfig `koanf:"internal"`
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
	return Config{Mode: ModeAuto, Internal: InternalConfig{Life: 7 * 24 * time.Hour}}
}

// ModeFor is the mode that "auto" stands for.
func (c Config) ModeFor(string) string {
	if c.Mode == ModeAuto || c.Mode == "" {
		return ModeOff
	}
	return c.Mode
}

// Validate reports everything that is wrong; each error's text begins with its key.
func (c Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	modes := []string{ModeAuto, ModeFiles, ModeInternal, ModeOff}
	if !slices.Contains(modes, c.Mode) {
		wrong("mode: %q must be one of %s", c.Mode, strings.Join(modes, ", "))
	}
	if c.Mode == ModeFiles && len(c.Files) == 0 {
		wrong(`files: mode "files" needs at least one pair, as in [[tls.files]] cert = "/etc/…/fullchain.pem", key = "/etc/…/privkey.pem"`)
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
