package pin

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// lockfile is what matters of npm's package-lock.json.
type lockfile struct {
	Packages map[string]struct {
		Integrity        string `json:"integrity"`
		HasInstallScript bool   `json:"hasInstallScript"`
	} `json:"packages"`
}

// npmInstall is how npm installs without telling or asking anybody anything. A registry that cannot be
// reached is one soon.
var npmInstall = []string{
	"npm", "install", "--no-audit", "--no-fund", "--no-update-notifier", "--json", "--loglevel=silent", "--omit=dev",
	"--save-exact", "--package-lock", "--location=project", "--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=60000",
}

// install installs the package in a directory of its own and returns the pin for it: in the version that is
// known, or if none is in the newest that is wished for. Callers hold the package's door.
func (s *Store) install(ctx context.Context, w Wish, known Pin) (Pin, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, longest, fmt.Errorf("not done within %v", longest))
	defer cancel()
	wanted := Request{Package: w.Request.Package, Version: cmp.Or(known.Version, w.Request.Version)}
	s.note(w.Server, "installing "+wanted.String())
	s.o.Log.Info("installing a package", zap.String("server", w.Server), zap.Stringer("package", wanted))
	if err := os.MkdirAll(s.o.Dir, 0o700); err != nil {
		return Pin{}, fmt.Errorf("cannot make room for packages: %w", err)
	}
	tmp, err := os.MkdirTemp(s.o.Dir, ".new-")
	if err != nil {
		return Pin{}, fmt.Errorf("cannot make room for a package: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }() // what is left of it goes at the next start
	// With a package.json of its own npm looks no further up for one.
	if err := os.WriteFile(filepath.Join(tmp, "package.json"), []byte("{\"private\":true}\n"), 0o600); err != nil {
		return Pin{}, fmt.Errorf("cannot make room for a package: %w", err)
	}
	began := time.Now()
	if err := s.npm(ctx, w, tmp, wanted); err != nil {
		return Pin{}, fmt.Errorf("cannot install %s: %w", wanted, err)
	}
	p, err := s.take(tmp, w, known)
	if err == nil {
		s.o.Log.Info("package is installed", zap.String("server", w.Server), zap.Stringer("package", p),
			zap.Duration("after", time.Since(began).Round(time.Millisecond)), zap.Strings("scripts_not_run", p.Silent))
	}
	return p, err
}

// npm runs npm, and once more with what it has on disk if it cannot reach the registry.
func (s *Store) npm(ctx context.Context, w Wish, dir string, wanted Request) error {
	argv := append(slices.Clone(npmInstall), "--prefix", dir, fmt.Sprintf("--ignore-scripts=%t", !w.Scripts))
	c := Command{Server: w.Server, Argv: append(argv, "--prefer-offline=false", "--prefer-online", "--", wanted.String()), Dir: dir, Environ: w.Environ}
	out, err := s.o.Run(ctx, c)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil:
		return nil
	}
	c.Argv = append(argv, "--offline", "--", wanted.String())
	if _, again := s.o.Run(ctx, c); again != nil {
		return complaint(out, err)
	}
	return nil
}

// complaint is why npm failed in a line: what it says in its JSON, or else what was seen of it.
func complaint(out []byte, err error) error {
	var said struct {
		Error struct {
			Code    string `json:"code"`
			Summary string `json:"summary"`
		} `json:"error"`
	}
	line := ""
	if json.Unmarshal(out, &said) == nil {
		line, _, _ = strings.Cut(said.Error.Summary, "\n")
	}
	if line == "" {
		return err
	}
	return fmt.Errorf("npm says %s: %s", said.Error.Code, line)
}

// take gives an installation that is complete its final place, under the version that it turned out to have.
// What is not what it was gets none.
func (s *Store) take(tmp string, w Wish, known Pin) (Pin, error) {
	name := w.Request.Package
	m, err := readManifest(filepath.Join(tmp, "node_modules", filepath.FromSlash(name)))
	if err != nil {
		return Pin{}, fmt.Errorf("cannot find %s in what npm installed: %w", name, err)
	}
	if _, err := program(tmp, w.Request); err != nil {
		return Pin{}, err
	}
	p := Pin{Package: name, Version: m.Version, Scripts: w.Scripts, Since: time.Now().UTC().Truncate(time.Second)}
	p.Dir = strings.ReplaceAll(p.Package, "/", "+") + "@" + m.Version
	if p.Scripts {
		p.Dir += "+scripts"
	}
	if !filepath.IsLocal(p.Dir) || strings.ContainsRune(p.Dir, filepath.Separator) {
		return Pin{}, fmt.Errorf("cannot use a package whose version is %q", m.Version)
	}
	if err := p.read(filepath.Join(tmp, "package-lock.json")); err != nil {
		return Pin{}, err
	}
	if err := p.same(known); err != nil {
		return Pin{}, err
	}
	if e, _ := s.Of(w.Server); e.Now.Package == name {
		if err := p.same(e.Now); err != nil {
			return Pin{}, err
		}
	}
	final := filepath.Join(s.o.Dir, p.Dir)
	if err := os.Rename(tmp, final); err != nil && !s.there(p) {
		_ = os.RemoveAll(final) // a part of one, or else the second try says why not
		if err := os.Rename(tmp, final); err != nil {
			return Pin{}, fmt.Errorf("cannot put the package in its place: %w", err)
		}
	}
	return p, nil
}

// read fills in what npm wrote down about the installation.
func (p *Pin) read(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("cannot read what npm installed: %w", err)
	}
	var l lockfile
	if err := json.Unmarshal(data, &l); err != nil {
		return fmt.Errorf("cannot read what npm installed: %w", err)
	}
	p.Integrity = l.Packages["node_modules/"+p.Package].Integrity
	for path, entry := range l.Packages {
		if entry.HasInstallScript && !p.Scripts {
			p.Silent = append(p.Silent, path[strings.LastIndex(path, "node_modules/")+len("node_modules/"):])
		}
	}
	slices.Sort(p.Silent)
	p.Silent = slices.Compact(p.Silent)
	return nil
}
