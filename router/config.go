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
	// HTTP is the address of the plain HTTP listener, host:port. "localhost" means
	// both loopback addresses, 127.0.0.1 and [::1]; an empty host means every
	// address of the machine; port 0 means any free port. Default:
	// "localhost:8080". SIGHUP: no, needs a restart.
	HTTP string `koanf:"http"`

	// Origins are globs of web origins whose pages may call the MCP endpoints, e.g.
	// "https://*.example.com"; * is any run of characters without a slash. Our own
	// origins and pages on the loopback interface need no entry, programs that are
	// no web page send no origin. Default: none. SIGHUP: no, needs a restart.
	Origins []string `koanf:"origins"`

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

// DefaultConfig returns what holds where the file says nothing.
func DefaultConfig() Config {
	return Config{
		HTTP:          "localhost:8080",
		HeaderTimeout: 10 * time.Second,
		BodyTimeout:   time.Minute,
		IdleTimeout:   2 * time.Minute,
		MaxHeader:     64 << 10,
	}
}

// Loopback reports whether every listener can be reached from this machine only.
func (c Config) Loopback() bool {
	host, _, err := net.SplitHostPort(c.HTTP)
	return err == nil && isLoopback(host)
}

// Validate reports everything that is wrong; each error's text begins with its key.
func (c Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, port, err := net.SplitHostPort(c.HTTP); err != nil {
		wrong("http: %q is not an address such as localhost:8080", c.HTTP)
	} else if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		wrong("http: %q is not a port between 0 and 65535", port)
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
