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

// hosts are the MCP URLs of a server's further hosts. Each is a resource of its own:
// a client compares what it was given with the metadata's resource, and a token is
// good for the host that it was made for and no other.
func (u urls) hosts(c ServerConfig) []string {
	all := make([]string, len(c.Hosts))
	for i, h := range c.Hosts {
		all[i] = u.origin(h) + "/mcp"
	}
	return all
}

// routes is the routing table of a world.
func (d *daemon) routes(w *world) []router.Route {
	var all []router.Route
	for _, name := range w.names() {
		t := w.tenants[name]
		first := router.Route{
			Name: name, Host: w.urls.host(name), Prefix: t.prefix, Resource: t.url, Handler: t.bridge, Entries: t.entries(), Former: d.former(),
			Scopes: t.cfg.asked(),
		}
		all = append(all, first)
		for i, resource := range w.urls.hosts(t.cfg) {
			first.Host, first.Resource = t.cfg.Hosts[i], resource
			all = append(all, first)
		}
	}
	if d.issuer != nil {
		all = append(all, router.Route{Name: "issuer", Host: w.urls.host(issuerLabel), Handler: d.issuer.Handler()})
	}
	if d.apex != nil {
		all = append(all, router.Route{Name: "apex", Host: w.urls.domain, Handler: d.apex})
	}
	return all
}

// former is where clients of mcp-auth-proxy, which had an issuer at every host, find
// ours: they keep its metadata, and ask again only once it has failed them.
func (d *daemon) former() map[string]string {
	if d.issuer == nil || d.urls.local() {
		return nil
	}
	issuer := d.urls.issuer()
	return map[string]string{
		"/.idp/auth": issuer + "/authorize", "/.idp/token": issuer + "/token", "/.idp/register": issuer + "/register",
		"/.idp/introspect": issuer + "/introspect", "/.idp/": "", "/.auth/": "",
	}
}

// entries are the paths of clients of HTTP+SSE, which are configured with the first.
func (t *tenant) entries() map[string]string {
	if !t.cfg.Bridge.SSE {
		return nil
	}
	return map[string]string{"/sse": "/sse", "/messages": "/sse"}
}
