package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Config is one [auth.providers.NAME]: a service that people can sign in with. Its redirect URI is
// https://auth.<domain>/login/from/NAME. SIGHUP: no, needs a restart.
type Config struct {
	// Type is "oidc" for any OpenID Connect provider, "google" or "github". Default "oidc".
	Type string `koanf:"type"`

	// Label is what the button on the sign-in page says after "Continue with". Default: Google, GitHub, or NAME.
	Label string `koanf:"label"`

	// URL is the issuer of an OpenID Connect provider, byte by byte, or a GitHub Enterprise Server. It is https; http only on this
	// computer. Default: Google's and GitHub's own; "oidc" needs one.
	URL string `koanf:"url"`

	// ClientID and ClientSecret are what the provider gave mcpd when it was registered there. No default.
	ClientID     string `koanf:"client_id"`
	ClientSecret string `koanf:"client_secret"`

	// Scopes are asked for beside those that the sign-in itself takes. Default: none; for GitHub "read:org" while Groups is not "-".
	Scopes []string `koanf:"scopes"`

	// Groups is the claim that lists a person's groups, "-" for none. From GitHub come the organisations, and the teams
	// as "organisation/team", however it is called. Default "groups"; for Google "-", it has no such claim.
	Groups string `koanf:"groups"`

	// Prefix is put before the names of groups, for allow = ["group:…"]: where anybody can make a group of any name, as on
	// GitHub, one must not be taken for that of another provider. Default: none; from GitHub "NAME/".
	Prefix string `koanf:"prefix"`

	// MaxAge is for how long the provider's word is taken: so long after signing in there a person's browser and programs
	// stay connected, then they sign in again. Whoever was removed there is out here after that at the latest. Default 168h; at least 5m.
	MaxAge time.Duration `koanf:"max_age"`

	// Recheck has the provider asked again whenever a program refreshes, whether the person is still there and in which groups: who
	// was removed there is out here after auth.access_ttl at the latest, not max_age. For that mcpd keeps a refresh token of the
	// provider's for each person, encrypted, where it gives one (scope offline_access). Only for type "oidc". Default false.
	Recheck bool `koanf:"recheck"`

	// Link lets people who are users already link an identity there, on their account page, and sign in with it too. It gives them
	// no group. Default false; those that are linked count only while it is true.
	Link bool `koanf:"link"`

	// Assertions are what programs bring from the provider instead of a sign-in.
	Assertions Assertions `koanf:"assertions"`
}

const (
	typeOpenID = "oidc"
	typeGoogle = "google"
	typeGitHub = "github"

	noGroups      = "-"
	googleURL     = "https://accounts.google.com"
	gitHubURL     = "https://github.com"
	gitHubAPI     = "https://api.github.com"
	defaultMaxAge = 7 * 24 * time.Hour
)

// resolved is c with what holds where nothing is said.
func (c Config) resolved(name string) Config {
	or := func(s *string, otherwise string) {
		if *s == "" {
			*s = otherwise
		}
	}
	or(&c.Type, typeOpenID)
	switch c.Type {
	case typeGoogle:
		or(&c.Label, "Google")
		or(&c.URL, googleURL)
		c.URL = strings.TrimSuffix(c.URL, "/") // any other stays as it is: an issuer may end in one (Auth0), and is compared exactly
		or(&c.Groups, noGroups)
	case typeGitHub:
		or(&c.Label, "GitHub")
		or(&c.URL, gitHubURL)
		or(&c.Prefix, name+"/")
		c.URL = strings.TrimSuffix(c.URL, "/")
	}
	or(&c.Label, name)
	or(&c.Groups, "groups")
	c.Assertions = c.Assertions.resolved()
	if c.MaxAge == 0 {
		c.MaxAge = defaultMaxAge
	}
	return c
}

var (
	validName  = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	validScope = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]+$`) // RFC 6749 §3.3
)

// Validate returns what is wrong with the provider of that name in a table, each error beginning with its key.
func (c Config) Validate(table, name string) (errs []error) {
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s.%s.%s: %s", table, name, key, fmt.Sprintf(format, args...)))
	}
	if !validName.MatchString(name) {
		errs = append(errs, fmt.Errorf(table+": %q cannot be a provider's name: small letters, digits and dashes, at most 32", name))
	}
	switch c.Type {
	case "", typeOpenID, typeGoogle, typeGitHub:
	default:
		bad("type", `must be "oidc", "google" or "github", not %q`, c.Type)
	}
	all := c.resolved(name)
	if err := checkURL(all.URL); err != nil {
		bad("url", "%v", err)
	}
	if c.ClientID == "" {
		bad("client_id", "is missing: the provider gave it to you")
	}
	if c.ClientSecret == "" && all.Type != typeOpenID {
		bad("client_secret", "is missing: the provider gave it to you")
	}
	for _, s := range c.Scopes {
		if !validScope.MatchString(s) {
			bad("scopes", "%q is not a scope", s)
		}
	}
	if c.Recheck && all.Type != typeOpenID {
		bad("recheck", "is for type \"oidc\" only")
	}
	c.Assertions.validate(all.Type, bad)
	if all.MaxAge < 5*time.Minute {
		bad("max_age", "must be at least 5m, not %s", c.MaxAge)
	}
	if len(c.Prefix) > 60 {
		bad("prefix", "must be at most 60 bytes")
	}
	if len(c.Label) > 60 {
		bad("label", "must be at most 60 bytes")
	}
	return errs
}

// checkURL wants an https URL without anything that an issuer cannot have, or http to this computer.
func checkURL(raw string) error {
	if raw == "" {
		return errors.New("is missing: the issuer of the provider, as in \"https://login.example.com\"")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%q is not the URL of an issuer", raw)
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Host)) {
		return fmt.Errorf("%q must be https", raw)
	}
	return nil
}

func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && a.IsLoopback()
}
