package pin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
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

// Flags with which npm tells and asks nobody anything, and gives up soon on a registry that cannot be reached.
var (
	npmQuiet   = []string{"--json", "--loglevel=silent", "--no-update-notifier", "--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=60000"}
	npmInstall = []string{"--no-audit", "--no-fund", "--omit=dev", "--save-exact", "--package-lock", "--location=project"}
)

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

// npm installs. It prefers what it has on disk to the registry, as npx does: it goes on without a network, and
// otherwise each of a hundred packages would be asked for. Only a version that what is on disk does not know of (ETARGET) is
// looked for in the registry.
func (s *Store) npm(ctx context.Context, w Wish, dir string, wanted Request) error {
	argv := slices.Concat([]string{"npm", "install"}, npmQuiet, npmInstall,
		[]string{"--prefix", dir, fmt.Sprintf("--ignore-scripts=%t", !w.Scripts)})
	var err error
	for _, prefer := range [][]string{{"--prefer-offline"}, {"--prefer-offline=false", "--prefer-online"}} {
		c := Command{Server: w.Server, Argv: slices.Concat(argv, prefer, []string{"--", wanted.String()}), Dir: dir, Environ: w.Environ}
		var out []byte
		out, err = s.o.Run(ctx, c)
		err = s.told(ctx, out, err)
		if said := (*npmError)(nil); !errors.As(err, &said) || said.code != "ETARGET" {
			break
		}
	}
	return err
}

// told turns the end of a run of npm into an error.
func (s *Store) told(ctx context.Context, out []byte, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return complaint(out, err)
}

// latest asks the registry for the newest version that is wished for. A cache of its own keeps npm from answering
// with what it has on disk when the registry does not.
func (s *Store) latest(ctx context.Context, w Wish) (string, error) {
	tmp, err := os.MkdirTemp(s.o.Dir, ".new-")
	if err != nil {
		return "", fmt.Errorf("cannot make room for an answer of the registry: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }() // what is left of it goes at the next start
	argv := slices.Concat([]string{"npm", "view"}, npmQuiet, []string{"--cache", tmp, "--prefer-offline=false", "--", w.Request.String(), "version"})
	out, err := s.o.Run(ctx, Command{Server: w.Server, Argv: argv, Dir: tmp, Environ: w.Environ})
	if err := s.told(ctx, out, err); err != nil {
		return "", fmt.Errorf("cannot ask for the newest %s: %w", w.Request, err)
	}
	var one string
	var many []string
	switch {
	case json.Unmarshal(out, &one) == nil && one != "":
		return one, nil
	case json.Unmarshal(out, &many) == nil && len(many) > 0: // of a range all that match, the newest last
		return many[len(many)-1], nil
	}
	return "", fmt.Errorf("cannot find %s in the registry", w.Request)
}

// npmError is why npm failed, in its own words.
type npmError struct{ code, line string }

func (e *npmError) Error() string { return fmt.Sprintf("npm says %s: %s", e.code, e.line) }

// complaint is what npm says in its JSON, or else what was seen of its end.
func complaint(out []byte, err error) error {
	var said struct {
		Error struct {
			Code    string `json:"code"`
			Summary string `json:"summary"`
		} `json:"error"`
	}
	if json.Unmarshal(out, &said) != nil || said.Error.Summary == "" {
		return err
	}
	line, _, _ := strings.Cut(said.Error.Summary, "\n")
	return &npmError{said.Error.Code, line}
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
