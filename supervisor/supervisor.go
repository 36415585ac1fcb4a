package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Entry is one server to run.
type Entry[C any] struct {
	Spec Spec

	// Open does the handshake on the pipes of a fresh child and returns what callers get from
	// Acquire. It must return when ctx ends, which it does when the child does.
	//
	// rwc.Read gives the child's standard output; when the child has ended it returns an error
	// whose text is the reason ("exited with code 1: …"), rwc.Write does the same. rwc.Close asks
	// for the end of that worker. rwc also has SetWriteDeadline, and Key() (key string, owned bool),
	// which tells whom the worker serves; owned is false for a spare, which serves nobody yet.
	Open func(ctx context.Context, rwc io.ReadWriteCloser) (C, error)

	// Spare tells whether a worker that was opened as a spare may serve key later. nil: any key.
	Spare func(key string) bool

	// Held counts the calls on a connection, and those of them that wait for another to be over because
	// the child does one thing at a time. It must not wait. With it a key gets as many workers as it needs,
	// without it everything of a key meets in one process.
	Held func(C) (calls, held int)

	// Beside has a server that serves and was changed go on as it was, until what is to replace it has a worker ready
	// and Promote is called. Without it, and for Exclusive servers, the change takes place in the server.
	Beside bool
}

// Supervisor owns the processes of a list of servers. It is safe for concurrent use.
type Supervisor[C any] struct {
	o       Options
	running sync.WaitGroup // the owners of servers and what looks after the children of Spawn
	// spawning are the calls of Spawn that may start something.
	spawning sync.WaitGroup

	relieving sync.WaitGroup  // relieve
	closing   context.Context // done when Close begins to wait no more: ends relieve
	halt      context.CancelFunc

	applying sync.Mutex // one Apply or Close at a time

	mu      sync.Mutex
	servers map[string]*server[C]    // guarded by mu; the list
	beside  map[string]*server[C]    // guarded by mu; replacements of those in the list
	leaving map[*server[C]]struct{}  // guarded by mu; removed, not yet gone
	spawned map[*disposable]struct{} // guarded by mu; what Spawn started, not yet gone
	closed  bool                     // guarded by mu
}

var errClosed = errors.New("cannot use a supervisor that is closed")

// New returns a supervisor of no servers. Close it.
func New[C any](o Options) *Supervisor[C] {
	o = o.withDefaults()
	if o.system == nil {
		o.system = newHost(o)
	}
	s := &Supervisor[C]{
		o: o, servers: make(map[string]*server[C]), beside: make(map[string]*server[C]), leaving: make(map[*server[C]]struct{}),
		spawned: make(map[*disposable]struct{}),
	}
	s.closing, s.halt = context.WithCancel(context.Background())
	s.relieving.Go(func() { s.relieve(s.closing.Done()) }) // ends with Close
	return s
}

// Apply makes the list of servers what want says and returns what that changed. Servers that stay
// as they are notice nothing. It does not wait: children start beside each other, and those that
// were removed or replaced finish their calls, both after it has returned. A command that cannot
// be found is no error here; it is looked for again at the next Apply and at every call.
func (s *Supervisor[C]) Apply(ctx context.Context, want []Entry[C]) (Change, error) {
	s.applying.Lock()
	defer s.applying.Unlock()
	specs := make([]Spec, 0, len(want))
	for _, e := range want {
		if e.Open == nil {
			return Change{}, fmt.Errorf("cannot run server %q: it has no Open", e.Spec.Name)
		}
		if slices.ContainsFunc(specs, func(t Spec) bool { return t.Name == e.Spec.Name }) {
			return Change{}, fmt.Errorf("cannot run server %q twice", e.Spec.Name)
		}
		specs = append(specs, e.Spec)
	}
	if s.isClosed() {
		return Change{}, errClosed
	}
	if err := ctx.Err(); err != nil { // from here on all is done or nothing
		return Change{}, err
	}
	change := Diff(s.specs(), specs)
	for _, e := range want {
		if err := s.place(e); err != nil {
			return change, fmt.Errorf("cannot configure server %q: %w", e.Spec.Name, err)
		}
	}
	for name, srv := range s.list() {
		if !slices.ContainsFunc(specs, func(t Spec) bool { return t.Name == name }) {
			s.abandon(name)
			s.dismiss(srv)
			srv.leave("server was removed", s.o.Drain)
		}
	}
	return change, nil
}

// Pool is the stable handle on a server's workers; false if there is no such server.
func (s *Supervisor[C]) Pool(name string) (*Pool[C], bool) {
	srv, ok := s.get(name)
	if !ok {
		return nil, false
	}
	return srv.pool, true
}

