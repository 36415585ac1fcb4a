package router

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Config is the [listen] table.
type Config struct {
	// HTTPS is the address of the listener with TLS, host:port. "localhost" means
	// both loopback addresses, 127.0.0.1 and [::1]; an empty host means every
	// address of the machine; port 0 means any free port; "none" means no such
	// listener. Default: "auto", which is ":443" with TLS and "none" without.
	// SIGHUP: no, needs a restart.
	HTTPS string `koanf:"https"`

	// HTTP is the address of the plain listener, written like HTTPS. Beside one with
	// TLS it only sends people there, and answers a certificate authority. Default:
	// "auto", which is ":80" with TLS and "localhost:8080" without. SIGHUP: no,
	// needs a restart.
	HTTP string `koanf:"http"`

	// PublicPort is the port in the https URLs that clients are given, where
	// something in front of mcpd has another one than its listener. Default: 0, the
	// listener's own; 443 behind a proxy that does TLS. SIGHUP: no, needs a restart.
	PublicPort int `koanf:"public_port"`

	// Origins are globs of web origins whose pages may call the MCP endpoints, e.g.
	// "https://*.example.com"; * is any run of characters without a slash. Our own
	// origins and pages on the loopback interface need no entry, programs that are
	// no web page send no origin. Default: none. SIGHUP: no, needs a restart.
	Origins []string `koanf:"origins"`

	// TrustedProxies are the addresses and address blocks of proxies in front of mcpd,
	// e.g. "10.0.0.0/8". What X-Forwarded-For, X-Forwarded-Proto and Forwarded say is
	// believed from them and nobody else; the Host header they must leave as it came.
	// Default: none. SIGHUP: no, needs a restart.
	TrustedProxies []string `koanf:"trusted_proxies"`

	// ProxyProtocol demands a PROXY protocol header, version 1 or 2, on every
	// connection, and that it comes from one of TrustedProxies; others are closed.
	// Default: false. SIGHUP: no, needs a restart.
	ProxyProtocol bool `koanf:"proxy_protocol"`

	// Limits are what one client may take. SIGHUP: no, needs a restart.
	Limits Limits `koanf:"limits"`

	// HeaderTimeout is how long a client may take to send a request's headers.
	// Default: 10s. SIGHUP: no, needs a restart.
	HeaderTimeout time.Duration `koanf:"header_timeout"`

	// BodyTimeout is how long a client may take to send a request's body; 0 means
	// no limit. Answers have no time limit at all. Default: 1m. SIGHUP: no, needs a
	// restart.
	BodyTimeout time.Duration `koanf:"body_timeout"`

	// IdleTimeout is how long a connection is kept open between two requests.
	// Default: 2m. SIGHUP: no, needs a restart.
	IdleTimeout time.Duration `koanf:"idle_timeout"`

	// MaxHeader is the most bytes that a request's headers may have. Default:
	// 65536. SIGHUP: no, needs a restart.
	MaxHeader int `koanf:"max_header"`
}

// Limits are [listen] limits. An address is one of IPv4 or a /64 of IPv6; 0 means no
// limit. Clients on this machine have none: without TrustedProxies they may be a
// proxy's, all of them.
type Limits struct {
	// Connections is how many an address may have open; more are closed. Trusted
	// proxies may have any number. Default: 256. SIGHUP: no, needs a restart.
	Connections int `koanf:"connections"`

	// Total is how many all addresses may have open together; more are closed, and the
	// log says so once a minute. Trusted proxies come in all the same, and do not
	// count. Default: 4096. SIGHUP: no, needs a restart.
	Total int `koanf:"total"`

	// Requests is how many an address may have under way at once, open streams
	// among them; more are answered with 429. Default: 512. SIGHUP: no, needs a
	// restart.
	Requests int `koanf:"requests"`

	// Rate is how many requests per second an address may make on average, and how
	// many in one go; more are answered with 429 and a Retry-After. Default: 1000.
	// SIGHUP: no, needs a restart.
	Rate int `koanf:"rate"`

	// UserRate is the same for whoever has signed in, from all addresses together.
	// Default: 500. SIGHUP: no, needs a restart.
	UserRate int `koanf:"user_rate"`

	// Chatter is how many bytes per second an address may send besides calls of people
	// who have signed in: handshakes, pages, refused requests, HTTP/2's own frames; an
	// eighth of them at once. More is read later, and the sender has to wait.
	// Default: 262144. SIGHUP: no, needs a restart.
	Chatter int `koanf:"chatter"`
}

