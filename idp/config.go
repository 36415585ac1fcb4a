package idp

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mcpd/mcpd/idp/upstream"
)

// Config is the [auth] section. Nothing in it changes by SIGHUP: a change needs a restart.
type Config struct {
	// Mode is "oauth" (default), or "none": no sign-in and no tokens, for loopback listeners only.
	Mode string `koanf:"mode"`

	// AccessTTL is how long an access token is good for. Default 1h; at least 1m. Several
	// clients refresh when less than five minutes are left, so shorter than 15m costs a refresh per call.
	AccessTTL time.Duration `koanf:"access_ttl"`

	// RefreshTTL is how long a client may stay away before the person must sign in
	// again; every refresh starts it anew. Default 720h.
	RefreshTTL time.Duration `koanf:"refresh_ttl"`

	// RefreshGrace is how long a refresh token that was just used still yields the same
	// successor, for clients that refresh twice at once. Default 30s; at most 5m; 0 for none.
	RefreshGrace time.Duration `koanf:"refresh_grace"`

	// SessionTTL is how long a browser stays signed in. Default 168h.
	SessionTTL time.Duration `koanf:"session_ttl"`

	// SecondStep is "offered" (default): who has set up a passkey or an app for codes is asked for it after the password
	// or a link; or "required": who has not must do so when they sign in. A passkey alone is two steps in one, and whom a
	// provider vouches for is the provider's to ask.
	SecondStep string `koanf:"second_step"`

	// Device lets programs on devices without a browser sign people in, who type a code on another (RFC 8628). Anybody can
	// send somebody such a code and hope that they type it, so it is off. Default false.
	Device bool `koanf:"device"`

	// Clients are those that the operator knows, by client_id. Default: none.
	Clients map[string]ClientConfig `koanf:"clients"`

	// Providers are services that people can sign in with, by a name of yours. Default: none.
	Providers map[string]upstream.Config `koanf:"providers"`

	// Registration is about clients that register themselves (RFC 7591).
	Registration RegistrationConfig `koanf:"registration"`

	// Documents is about clients whose client_id is the URL of a document about themselves (CIMD).
	Documents DocumentsConfig `koanf:"documents"`
}

// DocumentsConfig is the [auth.documents] section.
type DocumentsConfig struct {
	// Disabled turns such clients away. Default false.
	Disabled bool `koanf:"disabled"`

	// Allow lists which clients may come, by client_id; * stands for any run of characters, as in
	// "https://claude.ai/*". Default: all.
	Allow []string `koanf:"allow"`

	// Pinned are documents, as JSON text, that are used instead of what is at their client_id: for hosts without
	// Internet access. "${file:claude-code.json}" reads one from a file. Default: none.
	Pinned []string `koanf:"pinned"`

	// Networks are address blocks such as "10.1.0.0/16" from which documents are fetched although they are not
	// public. Default: none.
	Networks []string `koanf:"networks"`
}

// RegistrationConfig is the [auth.registration] section.
type RegistrationConfig struct {
	// Disabled turns self-registration off. Default false.
	Disabled bool `koanf:"disabled"`

	// Schemes are the private-use URI schemes (RFC 8252 §7.1) that a redirect URI may
	// have, beside https and http on loopback. Default: those of well-known clients.
	Schemes []string `koanf:"schemes"`

	// Allow lists which clients may register, by where they return to: each redirect URI must match one
	// of these; * stands for any run of characters, as in "https://*.example.com/*". Default: all.
	Allow []string `koanf:"allow"`

	// Rate is how many registrations per minute one address may make. Default 60.
	Rate int `koanf:"rate"`

	// Max is how many clients may be registered; beyond it, the oldest that nobody ever
	// signed in to makes room. Default 10000.
	Max int `koanf:"max"`

	// Unused is how long a registration that nobody ever signed in to is kept. Default 168h.
	Unused time.Duration `koanf:"unused"`
}

// DefaultConfig returns the configuration of an [auth] section that says nothing.
func DefaultConfig() Config {
	return Config{
		Mode:         "oauth",
		AccessTTL:    time.Hour,
		RefreshTTL:   30 * 24 * time.Hour,
		RefreshGrace: 30 * time.Second,
		SessionTTL:   7 * 24 * time.Hour,
		SecondStep:   secondOffered,
		Registration: RegistrationConfig{
			Schemes: []string{"cursor", "vscode", "vscode-insiders", "vscodium", "windsurf", "kiro", "zed", "warp", "claude", "goose", "lmstudio", "raycast", "com.raycast"},
			Allow:   []string{"*"},
			Rate:    60,
			Max:     10_000,
			Unused:  7 * 24 * time.Hour,
		},
		Documents: DocumentsConfig{Allow: []string{"*"}},
	}
}

// Validate reports every key that has an unusable value, each error naming its key.
func (c Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
	if c.Mode != "oauth" && c.Mode != "none" {
		bad("mode", `must be "oauth" or "none", not %q`, c.Mode)
	}
	if c.SecondStep != secondOffered && c.SecondStep != secondRequired {
		bad("second_step", `must be "offered" or "required", not %q`, c.SecondStep)
	}
	within := func(key string, d, least, most time.Duration) {
		if d < least || d > most {
			bad(key, "must be between %s and %s, not %s", least, most, d)
		}
	}
	const year = 366 * 24 * time.Hour
	within("access_ttl", c.AccessTTL, time.Minute, 24*time.Hour)
	within("refresh_ttl", c.RefreshTTL, time.Hour, 2*year)
	within("refresh_grace", c.RefreshGrace, 0, 5*time.Minute)
	within("session_ttl", c.SessionTTL, time.Minute, year)
	within("registration.unused", c.Registration.Unused, time.Hour, year)
	if c.Registration.Rate < 1 {
		bad("registration.rate", "must be at least 1 per minute, not %d", c.Registration.Rate)
	}
	if c.Registration.Max < 1 || c.Registration.Max > 1_000_000 {
		bad("registration.max", "must be between 1 and 1000000, not %d", c.Registration.Max)
	}
	for _, s := range c.Registration.Schemes {
		if !validScheme.MatchString(s) || slices.Contains(activeSchemes, s) {
			bad("registration.schemes", "%q is not a private-use URI scheme", s)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.Clients)) {
		errs = append(errs, c.Clients[id].validate(id, c.Registration.Schemes)...)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Providers)) {
		errs = append(errs, c.Providers[name].Validate("providers", name)...)
		if keys := c.Providers[name].Assertions.Keys; keys != "" {
			if _, err := parseKeys([]byte(keys)); err != nil {
				bad("providers."+name+".assertions.keys", "%v", err)
			}
		}
	}
	if _, err := c.Documents.pinned(c.Registration.Schemes); err != nil {
		errs = append(errs, err)
	}
	if _, err := c.Documents.networks(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

var validScheme = regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`)

// activeSchemes run or read something in the browser, or have rules of their own; no operator can allow them.
var activeSchemes = strings.Fields("http https javascript data file blob filesystem vbscript about view-source chrome resource ftp ws wss mailto tel")
