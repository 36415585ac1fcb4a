package supervisor

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// This file is the list of servers, and the few things the supervisor asks of one.

func (s *Supervisor[C]) get(name string) (*server[C], bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	srv, ok := s.servers[name]
	return srv, ok
}

// list is a copy of the list.
func (s *Supervisor[C]) list() map[string]*server[C] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.servers)
}

// all are the servers of the list, their replacements and those that are on their way out of it.
func (s *Supervisor[C]) all() []*server[C] {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := keys(s.leaving)
	list = slices.AppendSeq(list, maps.Values(s.servers))
	return slices.AppendSeq(list, maps.Values(s.beside))
}

func (s *Supervisor[C]) listed(name string) *server[C] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.servers[name]
}

func (s *Supervisor[C]) disposables() []*disposable {
	s.mu.Lock()
	defer s.mu.Unlock()
	return keys(s.spawned)
}

func (s *Supervisor[C]) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// specs are the entries as they were applied last.
func (s *Supervisor[C]) specs() (specs []Spec) {
	for _, srv := range s.list() {
		got := make(chan Spec, 1)
		if srv.ask(context.Background(), func() { got <- srv.spec }) == nil {
			specs = append(specs, <-got)
		}
	}
	return specs
}

// admit returns the server of that name and makes it if there is none.
func (s *Supervisor[C]) admit(name string) *server[C] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if srv, ok := s.servers[name]; ok {
		return srv
	}
	srv := newServer[C](name, s.o)
	s.servers[name] = srv
	s.launch(srv)
	return srv
}

// launch starts the owner of a server. Callers hold mu.
func (s *Supervisor[C]) launch(srv *server[C]) {
	s.running.Go(func() { // ends when the server is told to leave, by Apply, Promote or Close
		srv.run()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.leaving, srv)
	})
}

// dismiss takes a server off the list. It is seen until its last worker is gone.
func (s *Supervisor[C]) dismiss(srv *server[C]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.servers, srv.name)
	s.leaving[srv] = struct{}{}
}

// leave makes the server end: calls have grace to finish.
func (s *server[C]) leave(why string, grace time.Duration) {
	_ = s.do(func() { // one that is gone has left
		s.parting, s.grace = why, grace
		s.happen(closeAsked)
		s.retire(func(*worker[C]) bool { return true }) // also those that were draining with more time
	})
}

// slowest is the time that the five steps of an end may take.
func (s *server[C]) slowest(ctx context.Context) time.Duration {
	got := make(chan time.Duration, 1)
	if s.ask(ctx, func() { got <- s.spec.Timeouts.Stdin + s.spec.Timeouts.Term }) != nil {
		return 0
	}
	return <-got + time.Second
}

var errDisabled = errors.New("it is disabled in the configuration")

// restart, begin and rein run on the owner's goroutine; up and down say when they are done.
func (s *server[C]) restart() error {
	if s.door.state == disabled {
		return errDisabled
	}
	s.bespoken, s.shortSince = true, time.Time{}
	s.supersede("server is restarting")
	s.happen(startAsked)
	return nil
}

func (s *server[C]) begin() error {
	if s.door.state == disabled {
		return errDisabled
	}
	s.bespoken, s.shortSince = s.census().ready == 0, time.Time{}
	s.happen(startAsked)
	return nil
}

func (s *server[C]) rein() error {
	if s.door.state == disabled {
		return errDisabled
	}
	s.parting = "server was stopped by its operator"
	s.happen(stopAsked)
	return nil
}

// up tells whether a worker of the present generation is ready; of a replacement, whether as many are as will be soon.
func (s *server[C]) up() (bool, error) {
	serving, coming := 0, 0
	for _, w := range s.workers {
		switch {
		case w.generation != s.generation:
		case w.state == ready:
			serving++
		case w.state == starting:
			coming++
		}
	}
	refused := s.refusal(time.Now())
	if serving > 0 && (!s.standby || coming == 0 || serving >= s.crew || refused != nil) {
		return true, nil
	}
	if refused != nil {
		return false, refused
	}
	if s.short != "" && time.Since(s.shortSince) >= s.spec.Timeouts.Start { // as long as a call waits
		return false, &Busy{Reason: s.short, RetryAfter: s.o.BusyRetry}
	}
	if !s.bespoken && !s.standby { // what was asked for has come to nothing
		return false, errors.New(s.why)
	}
	return false, nil
}

func (s *server[C]) down() (bool, error) {
	return len(s.workers) == 0 || s.door.state != halted, nil
}
