package supervisor

import (
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

type openFunc[C any] = func(ctx context.Context, rwc io.ReadWriteCloser) (C, error)

// server is one entry of the list with its workers. One goroutine, run, owns it; everybody else
// sends it events, or functions to run between two events.
type server[C any] struct {
	name string
	o    Options
	log  *zap.Logger
	ring *ring
	pool *Pool[C]

	events chan occurrence[C] // from the goroutines that live with workers
	asks   chan func()        // from everybody else
	nudges chan struct{}      // a worker became free and somebody waits for that; holds one
	starts chan struct{}      // holds one for each of its starts that counts for Abreast
	quit   chan struct{}      // closed when run takes nothing more
	done   chan struct{}      // closed when everything that run started has ended
	// running are the goroutines that live with workers.
	running sync.WaitGroup

	// Everything below belongs to run.
	spec       Spec
	handshake  openFunc[C]
	fits       func(key string) bool // whether a spare may serve key; nil: any
	mask       *masker
	door       machine
	generation int // of the configuration; workers of an older one are on their way out
	workers    []*worker[C]
	queue      []*waiter[C]
	watchers   []watcher
	relieving  bool // workers of an older generation serve until one of this is ready
	bespoken   bool // a person asked for a start: keep one spare until it is ready or failed
	standby    bool // it is a replacement: keep spares, and try again until it is ready
	crew       int  // a replacement's: how many callers the server of before has
	born       time.Time
	grace      time.Duration // how long a draining worker may take
	parting    string        // why workers are retired
	lacking    string        // why the command cannot be found
	streak     streak
	owed       int // ends that no start has made good yet
	restarts   hourly
	past       uint64    // calls of workers that are gone
	looks      time.Time // when it is looked next which workers need company; zero: not
	short      string    // why the budget had no place for a worker; it stands in the line then
	shortSince time.Time // since when it has had none, or somebody asked again; zero: it has

	seen      State // what public said last, why, and since when it says so
	why       string
	seenSince time.Time
}

// watcher is somebody who waits for the server to come into some condition.
type watcher struct {
	met  func() (bool, error)
	done chan error // holds one
}

func newServer[C any](name string, o Options) *server[C] {
	s := &server[C]{
		name: name, o: o, log: o.Logger.With(zap.String("server", name)),
		ring:   &ring{lines: o.LogLines, bytes: o.LogBytes},
		events: make(chan occurrence[C]), asks: make(chan func()), nudges: make(chan struct{}, 1),
		starts: make(chan struct{}, max(1, o.Abreast/2)), quit: make(chan struct{}), done: make(chan struct{}),
		born: time.Now(), mask: newMasker(nil), door: machine{state: disabled, since: time.Now()}, grace: o.Drain,
	}
	s.ring.file = newLogFile(o.LogFiles, name, s.log)
	s.pool = &Pool[C]{server: s, ready: make(map[string][]*worker[C])}
	return s
}

// run owns the server until it is closed and its last worker is gone.
func (s *server[C]) run() {
	defer close(s.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for s.door.state != closing || len(s.workers) > 0 {
		s.arm(timer)
		select {
		case o := <-s.events:
			s.step(o.worker, o.event, o.reason)
		case f := <-s.asks:
			f()
		case <-s.nudges:
		case <-timer.C:
			s.elapse(time.Now())
		}
		s.settle(time.Now())
	}
	close(s.quit)
	s.running.Wait()
	s.ring.file.close()
}

// arm sets the one timer to the earliest deadline. Since Go 1.23 Reset leaves no late tick behind.
func (s *server[C]) arm(timer *time.Timer) {
	next := s.door.deadline
	earlier := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, w := range s.workers {
		earlier(w.deadline)
	}
	for _, q := range s.queue {
		earlier(q.deadline)
	}
	earlier(s.looks)
	if next.IsZero() {
		timer.Stop()
		return
	}
	timer.Reset(time.Until(next))
}

// elapse tells every machine whose deadline has come.
func (s *server[C]) elapse(now time.Time) {
	if s.door.due(now) {
		s.happen(delayElapsed)
	}
	for _, w := range slices.Clone(s.workers) {
		switch {
		case !w.due(now):
		case w.state == ready:
			s.rest(w, now)
		case w.state == starting:
			s.step(w, deadlineElapsed, "not ready within "+short(s.spec.Timeouts.Start))
		default:
			s.step(w, deadlineElapsed, s.parting)
		}
	}
	for _, q := range s.queue {
		if !q.deadline.After(now) && s.coming(q.key) {
			q.deadline = time.Time{} // the worker's own deadline decides
		}
	}
}

// settle brings everything in line with what has just happened. It is the one place that acts on
// the state as a whole, so no event has to remember who else it concerns.
func (s *server[C]) settle(now time.Time) {
	// Before looking: a call that ends from here on is reported.
	waiting := s.draining() || len(s.queue) > 0
	if waiting {
		s.pool.watch(true)
	}
	for _, w := range slices.Clone(s.workers) {
		if _, active := s.pool.load(w); w.state == draining && active == 0 {
			s.step(w, drained, s.parting)
		}
	}
	lined := s.short != ""
	s.short = ""
	s.serve(now)
	s.widen(now)
	s.warm(now)
	switch {
	case s.short == "":
		if s.shortSince = (time.Time{}); lined {
			s.o.budget.leave(s)
		}
	case s.shortSince.IsZero():
		s.shortSince = now
	case now.Sub(s.shortSince) >= s.spec.Timeouts.Start: // who asked for it is told now
		s.bespoken = false
	}
	if waiting && !s.draining() && len(s.queue) == 0 {
		s.pool.watch(false)
	}
	s.observe(now)
}

func (s *server[C]) draining() bool {
	for _, w := range s.workers {
		if w.state == draining {
			return true
		}
	}
	return false
}

// observe notes the public state and answers those who wait for it.
func (s *server[C]) observe(now time.Time) {
	seen, why := s.public()
	if seen != s.seen {
		s.seenSince = now
	}
	s.seen, s.why = seen, why
	kept := s.watchers[:0]
	for _, w := range s.watchers {
		if met, err := w.met(); met || err != nil {
			w.done <- err
			continue
		}
		kept = append(kept, w)
	}
	clear(s.watchers[len(kept):])
	s.watchers = kept
}

// nudge wakes the owner. One nudge that has not been seen yet is as good as many.
func (s *server[C]) nudge() {
	select {
	case s.nudges <- struct{}{}:
	default:
	}
}

// tell gives the owner an event. After the owner has ended there is nobody whom it concerns.
func (s *server[C]) tell(o occurrence[C]) {
	select {
	case s.events <- o:
	case <-s.quit:
	}
}

// ask lets the owner run f, and returns when it has begun to. The owner does nothing that waits,
// so that is soon.
func (s *server[C]) ask(ctx context.Context, f func()) error {
	select {
	case s.asks <- f:
		return nil
	case <-s.quit:
		return s.departed()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// await asks the owner to run f and waits until met, which the owner calls whenever something has
// happened, says yes or gives an error.
func (s *server[C]) await(ctx context.Context, f func() error, met func() (bool, error)) error {
	done := make(chan error, 1)
	err := s.ask(ctx, func() {
		if err := f(); err != nil {
			done <- err
			return
		}
		s.watchers = append(s.watchers, watcher{met: met, done: done})
	})
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-s.quit:
		select { // answered in its last round
		case err := <-done:
			return err
		default:
			return s.departed()
		}
	case <-ctx.Done():
		_ = s.ask(context.WithoutCancel(ctx), func() { // a server that is gone watches nothing
			s.watchers = slices.DeleteFunc(s.watchers, func(w watcher) bool { return w.done == done })
		})
		return context.Cause(ctx)
	}
}

// do lets the owner run f and settle what follows from it.
func (s *server[C]) do(f func()) error {
	return s.await(context.Background(), func() error { f(); return nil }, func() (bool, error) { return true, nil })
}

func (s *server[C]) departed() error {
	return &Unavailable{Reason: "server is not there any more"}
}
