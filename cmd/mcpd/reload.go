package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/mcpd/mcpd/bridge"
	"github.com/mcpd/mcpd/router"
	"github.com/mcpd/mcpd/supervisor"
)

// replacedDrain is what calls on a removed or changed server get to finish after a reload.
const replacedDrain = 30 * time.Second

// reload loads the configuration and applies what differs. An invalid file changes nothing, and the
// answer says what is wrong with it; either way status remembers.
func (d *daemon) reload(ctx context.Context) (change, error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	d.manager.Reloading()
	defer func() { d.manager.Ready(d.summary()) }() // also when it was refused: what served, serves
	p, err := d.plan()
	if err == nil {
		err = d.apply(ctx, p)
	}
	last := &ReloadStatus{Time: time.Now()}
	if err == nil {
		last.Change = p.change.line()
	}
	if err != nil {
		last.Error = err.Error()
		d.lastReload.Store(last)
		return change{}, err
	}
	d.lastReload.Store(last)
	return p.change, nil
}

// summary is the one line that a service manager shows of the daemon.
func (d *daemon) summary() string {
	w := d.world.Load()
	line := fmt.Sprintf("serving %d servers on %s", len(w.tenants), d.listener.Addr())
	switch last := d.lastReload.Load(); {
	case last == nil:
	case last.Error != "":
		line += "; the last reload was refused: " + last.Error
	default:
		line += "; the last reload: " + last.Change
	}
	return line
}

// apply makes the plan's world the one that serves: processes first, then policy and routes in one
// swap each, and only then the old bridges drain, behind the caller's back. A server that serves goes on
// until what replaces it is ready (beside.go).
func (d *daemon) apply(ctx context.Context, p *plan) error {
	entries := make([]supervisor.Entry[*bridge.Conn], 0, len(p.world.tenants))
	for _, name := range p.world.names() {
		t := p.world.tenants[name]
		e := supervisor.Entry[*bridge.Conn]{Spec: t.spec, Open: t.bridge.Open, Spare: bridge.FitsSpare, Beside: true}
		if t.cfg.Bridge.Isolation == "shared" {
			e.Held = (*bridge.Conn).Held
		}
		entries = append(entries, e)
	}
	if _, err := d.supervisor.Apply(ctx, entries); err != nil {
		return err
	}
	d.hold(p)
	for _, t := range p.world.tenants {
		if sp, ok := d.supervisor.Pool(t.name); ok {
			t.pool.p.Store(sp)
		}
	}
	d.world.Store(p.world)
	table, err := router.NewTable(d.routes(p.world))
	if err != nil {
		return err
	}
	d.router.Swap(table)
	d.enforce(ctx)
	if err := d.certs.Manage(ctx); err != nil {
		d.log.Error("not every host has a certificate", zap.Error(err)) // the others serve; the status has it too
	}
	d.log.Info("configuration applied", zap.Strings("start", p.change.Start), zap.Strings("stop", p.change.Stop),
		zap.Strings("restart", p.change.Restart), zap.Strings("update", p.change.Update), zap.Strings("policy", p.change.Policy), zap.Int("keep", len(p.change.Keep)))
	d.forget(p.world)
	for _, n := range p.change.Notes {
		d.log.Warn(n)
	}
	for _, t := range p.gone {
		d.retire(t, func() {})
	}
	return nil
}

// retire lets the bridge of a server that was removed or replaced finish its calls, and then calls then.
func (d *daemon) retire(t *tenant, then func()) {
	d.background.Go(func() { // ends with the drain, or when the daemon stops
		ctx, cancel := context.WithTimeout(d.draining, replacedDrain)
		defer cancel()
		defer then()
		if err := t.bridge.Close(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			d.log.Warn("replaced server did not close cleanly", serverField(t.name), zap.Error(err))
		}
	})
}

// forget removes what is remembered of servers that are gone or run something else now.
func (d *daemon) forget(w *world) {
	prints := map[string]string{}
	for name, t := range w.tenants {
		prints[name] = t.spec.Fingerprint()
	}
	if err := d.memory.keep(prints); err != nil {
		d.log.Warn("cannot clean up what is remembered of servers", zap.Error(err))
	}
}

// serverField is the log field every room names a server by.
func serverField(name string) zap.Field { return zap.String("server", name) }
