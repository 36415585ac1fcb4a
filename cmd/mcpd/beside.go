package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/mcpd/mcpd/bridge"
	"github.com/mcpd/mcpd/router"
)

// This file is servers that were changed while they served: what is to replace one comes up beside it,
// with a bridge of its own, and takes its place once it is ready.

// hold has the plan's world go on with the servers whose replacement is not ready. Who may use them is
// as the new configuration says all the same. Callers hold reloading.
func (d *daemon) hold(p *plan) {
	beside, old := map[string]*tenant{}, d.world.Load()
	for _, name := range p.change.Restart {
		pool, ok := d.supervisor.Replacement(name)
		if !ok {
			continue
		}
		next, prev := p.world.tenants[name], *old.tenants[name]
		next.pool.p.Store(pool)
		cfg := next.cfg
		cfg.Config, cfg.Bridge = prev.cfg.Config, prev.cfg.Bridge
		prev.cfg = cfg
		p.world.tenants[name], beside[name] = &prev, next
		p.gone = slices.DeleteFunc(p.gone, func(t *tenant) bool { return t.name == name })
		if was := d.beside[name]; was == nil || was.bridge != next.bridge {
			d.background.Go(func() { d.await(name, next.bridge) }) // ends when it is ready or given up, or with closing
		}
	}
	for name, was := range d.beside {
		now, used := beside[name], p.world.tenants[name]
		if (now == nil || now.bridge != was.bridge) && (used == nil || used.bridge != was.bridge) {
			p.gone = append(p.gone, was)
		}
	}
	d.beside = beside
}

// await puts a replacement in its place as soon as it is ready.
func (d *daemon) await(name string, b *bridge.Server) {
	err := d.supervisor.Try(d.closing, name, false)
	if err != nil && d.held(name, b) {
		d.log.Warn("server goes on as it was, for its replacement does not start", serverField(name), zap.Error(err))
		err = d.supervisor.Try(d.closing, name, true)
	}
	if err == nil {
		d.takeOver(name, b)
	}
}

// held tells whether b is of the server's replacement still.
func (d *daemon) held(name string, b *bridge.Server) bool {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	t := d.beside[name]
	return t != nil && t.bridge == b && d.closing.Err() == nil
}

func (d *daemon) takeOver(name string, b *bridge.Server) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	if t := d.beside[name]; t != nil && t.bridge == b {
		d.promote(t)
	}
}

// promote puts a replacement in its place; the bridge of before drains. Callers hold reloading.
func (d *daemon) promote(t *tenant) {
	old := d.world.Load()
	w := *old
	w.tenants = maps.Clone(old.tenants)
	w.tenants[t.name] = t
	w.counters(old)
	table, err := router.NewTable(d.routes(&w))
	var leave func()
	if err == nil {
		leave, err = d.supervisor.Promote(t.name, func() {
			d.world.Store(&w)
			d.router.Swap(table)
		})
	}
	if err != nil { // mcpd is about to end
		d.log.Debug("a replacement stays beside", serverField(t.name), zap.Error(err))
		return
	}
	delete(d.beside, t.name)
	d.log.Info("server was replaced", serverField(t.name))
	d.retire(old.tenants[t.name], leave) // its workers last: a call may wait for one still
}

// settle waits until the replacements are ready, or known not to start; those are the names and the sentences.
func (d *daemon) settle(ctx context.Context) (held, notes []string) {
	d.reloading.Lock()
	beside := maps.Clone(d.beside)
	d.reloading.Unlock()
	names := slices.Sorted(maps.Keys(beside))
	errs := make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { // ends with the start, which has a limit, or with ctx
			if errs[i] = d.supervisor.Try(ctx, name, false); errs[i] == nil {
				d.takeOver(name, beside[name].bridge)
			}
		})
	}
	all.Wait()
	for i, name := range names {
		if errs[i] != nil && d.held(name, beside[name].bridge) {
			held = append(held, name)
			notes = append(notes, fmt.Sprintf("%s goes on as it was, for its replacement does not start: %v", name, errs[i]))
		}
	}
	return held, notes
}

// putInPlace ends the waiting for a replacement: what a person asks of a server is meant for what the configuration says.
func (d *daemon) putInPlace(name string) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	if t := d.beside[name]; t != nil {
		d.promote(t)
	}
}

// dropBeside ends the bridges of replacements when mcpd ends.
func (d *daemon) dropBeside(ctx context.Context) error {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	var errs []error
	for _, t := range d.beside {
		errs = append(errs, t.bridge.Close(ctx))
	}
	return errors.Join(errs...)
}