// Logs reads what the children of a server wrote to standard error; false if there is no such server.
func (s *Supervisor[C]) Logs(name string) (LogReader, bool) {
	srv, ok := s.get(name)
	if !ok {
		return LogReader{}, false
	}
	return LogReader{srv.ring}, true
}

// Snapshot measures all servers and the processes that belong to none.
func (s *Supervisor[C]) Snapshot() Snapshot {
	m := s.o.system.measure()
	snap := Snapshot{Orphans: m.orphans}
	for _, srv := range s.all() {
		st, ok := srv.measured(m.groups)
		if !ok || srv == s.replacement(srv.name) {
			continue
		}
		held := s.o.system.report(st.want)
		st.InForce, st.Missing = held.InForce, held.Missing
		if next := s.replacement(srv.name); next != nil && srv == s.listed(srv.name) {
			if how, ok := next.measured(m.groups); ok {
				st.withReplacement(how)
			}
		}
		snap.Servers = append(snap.Servers, st)
	}
	slices.SortFunc(snap.Servers, func(a, b ServerStatus) int { return cmp.Compare(a.Name, b.Name) })
	return snap
}

// Restart replaces the workers of a server by new ones, looks for its command again, forgets its
// failures, and waits until one new worker is ready. The error is why none is.
func (s *Supervisor[C]) Restart(ctx context.Context, name string) error {
	srv, ok := s.get(name)
	if !ok {
		return unknown(name)
	}
	return wrap("restart", name, srv.await(ctx, srv.restart, srv.up))
}

// Start undoes Stop, ends a back-off, looks for the command again, and waits until a worker is
// ready. The error is why none is.
func (s *Supervisor[C]) Start(ctx context.Context, name string) error {
	srv, ok := s.get(name)
	if !ok {
		return unknown(name)
	}
	return wrap("start", name, srv.await(ctx, srv.begin, srv.up))
}

// Stop ends the workers of a server once their calls are done, and starts no more until Start or
// the end of mcpd. It returns when the last has gone, or with the error of ctx.
func (s *Supervisor[C]) Stop(ctx context.Context, name string) error {
	srv, ok := s.get(name)
	if !ok {
		return unknown(name)
	}
	return wrap("stop", name, srv.await(ctx, srv.rein, srv.down))
}

// Missing names the limits and restrictions of an entry that this machine cannot give, and why.
func (s *Supervisor[C]) Missing(spec Spec) []string { return s.o.system.report(spec.want()).Missing }

// StopKeys ends every worker that match says yes to, by the name of its server and its key, with the calls on it: who it
// belongs to may not use the server any more. It does not wait for their end. match must not call the supervisor.
func (s *Supervisor[C]) StopKeys(match func(server, key string) bool) {
	for _, srv := range s.all() {
		_ = srv.do(func() { srv.expel(func(key string) bool { return match(srv.name, key) }) }) // a server that is gone has no workers
	}
}

// Close lets the calls that are on finish, stops everything and waits until it is gone. It leaves
// the workers time for the five steps of their end before the deadline of ctx; when ctx ends
// first, they are killed, and the error of ctx is returned.
func (s *Supervisor[C]) Close(ctx context.Context) error {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()

	s.halt()
	s.relieving.Wait()
	s.spawning.Wait() // what has been let in is known now
	for _, d := range s.disposables() {
		d.kill()
	}
	for _, srv := range s.all() {
		srv.leave("mcpd is shutting down", drainUntil(ctx, s.o.Drain, srv.slowest(ctx)))
	}
	gone := make(chan struct{})
	go func() { // ends when the last server has: every process ends, because all are killed below
		s.running.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		s.o.system.close()
		return nil
	case <-ctx.Done():
	}
	err := fmt.Errorf("cannot wait for the end of all workers: %w", context.Cause(ctx))
	s.o.Logger.Warn("killing what has not ended", zap.Error(err))
	if !s.killUntil(gone) {
		return errors.Join(err, errors.New("cannot kill all workers: the kernel does not let go of some"))
	}
	s.o.system.close()
	return err
}

// killUntil kills what runs, again and again because something may be on its way up, until gone.
func (s *Supervisor[C]) killUntil(gone <-chan struct{}) bool {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		s.o.system.killAll()
		select {
		case <-gone:
			return true
		case <-tick.C:
		}
	}
	return false
}

// drainUntil is the time that is left for calls if ending takes up to end.
func drainUntil(ctx context.Context, most, end time.Duration) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return most
	}
	return max(0, min(most, time.Until(deadline)-end))
}

func unknown(name string) error { return fmt.Errorf("cannot find server %q", name) }

func wrap(verb, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("cannot %s %s: %w", verb, name, err)
}

func keys[K comparable](m map[K]struct{}) []K {
	list := make([]K, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	return list
}
