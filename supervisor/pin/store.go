package pin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Options are what a Store is made with. All but Log are required.
type Options struct {
	Dir  string // where packages are installed
	File string // the lock file

	// Write writes a file so that it is there whole or not at all.
	Write func(path string, data []byte) error

	// Run runs a program to its end and returns its standard output. The error of one that fails tells why.
	Run func(ctx context.Context, c Command) ([]byte, error)

	Log *zap.Logger
}

// Command is a program that Run runs.
type Command struct {
	Server  string // whose log gets what it says on standard error
	Argv    []string
	Dir     string
	Environ []string
	Secrets []string // of the environment, not to be shown
}

// Wish is a server's wish for a package.
type Wish struct {
	Server  string
	Request Request
	Dir     string   // where the server runs
	Environ []string // of the server: its proxies and registries are those of the installation too
	Secrets []string // what of it must not be shown
	Scripts bool     // install scripts may run
}

// runFor runs a program in dir for the wish.
func (s *Store) runFor(ctx context.Context, w Wish, dir string, argv []string) ([]byte, error) {
	return s.o.Run(ctx, Command{Server: w.Server, Argv: argv, Dir: dir, Environ: w.Environ, Secrets: w.Secrets})
}

// Store has the pins of all servers. It is safe for concurrent use.
type Store struct {
	o     Options
	turns chan struct{} // holds one for each installation that runs

	mu      sync.Mutex
	entries map[string]Entry         // guarded by mu; by server
	doors   map[string]chan struct{} // guarded by mu; by package: who holds the one value may install it
	doing   map[string]Doing         // guarded by mu; by server
	failed  map[string]failure       // guarded by mu; by server
}

// Doing is what is under way for a server.
type Doing struct {
	What  string
	Since time.Time
}

// failure is an installation that came to nothing.
type failure struct {
	request string
	source  string
	err     error
	at      time.Time
}

// Bounds of installations.
const (
	abreast     = 2                // at once: they are about the disk and the network
	longest     = 10 * time.Minute // one
	retryFailed = 5 * time.Minute  // until one that has failed is tried again without being asked to
)

// Open reads the lock file and removes what no server of names has pinned.
func Open(o Options, names []string) (*Store, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	entries, err := load(o.File)
	if err != nil {
		return nil, err
	}
	s := &Store{
		o: o, turns: make(chan struct{}, abreast), entries: entries,
		doors: map[string]chan struct{}{}, doing: map[string]Doing{}, failed: map[string]failure{},
	}
	return s, s.clean(names)
}

