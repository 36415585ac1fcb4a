package supervisor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// This file is replacements: servers that were changed and whose workers are not ready yet. Until
// they are, one for each who calls, the server of before serves as if nothing had been changed.

var errNotBeside = errors.New("it has no replacement on its way")

// present is how long ago somebody may have called for whom a replacement has a worker ready.
const present = 30 * time.Second

// callers counts the keys that have a worker and a call, or had one a moment ago, and that a spare may serve.
func (s *server[C]) callers(now time.Time) int {
	seen := map[string]bool{}
	for _, w := range s.workers {
		if !w.owned || w.key == "" || w.state != ready || s.fits != nil && !s.fits(w.key) {
			continue
		}
		if used, idle := s.pool.idleSince(w); !idle || now.Sub(used) < present {
			seen[w.key] = true
		}
	}
	return len(seen)
}

// beside tells whether e is to come up beside the server as it is: one that serves and runs something else.
func (s *server[C]) beside(e Entry[C]) bool {
	got := make(chan bool, 1)
	if s.ask(context.Background(), func() {
		runs := s.door.state == open || s.door.state == backoff
		got <- runs && s.census().ready > 0 && !s.spec.Disabled && !e.Spec.Disabled && !s.spec.Exclusive && !e.Spec.Exclusive && !s.spec.sameProcess(e.Spec)
	}) != nil {
		return false
	}
	return <-got
}

// place takes over an entry: beside the server as it is, if that may be, or in it. Callers hold applying.
func (s *Supervisor[C]) place(e Entry[C]) error {
	srv, next := s.admit(e.Spec.Name), s.replacement(e.Spec.Name)
	if e.Beside && srv.beside(e) {
		if next != nil && next.runs(e.Spec) {
			return next.do(func() { next.configure(e) })
		}
		s.abandon(e.Spec.Name)
		crew := 0
		_ = srv.do(func() { crew = srv.callers(time.Now()) }) // one that is gone has none
		next = s.raise(srv)
		return next.do(func() { next.standby, next.crew = true, crew; next.configure(e) })
	}
	s.abandon(e.Spec.Name)
	return srv.do(func() { srv.configure(e) })
}

// raise makes the replacement of a server. What its workers say goes where that of the server's goes.
func (s *Supervisor[C]) raise(srv *server[C]) *server[C] {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := newServer[C](srv.name, s.o)
	next.ring = srv.ring
	s.beside[srv.name] = next
	s.launch(next)
	return next
}

// abandon ends a replacement that is not wanted any more, if there is one.
func (s *Supervisor[C]) abandon(name string) {
	s.mu.Lock()
	next := s.beside[name]
	if delete(s.beside, name); next != nil {
		s.leaving[next] = struct{}{}
	}
	s.mu.Unlock()
	if next != nil {
		next.leave("server was changed again", 0)
	}
}

func (s *Supervisor[C]) replacement(name string) *server[C] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.beside[name]
}

// runs tells whether the server's processes are those of spec.
func (s *server[C]) runs(spec Spec) bool {
	got := make(chan bool, 1)
	return s.ask(context.Background(), func() { got <- s.spec.sameProcess(spec) }) == nil && <-got
}

// Replacement is the pool of the replacement that the server has on its way; false if it has none.
func (s *Supervisor[C]) Replacement(name string) (*Pool[C], bool) {
	next := s.replacement(name)
	if next == nil {
		return nil, false
	}
	return next.pool, true
}

// Try waits until the replacement of a server has its workers ready, or until it is known why it has none yet, which is
// the error. It goes on trying either way. With patience Try waits for a worker only.
func (s *Supervisor[C]) Try(ctx context.Context, name string, patience bool) error {
	next := s.replacement(name)
	if next == nil {
		return errNotBeside
	}
	return next.await(ctx, func() error { return nil }, func() (bool, error) {
		up, err := next.up()
		if patience {
			err = nil
		}
		return up, err
	})
}

// Promote puts the replacement of a server in its place, be it ready or not, and calls swap. The server of before goes on
// for those who have its pool still, as long as retire is not called; then it finishes its calls and ends.
func (s *Supervisor[C]) Promote(name string, swap func()) (retire func(), err error) {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	next, old := s.beside[name], s.servers[name]
	if next == nil || s.closed {
		s.mu.Unlock()
		return nil, errNotBeside
	}
	delete(s.beside, name)
	s.servers[name] = next
	s.leaving[old] = struct{}{}
	s.mu.Unlock()
	_ = next.do(func() { next.standby = false }) // it has just been found in the list
	swap()
	return func() { old.leave("server was changed", s.o.Drain) }, nil
}

// withReplacement adds what is known of the replacement to the status of a server.
func (st *ServerStatus) withReplacement(next ServerStatus) {
	how := "its replacement "
	switch next.State {
	case StateReady:
		how += "is ready"
	case StateStarting:
		how += "is " + next.Reason // waiting for something
	default:
		how += strings.TrimPrefix(next.Reason, "starts at the next call; ")
	}
	st.Reason = fmt.Sprintf("%s as before the change of %s: %s", st.Reason, next.born.Format(time.TimeOnly), how)
	st.Workers = append(st.Workers, next.Workers...)
	st.Restarts, st.RestartsHour = st.Restarts+next.Restarts, st.RestartsHour+next.RestartsHour
}
