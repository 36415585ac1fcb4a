package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/mcpd/mcpd/supervisor"
	"github.com/mcpd/mcpd/supervisor/pin"
)

// openPins opens the store of pinned packages, which the supervisor asks before it starts anything and
// which runs npm and uv by the supervisor.
func (d *daemon) openPins(cfg *Config) (err error) {
	d.pins, err = pin.Open(pin.Options{
		Dir: filepath.Join(d.state, "packages"), File: filepath.Join(d.state, "pins.json"), Write: writeDurably, Log: d.log.Named("pin"),
		Run: func(ctx context.Context, c pin.Command) ([]byte, error) {
			return d.supervisor.Run(ctx, supervisor.Spec{
				Name: c.Server, Environ: c.Environ, Secrets: c.Secrets,
				Config: supervisor.Config{Command: c.Argv[0], Args: c.Argv[1:], Dir: c.Dir, Sandbox: supervisor.SandboxConfig{Network: true}},
			})
		},
	}, slices.Collect(maps.Keys(cfg.Servers)))
	return err
}

// wish is what a server asks npx or uvx for. ok: it does, and its package can be pinned; the error is why not.
func wish(s supervisor.Spec) (w pin.Wish, ok bool, err error) {
	if !s.Pin {
		return w, false, nil
	}
	r, ok, err := pin.Parse(s.Command, s.Args)
	return pin.Wish{Server: s.Name, Request: r, Dir: s.Dir, Environ: s.Environ, Secrets: s.Secrets, Scripts: s.InstallScripts}, ok && err == nil, err
}

// resolve is the supervisor's Resolve: where npx or uvx would run a package, the package itself. Where that
// cannot be found out, the command runs as it is written; but not what the registry has changed.
func (d *daemon) resolve(ctx context.Context, s supervisor.Spec) (supervisor.Spec, error) {
	w, ok, err := wish(s)
	if ok {
		var p pin.Program
		if p, err = d.pins.Resolve(ctx, w); err == nil {
			d.unpinned.Delete(s.Name)
			return pinnedSpec(s, p), nil
		}
	}
	switch {
	case err == nil:
		return s, nil
	case ctx.Err() != nil, errors.Is(err, pin.ErrChanged):
		return s, err
	}
	if before, _ := d.unpinned.Swap(s.Name, err.Error()); before != err.Error() {
		d.log.Warn("not pinned, the command is run as it is written", serverField(s.Name), zap.Error(err))
	}
	return s, nil
}

// pinnedSpec is s with the program that p stands for.
func pinnedSpec(s supervisor.Spec, p pin.Program) supervisor.Spec {
	s.Command, s.Args = p.Command, p.Args
	s.Environ = slices.Clone(s.Environ)
	for i, kv := range s.Environ {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			s.Environ[i] = "PATH=" + p.Bins + string(filepath.ListSeparator) + path
		}
	}
	if s.Sandbox.Files() {
		s.Sandbox.Read = append(slices.Clone(s.Sandbox.Read), p.Reads...)
	}
	return s
}

// PackageStatus is what a server's package is at.
type PackageStatus struct {
	Request string `json:"request" help:"what servers.toml asks for"`
	Version string `json:"version,omitempty" help:"pinned; absent where none is"`
	Before  string `json:"before,omitempty" help:"version that mcpd rollback goes back to"`
	Doing   string `json:"doing,omitempty" help:"what is under way, such as an installation"`
	Note    string `json:"note,omitempty" help:"why it is not pinned, or what was left out"`
}

// packageOf is nil for a server that is not run by npx or uvx, or not to be pinned.
func (d *daemon) packageOf(t *tenant) *PackageStatus {
	w, ok, err := wish(t.spec)
	if !ok && err == nil {
		return nil
	}
	entry, doing := d.pins.Of(t.name)
	p := &PackageStatus{Request: w.Request.String(), Doing: doing.What}
	if err != nil {
		p.Note = "not pinned: " + err.Error()
		return p
	}
	if entry.Request == p.Request {
		p.Version = entry.Now.Version
		if entry.Before != nil {
			p.Before = entry.Before.Version
		}
		if len(entry.Now.Silent) > 0 {
			p.Note = fmt.Sprintf("install scripts were not run: %s; install_scripts = true runs them", strings.Join(entry.Now.Silent, ", "))
		}
	}
	if why, ok := d.unpinned.Load(t.name); ok {
		p.Note = fmt.Sprintf("not pinned, %s runs it: %v", filepath.Base(t.spec.Command), why)
	}
	return p
}

// String is one line for a person.
func (p *PackageStatus) String() string {
	text := p.Request
	if p.Version != "" {
		text += ", pinned at " + p.Version
	}
	if p.Before != "" {
		text += ", before " + p.Before
	}
	for _, more := range []string{p.Doing, p.Note} {
		if more != "" {
			text += "; " + more
		}
	}
	return text
}
