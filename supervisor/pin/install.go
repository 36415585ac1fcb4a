package pin

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"
)

// installer is what knows packages of one kind: npm, uv.
type installer interface {
	// install puts a package into dir, in the version that is known or else the newest that is wished for, and tells what came:
	// all of the pin but Dir is filled in, and Dir is as much of it as tells packages of this kind apart.
	install(ctx context.Context, w Wish, dir string, known Pin) (Pin, error)

	// latest asks the registry, and nothing that is kept on disk, for the newest version that is wished for.
	// dir is an empty directory for what comes of it.
	latest(ctx context.Context, w Wish, dir string) (version string, err error)

	// program is how what r asks for is started from an installation.
	program(root string, r Request) (Program, error)

	// works tells whether the package is there and can be started.
	works(root, name string) bool
}

// of is the installer for packages of Python or else of Node.
func (s *Store) of(python bool) installer {
	if python {
		return uv{s}
	}
	return npm{s}
}

// install installs the package in a directory of its own and returns the pin for it: in the version that is
// known, or if none is in the newest that is wished for. Callers hold the package's door.
func (s *Store) install(ctx context.Context, w Wish, known Pin) (Pin, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, longest, fmt.Errorf("not done within %v", longest))
	defer cancel()
	what := w.Request.String()
	if known.Version != "" {
		what = w.Request.Package + " " + known.Version
	}
	s.note(w.Server, "installing "+what)
	s.o.Log.Info("installing a package", zap.String("server", w.Server), zap.String("package", what))
	tmp, err := s.room()
	if err != nil {
		return Pin{}, err
	}
	defer func() { _ = os.RemoveAll(tmp) }() // what is left of it goes at the next start
	began := time.Now()
	p, err := s.of(w.Request.Python).install(ctx, w, tmp, known)
	if err != nil {
		return Pin{}, fmt.Errorf("cannot install %s: %w", what, err)
	}
	if p, err = s.take(tmp, w, p, known); err == nil {
		s.o.Log.Info("package is installed", zap.String("server", w.Server), zap.Stringer("package", p),
			zap.Duration("after", time.Since(began).Round(time.Millisecond)), zap.Strings("scripts_not_run", p.Silent))
	}
	return p, err
}

// room makes a directory for something that is not complete yet.
func (s *Store) room() (dir string, err error) {
	if err = os.MkdirAll(s.o.Dir, 0o700); err == nil {
		dir, err = os.MkdirTemp(s.o.Dir, ".new-")
	}
	if err != nil {
		return "", fmt.Errorf("cannot make room for packages: %w", err)
	}
	return dir, nil
}

// newest is the newest version that is wished for.
func (s *Store) newest(ctx context.Context, w Wish) (string, error) {
	tmp, err := s.room()
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(tmp) }() // what is left of it goes at the next start
	version, err := s.of(w.Request.Python).latest(ctx, w, tmp)
	if err != nil {
		return "", fmt.Errorf("cannot ask for the newest %s: %w", w.Request, err)
	}
	return version, nil
}

// take gives an installation that is complete its final place, under the version that it turned out to have.
// What is not what it was gets none.
func (s *Store) take(tmp string, w Wish, p, known Pin) (Pin, error) {
	if _, err := s.of(p.Python).program(tmp, w.Request); err != nil {
		return Pin{}, err
	}
	p.Package, p.Scripts, p.Source, p.Since = w.Request.Package, w.Scripts, w.source(), time.Now().UTC().Truncate(time.Second)
	if p.Scripts {
		p.Dir += "+scripts"
	}
	if p.Source != "" {
		p.Dir += "+from" + p.Source
	}
	if !filepath.IsLocal(p.Dir) || strings.ContainsRune(p.Dir, filepath.Separator) {
		return Pin{}, fmt.Errorf("cannot use a package whose version is %q", p.Version)
	}
	if err := cmp.Or(p.same(known), p.same(s.present(w))); err != nil {
		return Pin{}, err
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

// present is the server's pin of that package from there, whatever version is wished for now.
func (s *Store) present(w Wish) Pin {
	if e, _ := s.Of(w.Server); e.Now.Package == w.Request.Package && e.Now.Python == w.Request.Python && e.Now.Source == w.source() {
		return e.Now
	}
	return Pin{}
}

// told turns the end of a run into an error: the caller's, if it does not want to wait any more, or what is made of the output.
func told(ctx context.Context, err error, complaint func() error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return complaint()
}
