package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/mcpd/mcpd/bridge"
	"github.com/mcpd/mcpd/idp"
	"github.com/mcpd/mcpd/router"
)

func pid() int { return os.Getpid() }

// newcomer is the user made on the first start, and what the terminal says about it.
type newcomer struct {
	name, password, link string
}

// openIssuer opens the database and the issuer over it, unless auth.mode = "none".
func (d *daemon) openIssuer(ctx context.Context, cfg *Config) error {
	if cfg.Auth.Mode == "none" {
		d.log.Warn(`auth.mode is "none": every program on this machine may call every server`)
		return nil
	}
	store, err := d.openStore(cfg.State)
	if err != nil {
		return err
	}
	d.issuer, err = idp.New(ctx, idp.Options{
		Issuer: d.urls.issuer(), Config: cfg.Auth, Store: store, Logger: d.log.Named("idp"), Loopback: d.urls.local(),
		Resource: func(resource string) (string, string, bool) { return d.world.Load().resource(resource) },
		Allowed:  func(server string, u idp.User) bool { return d.world.Load().allowed(server, u) },
		Splits:   func(server string) bool { return d.world.Load().splits(server) },
		Ended:    d.ended,
		Changed:  d.changed,
		Servers:  func(u idp.User) []idp.Server { return d.world.Load().servers(u) },
		Welcome:  func(u idp.User) bool { return d.world.Load().welcome(u) },
	})
	if err != nil {
		return errors.Join(err, store.Close())
	}
	return d.welcome(ctx)
}

func (d *daemon) openStore(c StateConfig) (idp.Store, error) {
	if c.DSN != "" {
		return idp.OpenPostgres(c.DSN)
	}
	return idp.OpenStore(filepath.Join(d.state, "mcpd.db"))
}

// welcome makes the first user of an empty database: named as the person who starts mcpd, with a
// password where there is a terminal to show it on, and a one-time link everywhere.
func (d *daemon) welcome(ctx context.Context) error {
	users, err := d.issuer.Users(ctx)
	if err != nil || len(users) > 0 {
		return err
	}
	n := &newcomer{name: "admin"}
	if u, err := user.Current(); err == nil && u.Username != "" && u.Username != "root" {
		n.name = u.Username
	}
	if isTerminal(d.cli.stdout) {
		n.password = newPassword()
	}
	if _, err := d.issuer.CreateUser(ctx, n.name, n.password); err != nil {
		return fmt.Errorf("cannot make the first user: %w", err)
	}
	if n.link, err = d.issuer.SignInLink(ctx, n.name, signInLinkTTL); err != nil {
		return fmt.Errorf("cannot make the first sign-in link: %w", err)
	}
	d.firstUser = n
	return nil
}

// newPassword is four groups of four from crypto/rand's base32 text: 80 bits, readable aloud.
func newPassword() string {
	t := strings.ToLower(rand.Text())
	return t[0:4] + "-" + t[4:8] + "-" + t[8:12] + "-" + t[12:16]
}

// openDoor lets the listener answer, with 421 as long as there are no routes.
func (d *daemon) openDoor(cfg *Config) (err error) {
	if !cfg.local() {
		if d.apex, err = d.newApex(); err != nil {
			return err
		}
	}
	d.traces = newTracer(cfg.Admin, d.log.Named("traces"))
	d.router = d.newRouter(cfg)
	d.listener.Handle(d.router)
	d.listener.HandlePlain(d.certs.HTTP01(d.router.ToHTTPS()))
	return nil
}

// newRouter builds the front door. Verify is the only way in for a token.
func (d *daemon) newRouter(cfg *Config) *router.Router {
	o := router.Options{
		Issuer: d.urls.issuer(), Scopes: []string{"mcp"}, Anonymous: cfg.Auth.Mode == "none", Origins: cfg.Listen.Origins,
		Loopback: d.urls.local(), Port: d.urls.port, Proxies: cfg.Listen.TrustedProxies, Limits: cfg.Listen.Limits,
		BodyTimeout: cfg.Listen.BodyTimeout, Logger: d.log.Named("http"), Access: d.access(router.LogAccess(d.logs.access)),
	}
	if d.issuer != nil {
		o.IssuerMetadata = d.issuer.Metadata()
		o.Verify = d.verify
	}
	return router.New(o)
}

