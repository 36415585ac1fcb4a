package main

import (
	"time"

	"github.com/mcpd/mcpd/bridge"
	"github.com/mcpd/mcpd/idp"
	"github.com/mcpd/mcpd/router"
	"github.com/mcpd/mcpd/router/certs"
	"github.com/mcpd/mcpd/supervisor"
)

// localDomain is the domain that stands for this machine alone.
const localDomain = "localhost"

// Config is servers.toml: what the keys are, what they mean, and what holds where nothing is said.
// Each room documents its own part. Every key can also be set by a variable, MCPD_LISTEN__HTTP for
// [listen] http, and a few by flags: defaults < file < environment < flags.
type Config struct {
	// Domain is below which the servers live: each at https://<name>.<domain>/mcp, the issuer at
	// https://auth.<domain>. "localhost" means local mode: one plain-HTTP loopback origin, each
	// server at a path of it, and the listener on loopback addresses only.
	// Default: "localhost". SIGHUP: no, needs a restart.
	Domain string `koanf:"domain"`

	// Listen is the front door. SIGHUP: no, needs a restart.
	Listen router.Config `koanf:"listen"`

	// TLS is where certificates come from. SIGHUP: no, needs a restart.
	TLS certs.Config `koanf:"tls"`

	// Auth is who may sign in, and how long it lasts. SIGHUP: no, needs a restart.
	Auth idp.Config `koanf:"auth"`

	// State is where users, clients and tokens are kept. SIGHUP: no, needs a restart.
	State StateConfig `koanf:"state"`

	// Log is what mcpd writes about itself. SIGHUP: no, needs a restart.
	Log LogConfig `koanf:"log"`

	// Budget is what all servers may use together. SIGHUP: no, needs a restart.
	Budget supervisor.BudgetConfig `koanf:"budget"`

	// Admin is what the operator's programs reach. SIGHUP: no, needs a restart.
	Admin AdminConfig `koanf:"admin"`

	// Defaults is what every server inherits: all keys of a server but command and args. A key in
	// the server's own entry wins; the tables env, workers, timeouts and limits are merged key by key.
	// Default: the servers' own defaults. SIGHUP: yes.
	Defaults ServerConfig `koanf:"defaults"`

	// Servers are the servers by name. A name becomes a host name or a path: small letters, digits
	// and dashes, at most 63. Default: none. SIGHUP: yes; unchanged servers are not touched.
	Servers map[string]ServerConfig `koanf:"servers"`

	// Secrets are, by server, the values that came into its entry from outside the file. They are
	// no setting: they are what must be masked in whatever the server says.
	Secrets map[string][]string `koanf:"-"`
}

// ServerConfig is one [servers.NAME]. SIGHUP: yes, for every key.
type ServerConfig struct {
	// The processes: command, args, env, pass_env, dir, disabled, workers, timeouts, sandbox, and of
	// limits memory, pids and cpu.
	supervisor.Config `koanf:",squash"`

	// The protocol: isolation, era, and of limits call, park, body and line.
	Bridge bridge.Config `koanf:",squash"`

	// Allow lists who may use the server: by user name, "service:NAME", "group:NAME" as their provider says, or
	// "provider:NAME" of [auth.providers]; * stands for any run of characters, as in "*@corp.example". What is not
	// allowed any more ends at once. Default: nobody; in local mode everybody who has signed in.
	Allow []string `koanf:"allow"`

	// Scopes says what tokens for the server are told apart by. "mcp" (default): nothing, a token is good for all. "read-write":
	// the scope mcp:read is for lists, prompts, resources and the tools that the server says change nothing (readOnlyHint),
	// mcp:write for everything. Clients are asked to sign in for reading first, and once more when they first write; those that
	// cannot do that stay readers.
	Scopes string `koanf:"scopes"`

	// Check asks whether the workers work. Default: for their list of tools, every minute.
	Check CheckConfig `koanf:"check"`

	// Hosts are further host names of the server, e.g. "search.example.com", whose
	// /mcp serves it too. Each signs people in on its own; their DNS must lead here,
	// and a certificate must cover them. Not in [defaults]. Default: none.
	Hosts []string `koanf:"hosts"`
}

