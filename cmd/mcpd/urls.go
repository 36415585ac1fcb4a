package main

import (
	"net"
	"strconv"

	"github.com/mcpd/mcpd/router"
)

// urls makes the addresses that clients are given. They are settled at the start, so
// that a reload cannot half-move the house.
type urls struct {
	domain string
	port   int // of every URL; what its scheme implies is left out
}

func newURLs(cfg *Config, addr net.Addr) urls {
	u := urls{domain: cfg.Domain, port: cfg.Listen.PublicPort}
	if at, ok := addr.(*net.TCPAddr); ok && u.port == 0 {
		u.port = at.Port
	}
	if !cfg.local() && !cfg.tls() && cfg.Listen.PublicPort == 0 {
		u.port = 443 // of whatever does TLS in front
	}
	return u
}

func (u urls) local() bool { return u.domain == localDomain }

// origin never has a path or a trailing slash: clients compare it as a string (RFC 8414 §3.3).
func (u urls) origin(host string) string {
	scheme, implied := "https", 443
	if u.local() {
		scheme, implied = "http", 80
	}
	if u.port == implied {
		return scheme + "://" + host
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(u.port))
}

// host is <name>.<domain> on a real domain, and the one loopback name in local mode: names under
// .localhost do not resolve for Node and Go clients. There a server is a prefix.
func (u urls) host(name string) string {
	if u.local() {
		return localDomain
	}
	return name + "." + u.domain
}

func (u urls) prefix(name string) string {
	if u.local() {
		return "/" + name
	}
	return ""
}

// server is a server's MCP URL.
func (u urls) server(name string) string { return u.origin(u.host(name)) + u.prefix(name) + "/mcp" }

func (u urls) issuer() string { return u.origin(u.host(issuerLabel)) }

// issuerLabel is where the issuer is below a real domain.
const issuerLabel = "auth"

// routes is the routing table of a world.
func (d *daemon) routes(w *world) []router.Route {
	var all []router.Route
	for _, name := range w.names() {
		t := w.tenants[name]
		all = append(all, router.Route{
			Name: name, Host: w.urls.host(name), Prefix: t.prefix, Resource: t.url, Handler: t.bridge, Entries: t.entries(),
		})
	}
	if d.issuer != nil {
		all = append(all, router.Route{Name: "issuer", Host: w.urls.host(issuerLabel), Handler: d.issuer.Handler()})
	}
	return all
}

// entries are the paths of clients of HTTP+SSE, which are configured with the first.
func (t *tenant) entries() map[string]string {
	if !t.cfg.Bridge.SSE {
		return nil
	}
	return map[string]string{"/sse": "/sse", "/messages": "/sse"}
}
