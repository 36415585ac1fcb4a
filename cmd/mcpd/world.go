package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcpd/mcpd/bridge"
	"github.com/mcpd/mcpd/supervisor"
)

// world is one configuration at work: immutable, swapped whole by a reload.
type world struct {
	cfg     *Config
	urls    urls // of the start, whatever cfg says now
	tenants map[string]*tenant
	answers map[string]*answers // by server; "issuer", and "" for requests that asked for none
}

// tenant is one server: its configuration, its bridge, and the pool its calls run on.
type tenant struct {
	name   string
	url    string // the exact MCP URL: what clients type, and the audience of its tokens
	prefix string // of the URL's path, before /mcp
	cfg    ServerConfig
	spec   supervisor.Spec
	bridge *bridge.Server
	pool   *pool
	ended  *ended
	health *health
}

// pool hands the bridge its workers. The supervisor makes the pool when the tenant's processes are
// applied; until then there is none to ask.
type pool struct {
	p atomic.Pointer[supervisor.Pool[*bridge.Conn]]
}

var errNotStarted = errors.New("the server is being set up; try again in a moment")

// Acquire implements bridge.Workers.
func (p *pool) Acquire(ctx context.Context, key string) (*bridge.Conn, func(), error) {
	sp := p.p.Load()
	if sp == nil {
		return nil, nil, errNotStarted
	}
	c, release, err := sp.Acquire(ctx, key)
	var busy *supervisor.Busy
	var down *supervisor.Unavailable
	switch {
	case errors.As(err, &busy):
		err = refusal{err, busy.RetryAfter}
	case errors.As(err, &down):
		err = refusal{err, down.RetryAfter}
	}
	return c, release, err
}

// refusal is why there is no worker, with the hint that the bridge passes on to the client.
type refusal struct {
	error
	after time.Duration
}

// RetryAfter is when it is worth trying again; 0 where nobody knows.
func (r refusal) RetryAfter() time.Duration { return r.after }

func (r refusal) Unwrap() error { return r.error }

// counters gives every name that requests are counted under its counts: those it has had, as far as it was there.
func (w *world) counters(old *world) {
	w.answers = map[string]*answers{}
	for _, name := range []string{"", "issuer"} {
		if old != nil {
			w.answers[name] = old.answers[name]
		} else {
			w.answers[name] = &answers{}
		}
	}
	for name, t := range w.tenants {
		w.answers[name] = &t.health.answers
	}
}

// answered counts a request. A server that is gone by now has no counts any more.
func (w *world) answered(server string, status int) {
	a := w.answers[server]
	if a == nil {
		a = w.answers[""]
	}
	a.add(status)
}

func (w *world) names() []string {
	if w == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(w.tenants))
}

// resource finds the server that a resource URL (RFC 8707) names, and the URL its tokens are bound to:
// the MCP URL at the same host. The host's base names it too, for clients that go by the root document of
// RFC 9728, whose resource the base has to be (§3.3).
// Where clients of HTTP+SSE are served, their URL is a third name.
func (w *world) resource(resource string) (mcpURL, server string, ok bool) {
	for name, t := range w.tenants {
		for _, u := range append(w.urls.hosts(t.cfg), t.url) {
			base := strings.TrimSuffix(u, "/mcp")
			if resource == u || resource == base || t.cfg.Bridge.SSE && resource == base+"/sse" {
				return u, name, true
			}
		}
	}
	return "", "", false
}

