// Mcpd supervises MCP servers that speak stdio and gives each its own address over Streamable HTTP,
// behind one sign-in.
//
//	client ──HTTPS─▶ router ──host or prefix──▶ gate (bearer token for exactly this server) ──▶ bridge ──stdio──▶ workers
//	                   │                                                                        (one pool per server)
//	                   └── the issuer's paths ──▶ idp (one OAuth issuer for all)      supervisor owns every process
//
// # Commands
//
//	mcpd run                      the daemon; SIGHUP reloads, SIGTERM drains and stops
//	mcpd status [SERVER]          the health table; --json, --watch
//	mcpd check [--diff|--online]  validate the configuration; show what a reload would do; try what certificates take
//	mcpd reload                   apply the edited configuration, wait, print what changed
//	mcpd logs SERVER [-f]         what a server's workers wrote to stderr
//	mcpd restart|stop|start SERVER
//	mcpd update [SERVER]          try the newest version of a server's npm or Python package and change over to it; rollback goes back
//	mcpd user add|list|remove|passwd|link|reset
//	mcpd revoke USER              end everything of a person at once: browsers, clients, tokens, workers
//	mcpd token create|list|revoke tokens for programs, each good for one server
//	mcpd keys list|rotate         the issuer's own keys; rotate makes new ones while all goes on
//	mcpd backup FILE              all that mcpd keeps, in one file, while it runs
//	mcpd cert                     the certificates: names, issuer, expiry, next renewal, last error
//	mcpd trust [--install]        print the internal authority's root, or have this machine trust it
//	mcpd metrics                  what is counted and measured, in the format of Prometheus
//	mcpd call SERVER TOOL [JSON]  one tool call through the front door, as a client would
//	mcpd service print|install|uninstall
//	                              run by systemd, as a service of a person or of the machine
//	mcpd version, mcpd completion, mcpd demo-server
//
// Every command takes --config FILE (default ./servers.toml, then $XDG_CONFIG_HOME/mcpd/servers.toml,
// then /etc/mcpd/servers.toml) and --state-dir DIR (default $STATE_DIRECTORY, then
// $XDG_STATE_HOME/mcpd, then ~/.local/state/mcpd). Commands reach the daemon that uses the same state
// directory over its admin socket.
//
// Exit codes: 0 fine, 1 failed (for status: a server that should serve does not), 2 usage.
//
// # Signals
//
// SIGHUP loads the configuration again and applies what differs; an invalid file changes nothing. A server
// that serves is replaced when what replaces it is ready; until then, and if it does not start, it goes on.
// SIGTERM and SIGINT stop: no new requests, streams end, calls in flight get some seconds, children are
// stopped in parallel. A second one does not wait for calls.
//
// # Files in the state directory
//
//	mcpd.db      users, clients, grants and hashes of tokens (SQLite), unless [state] dsn names another place
//	session.key  seals session ids; without it, clients open new sessions
//	certs/       certificates, their keys and accounts
//	known/       what servers said of themselves, answered from while they start; may be deleted
//	ended/       sessions whose clients said that they are over
//	pins.json    which version of its npm or Python package each server runs
//	packages/    those packages; may be deleted while mcpd does not run, and comes back
//	tmp/         temporary directories of sandboxed workers; emptied at the start
//	lock         held while a daemon runs; has its process id
//	admin.sock   the admin socket, where there is no runtime directory
//
// # Inside
//
// This package wires four rooms that import none of each other: supervisor (processes), bridge (MCP),
// router (HTTP, the gate) and idp (people, tokens). They meet here, through standard-library types and
// small func fields: run.go starts them in order, world.go is one configuration at work, reload.go
// swaps one world for the next, admin.go answers the commands.
//
// What this package does not do: it holds no protocol, no process and no token logic of its own.
package main