// StateConfig is the [state] table.
type StateConfig struct {
	// DSN is the address of a PostgreSQL database (14 or later) for users, clients, consents and hashes of tokens, and for
	// the certificates and keys of tls.mode "acme", as a URL or key=value words:
	// "postgres://mcpd@db.example/mcpd?sslmode=verify-full". Several daemons with the same configuration may share one, at
	// one address: a sign-in, a token or a new key of one is good at all, what one has revoked the others refuse within a
	// second, and one of them gets each certificate for all. Not shared: MCP sessions, their workers and streams, which end with
	// a revocation only where they are (so each client should stay at one daemon), and limits on tries to sign in.
	// Default: "", the file mcpd.db in the state directory. SIGHUP: no, needs a restart.
	DSN string `koanf:"dsn"`
}

// LogConfig is the [log] table.
type LogConfig struct {
	// Level is the least that is written: "debug", "info", "warn" or "error".
	// Default: "info". SIGHUP: no, needs a restart.
	Level string `koanf:"level"`

	// Format is "console" for people, "json" for programs, "auto" for whichever reads: console on a
	// terminal, JSON elsewhere. Default: "auto". SIGHUP: no, needs a restart.
	Format string `koanf:"format"`

	// File is where all of this goes instead of standard error; an absolute path.
	// Default: "". SIGHUP: no, needs a restart.
	File string `koanf:"file"`

	// Dir is where each server's standard error goes besides, as NAME.log; an absolute path.
	// Default: "", only the last lines are kept, in memory. SIGHUP: no, needs a restart.
	Dir string `koanf:"dir"`

	// Size is when one of these files becomes NAME.log.1, and that .2, in bytes or as text such as
	// "10MiB"; Keep is how many older ones are kept. Default: "10MiB", 5. SIGHUP: no, needs a restart.
	Size supervisor.Bytes `koanf:"size"`
	Keep int              `koanf:"keep"`
}

// AdminConfig is the [admin] table. The socket that the commands use is not in it: it is always there.
type AdminConfig struct {
	// Metrics is the address, host:port, where Prometheus gets /metrics by plain HTTP and without
	// signing in; "localhost" means both loopback addresses. Default: "", no such listener.
	// SIGHUP: no, needs a restart.
	Metrics string `koanf:"metrics"`

	// Traces is the URL of an OTLP collector that takes traces over HTTP as JSON, such as
	// "http://localhost:4318": a span for each request, and one for the call in it. A caller's
	// traceparent is gone on from. Default: "", no traces. SIGHUP: no, needs a restart.
	Traces string `koanf:"traces"`

	// TracesHeaders are sent to it, such as an API key of a service. Default: none.
	// SIGHUP: no, needs a restart.
	TracesHeaders map[string]string `koanf:"traces_headers"`
}

// DefaultConfig is the lowest layer.
func DefaultConfig() Config {
	return Config{
		Domain:   localDomain,
		Listen:   router.DefaultConfig(),
		TLS:      certs.DefaultConfig(),
		Auth:     idp.DefaultConfig(),
		Log:      LogConfig{Level: "info", Format: "auto", Size: 10 << 20, Keep: 5},
		Budget:   supervisor.DefaultBudget(),
		Defaults: ServerConfig{Config: supervisor.DefaultConfig(), Bridge: bridge.DefaultConfig(), Scopes: oneScope, Check: CheckConfig{Args: "{}", Every: time.Minute}},
	}
}

// local reports local mode.
func (c *Config) local() bool { return c.Domain == localDomain }

// tls reports whether mcpd itself speaks TLS.
func (c *Config) tls() bool { return !c.local() && c.TLS.ModeFor(c.Domain) != certs.ModeOff }

// listen is [listen] with the addresses that hold.
func (c *Config) listen() router.Config { return c.Listen.For(c.tls()) }