// What an address may be besides host:port.
const (
	auto = "auto"
	none = "none"
)

// DefaultConfig returns what holds where the file says nothing.
func DefaultConfig() Config {
	return Config{
		HTTPS:         auto,
		HTTP:          auto,
		Limits:        Limits{Connections: 256, Total: 4096, Requests: 512, Rate: 1000, UserRate: 500, Chatter: 256 << 10},
		HeaderTimeout: 10 * time.Second,
		BodyTimeout:   time.Minute,
		IdleTimeout:   2 * time.Minute,
		MaxHeader:     64 << 10,
	}
}

// For replaces "auto" by the addresses that a front door with or without TLS has.
func (c Config) For(tls bool) Config {
	https, http := none, "localhost:8080"
	if tls {
		https, http = ":443", ":80"
	}
	if c.HTTPS == auto {
		c.HTTPS = https
	}
	if c.HTTP == auto {
		c.HTTP = http
	}
	return c
}

// Loopback reports whether every listener can be reached from this machine only.
func (c Config) Loopback() bool {
	for _, addr := range []string{c.HTTPS, c.HTTP} {
		if host, _, err := net.SplitHostPort(addr); addr != none && (err != nil || !isLoopback(host)) {
			return false
		}
	}
	return true
}

// Validate reports everything that is wrong; each error's text begins with its key.
func (c Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, l := range []struct{ key, addr string }{{"https", c.HTTPS}, {"http", c.HTTP}} {
		if err := checkAddress(l.addr); err != nil {
			wrong("%s: %w", l.key, err)
		}
	}
	if c.HTTPS == none && c.HTTP == none {
		wrong("http: must be an address where https is \"none\"")
	}
	if c.PublicPort < 0 || c.PublicPort > 65535 {
		wrong("public_port: %d is not a port between 0 and 65535", c.PublicPort)
	}
	for i, p := range c.TrustedProxies {
		if _, ok := parseBlock(p); !ok {
			wrong("trusted_proxies[%d]: %q is not an address or a block such as 10.0.0.0/8", i, p)
		}
	}
	if c.ProxyProtocol && len(c.TrustedProxies) == 0 {
		wrong("proxy_protocol: needs trusted_proxies, for it is believed from nobody else")
	}
	for _, l := range []struct {
		key string
		n   int
	}{{"connections", c.Limits.Connections}, {"total", c.Limits.Total}, {"requests", c.Limits.Requests}, {"rate", c.Limits.Rate}, {"user_rate", c.Limits.UserRate}, {"chatter", c.Limits.Chatter}} {
		if l.n < 0 {
			wrong("limits.%s: %d must not be negative; 0 means no limit", l.key, l.n)
		}
	}
	for i, o := range c.Origins {
		if err := checkOriginGlob(o); err != nil {
			wrong("origins[%d]: %w", i, err)
		}
	}
	if c.HeaderTimeout <= 0 {
		wrong("header_timeout: %v must be more than zero", c.HeaderTimeout)
	}
	if c.BodyTimeout < 0 {
		wrong("body_timeout: %v must not be negative", c.BodyTimeout)
	}
	if c.IdleTimeout <= 0 {
		wrong("idle_timeout: %v must be more than zero", c.IdleTimeout)
	}
	if c.MaxHeader < 4<<10 || c.MaxHeader > 1<<20 {
		wrong("max_header: %d must be between 4096 and 1048576 bytes", c.MaxHeader)
	}
	return errors.Join(errs...)
}

func checkAddress(addr string) error {
	if addr == auto || addr == none {
		return nil
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not an address such as localhost:8080", addr)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q is not a port between 0 and 65535", port)
	}
	return nil
}

// checkOriginGlob wants scheme://host[:port] with nothing behind it: a browser
// never sends more, so anything longer would never match.
func checkOriginGlob(glob string) error {
	if glob == "*" || glob == "null" {
		return nil
	}
	scheme, rest, ok := strings.Cut(glob, "://")
	if !ok || scheme == "" || rest == "" || strings.ContainsAny(rest, "/?#@ ") {
		return fmt.Errorf("%q is not an origin such as https://app.example.com", glob)
	}
	return nil
}