// verify asks the issuer about a bearer token for exactly one resource.
func (d *daemon) verify(ctx context.Context, token, resource string) (router.Principal, error) {
	g, err := d.issuer.Verify(ctx, token, resource)
	if err != nil {
		if errors.Is(err, idp.ErrInvalidToken) {
			return router.Principal{}, fmt.Errorf("%w: %w", router.ErrInvalidToken, err)
		}
		return router.Principal{}, err
	}
	return router.Principal{ID: g.UserID, Name: g.UserName, Client: g.ClientName, Scopes: g.Scopes, Tools: g.Tools, Fixed: g.ClientID == "", Grant: g.ID}, nil
}

// principalID is whom a session and a worker belong to; "" where there is no sign-in.
func principalID(r *http.Request) string {
	p, _ := router.PrincipalOf(r.Context())
	return p.ID
}

// access counts each request before it is written down.
func (d *daemon) access(write func(*router.AccessRecord)) func(*router.AccessRecord) {
	return func(a *router.AccessRecord) {
		d.world.Load().answered(a.Server, a.Status)
		d.traces.record(a)
		write(a)
	}
}

// observe counts a call, and adds what the bridge knows of it to the request's access record.
func (d *daemon) observe(t *tenant, c bridge.CallRecord) {
	if ended, ok := callOf(&c); ok {
		t.health.record(c.Ended, ended, t.bridge.Lists)
	}
	status := "ok"
	if c.Code != 0 {
		status = strconv.Itoa(c.Code)
	}
	d.router.Note(c.Context, router.Facts{
		RPCMethod: c.Method, Tool: c.Tool, RPCStatus: status, RPCClient: c.Client, RPCBegun: c.Ended.Add(-c.Duration), RPCTook: c.Duration,
	})
}

// invocation is how the person at the terminal calls this program: `go run` leaves the binary in a
// folder of its own making, which nobody would type.
func invocation() string {
	self, err := os.Executable()
	if err == nil && strings.Contains(filepath.ToSlash(self), "/go-build") {
		return "go run ./cmd/mcpd"
	}
	return "mcpd"
}

// banner tells the person at the terminal where everything is, and how to begin.
func (d *daemon) banner(w io.Writer) {
	world, mcpd := d.world.Load(), invocation()
	var b strings.Builder
	fmt.Fprintf(&b, "mcpd %s is serving on %s (configuration %s)\n\n", readBuild().Version, d.listener.Addr(), d.configFile)
	width := 0
	for _, name := range world.names() {
		width = max(width, len(name))
	}
	for _, name := range world.names() {
		fmt.Fprintf(&b, "  %-*s  %s\n", width, name, world.tenants[name].url)
	}
	switch n := d.firstUser; {
	case d.issuer == nil:
		b.WriteString("\n  WARNING: auth.mode is \"none\": every program on this machine may call every server here.\n")
	case n != nil:
		fmt.Fprintf(&b, "\nYou are the user %q. Sign in with this link, good once and for an hour:\n  %s\n", n.name, n.link)
		if n.password != "" {
			fmt.Fprintf(&b, "or with the password  %s  (shown only now)\n", n.password)
		} else {
			fmt.Fprintf(&b, "then set a password:\n  %s user passwd %s\n", mcpd, n.name)
		}
	}
	if names := world.names(); len(names) > 0 {
		name := names[0]
		if _, ok := world.tenants["demo"]; ok {
			name = "demo"
		}
		fmt.Fprintf(&b, "\nConnect a client:\n  claude mcp add --transport http %s %s\n", name, world.tenants[name].url)
		if name == "demo" {
			fmt.Fprintf(&b, "or try a call from another terminal:\n  %s call demo echo '{\"text\":\"hi\"}'\n", mcpd)
		}
	}
	fmt.Fprintf(&b, "\n'%s status' shows the servers; edit the configuration and '%[1]s reload' applies it. Ctrl-C stops.\n", mcpd)
	_, _ = io.WriteString(w, b.String())
}