// close ends every bridge in parallel.
func (w *world) close(ctx context.Context) error {
	errs := make([]error, len(w.tenants))
	var wg sync.WaitGroup
	for i, name := range w.names() {
		wg.Go(func() { errs[i] = w.tenants[name].bridge.Close(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// plan is a reload thought through and not yet done.
type plan struct {
	world  *world
	change change
	gone   []*tenant // tenants of the old world whose bridges end
}

// plan loads the file anew and compares it with what runs.
func (d *daemon) plan() (*plan, error) {
	atRest(d.configFile)
	_, cfg, err := d.cli.load(d.flags)
	if err != nil {
		return nil, err
	}
	return d.planFor(cfg)
}

// planFor builds the world of cfg. A tenant keeps its bridge, and with it sessions and streams, unless
// what it runs or how it is spoken to has changed.
func (d *daemon) planFor(cfg *Config) (*plan, error) {
	old := d.world.Load()
	p := &plan{world: &world{cfg: cfg, urls: d.urls, tenants: map[string]*tenant{}}}
	var before, after []supervisor.Spec
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(cfg.Servers)) {
		spec, err := d.specFor(cfg, name)
		if err != nil {
			errs = append(errs, fmt.Errorf("servers.%s: %w", name, err))
			continue
		}
		after = append(after, spec)
		p.world.tenants[name] = &tenant{name: name, url: d.urls.server(name), prefix: d.urls.prefix(name), cfg: cfg.Servers[name], spec: spec}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if old != nil {
		p.change.Notes = DiffConfig(old.cfg, cfg)
		for _, name := range old.names() {
			before = append(before, old.tenants[name].spec)
		}
	}
	p.change.processes(supervisor.Diff(before, after))
	for _, spec := range after {
		if slices.Contains(p.change.Keep, spec.Name) || spec.Disabled {
			continue
		}
		for _, what := range d.supervisor.Missing(spec) {
			p.change.Notes = append(p.change.Notes, "servers."+spec.Name+": "+what)
		}
	}
	if err := d.bridges(p, old); err != nil {
		return nil, err
	}
	p.world.counters(old)
	return p, nil
}

// specFor is what the supervisor runs for a server. The bridge's settings are part of it: a bridge is
// made for them, and its connections are its own, so a change takes new workers.
func (d *daemon) specFor(cfg *Config, name string) (supervisor.Spec, error) {
	sc := cfg.Servers[name]
	spec, err := supervisor.NewSpec(name, sc.Config, cfg.Secrets[name])
	spec.Variant, spec.Key = fmt.Sprintf("%+v", sc.Bridge), d.prints
	return spec, err
}

// bridges gives every tenant of the plan its bridge: the one that serves, or a new one.
func (d *daemon) bridges(p *plan, old *world) error {
	for _, name := range p.world.names() {
		t, o := p.world.tenants[name], old.tenant(name)
		if o != nil && !slices.Contains(p.change.Restart, name) && !slices.Contains(p.change.Start, name) {
			t.bridge, t.pool, t.ended, t.health = o.bridge, o.pool, o.ended, o.health
			if !slices.Equal(o.cfg.Allow, t.cfg.Allow) || o.cfg.Scopes != t.cfg.Scopes || o.cfg.Check != t.cfg.Check {
				p.change.Policy = append(p.change.Policy, name)
			}
			continue
		}
		if b := d.beside[name]; b != nil && b.spec.Equal(t.spec) {
			t.bridge, t.pool, t.ended, t.health = b.bridge, b.pool, b.ended, b.health
			continue
		}
		if err := d.newBridge(t); err != nil {
			return fmt.Errorf("servers.%s: %w", name, err)
		}
	}
	if old != nil {
		for _, name := range old.names() {
			if n := p.world.tenants[name]; n == nil || n.bridge != old.tenants[name].bridge {
				p.gone = append(p.gone, old.tenants[name])
			}
		}
	}
	return nil
}

func (w *world) tenant(name string) *tenant {
	if w == nil {
		return nil
	}
	return w.tenants[name]
}

// processes fills in what happens to the children.
func (ch *change) processes(c supervisor.Change) {
	ch.Start, ch.Stop, ch.Restart, ch.Update, ch.Keep = c.Start, c.Stop, c.Restart, c.Update, c.Keep
}

func (d *daemon) newBridge(t *tenant) error {
	t.pool, t.health = &pool{}, &health{}
	spawn := func(ctx context.Context) (io.ReadWriteCloser, error) { return d.supervisor.Spawn(ctx, t.spec) }
	if t.cfg.Exclusive {
		spawn = nil
	}
	var err error
	if old := d.world.Load().tenant(t.name); old != nil {
		t.ended, t.health = old.ended, old.health // one writer per file, also while the old bridge still drains
	} else if t.ended, err = openEnded(d.state, t.name, time.Now()); err != nil {
		return err
	}
	t.bridge, err = bridge.New(bridge.Options{
		Name: t.name, Config: t.cfg.Bridge, Workers: t.pool, Principal: principalID, Prefix: t.prefix,
		Permit: func(r *http.Request, w bridge.Want) *bridge.Denial { return d.permit(t.name, r, w) },
		Shows:  func(r *http.Request) func(bridge.Tool) bool { return d.shows(t.name, r) },
		Spawn:  spawn,
		Sealer: d.sealer, Logger: d.log.Named("bridge").With(serverField(t.name)), Version: readBuild().Version,
		Observe: func(c bridge.CallRecord) { d.observe(t, c) }, Memory: d.memory.of(t.name, t.spec.Fingerprint()), Ended: t.ended,
		Neighbours: &d.neighbours,
	})
	return err
}