// clean is for the start, when nothing runs from the directories.
func (s *Store) clean(names []string) error {
	before := len(s.entries)
	maps.DeleteFunc(s.entries, func(name string, _ Entry) bool { return !slices.Contains(names, name) })
	if len(s.entries) != before {
		if err := s.save(); err != nil {
			return err
		}
	}
	keep := map[string]bool{}
	for _, e := range s.entries {
		keep[e.Now.Dir] = true
		if e.Before != nil {
			keep[e.Before.Dir] = true
		}
	}
	dirs, _ := os.ReadDir(s.o.Dir) // nothing was installed yet
	var errs []error
	for _, d := range dirs {
		if !keep[d.Name()] {
			errs = append(errs, os.RemoveAll(filepath.Join(s.o.Dir, d.Name())))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cannot remove packages that nobody uses: %w", err)
	}
	return nil
}

// Resolve is the program that a wish comes to. It installs the package if need be, which takes a while.
func (s *Store) Resolve(ctx context.Context, w Wish) (Program, error) {
	if p, err := local(w.Dir, w.Request); err != nil {
		return Program{}, err
	} else if p != nil {
		return *p, nil
	}
	if p, ok := s.pinned(w); ok {
		return s.program(w, p)
	}
	if err := s.recent(w); err != nil {
		return Program{}, err
	}
	leave, err := s.enter(ctx, w)
	if err != nil {
		return Program{}, err
	}
	defer leave()
	p, ok := s.pinned(w) // by whoever was before us
	if !ok {
		if p, err = s.provide(ctx, w); err != nil {
			s.remember(ctx, w, err)
			return Program{}, err
		}
	}
	return s.program(w, p)
}

// program is how a pin is started.
func (s *Store) program(w Wish, p Pin) (Program, error) {
	prog, err := s.of(p.Python).program(filepath.Join(s.o.Dir, p.Dir), w.Request)
	prog.Pin = p
	return prog, err
}

// Of is what is pinned for a server, and what is being done about it.
func (s *Store) Of(server string) (Entry, Doing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[server], s.doing[server]
}

// pinned is the server's pin, if it is what the entry asks for and is there.
func (s *Store) pinned(w Wish) (Pin, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[w.Server]
	if !ok || !e.answers(w) || e.Now.Scripts != w.Scripts {
		return Pin{}, false
	}
	return e.Now, s.there(e.Now)
}

func (s *Store) there(p Pin) bool {
	return s.of(p.Python).works(filepath.Join(s.o.Dir, p.Dir), p.Package)
}

// provide pins what w asks for: the version that this server or another has pinned for the same wish, or
// the newest that there is. Callers hold the package's door.
func (s *Store) provide(ctx context.Context, w Wish) (Pin, error) {
	known, has := s.agreed(w)
	if has && known.Scripts == w.Scripts && s.there(known) {
		return known, s.accept(w, known)
	}
	p, err := s.install(ctx, w, known)
	if err != nil {
		return Pin{}, err
	}
	return p, s.accept(w, p)
}

// ErrChanged means that a registry gives something else under a version than it gave before.
var ErrChanged = errors.New("cannot trust the package: it is not what it was")

// same tells whether p, which has come from a registry, is what it was when known was.
func (p Pin) same(known Pin) error {
	if p.Version != known.Version || known.Integrity == "" || p.Integrity == known.Integrity {
		return nil
	}
	return fmt.Errorf("%w: %s was pinned with %s and is %s now", ErrChanged, p, known.Integrity, p.Integrity)
}

// agreed is the version that is pinned for the same wish: for this server, or else for another.
func (s *Store) agreed(w Wish) (Pin, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.entries[w.Server]; ok && e.answers(w) {
		return e.Now, true
	}
	for _, name := range slices.Sorted(maps.Keys(s.entries)) {
		if e := s.entries[name]; e.answers(w) {
			return e.Now, true
		}
	}
	return Pin{}, false
}

// enter waits for the package's door and a turn.
func (s *Store) enter(ctx context.Context, w Wish) (leave func(), err error) {
	s.mu.Lock()
	door, ok := s.doors[w.Request.Package]
	if !ok {
		door = make(chan struct{}, 1)
		s.doors[w.Request.Package] = door
	}
	s.mu.Unlock()
	s.note(w.Server, "waiting to install "+w.Request.String())
	for _, c := range []chan struct{}{door, s.turns} {
		select {
		case c <- struct{}{}:
		case <-ctx.Done():
			if c == s.turns {
				<-door
			}
			s.note(w.Server, "")
			return nil, fmt.Errorf("gave up waiting to install %s: %w", w.Request, context.Cause(ctx))
		}
	}
	return func() {
		s.note(w.Server, "")
		<-s.turns
		<-door
	}, nil
}

// note says what is being done for a server; "" is nothing.
func (s *Store) note(server, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if what == "" {
		delete(s.doing, server)
		return
	}
	s.doing[server] = Doing{What: what, Since: time.Now()}
}

// recent is the error of an installation that has failed not long ago.
func (s *Store) recent(w Wish) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.failed[w.Server]
	if !ok || f.request != w.Request.String() || f.source != w.source() || time.Since(f.at) > retryFailed {
		return nil
	}
	return f.err
}

// remember notes a failure, but not that of somebody who did not want to wait.
func (s *Store) remember(ctx context.Context, w Wish, err error) {
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed[w.Server] = failure{request: w.Request.String(), source: w.source(), err: err, at: time.Now()}
}
