package supervisor

import (
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// This file is what the owner of a server does: every method runs on its goroutine.

// configure takes over a new entry. What runs stays if it would be started the same way again.
func (s *server[C]) configure(e Entry[C]) {
	before := s.spec
	s.spec, s.handshake, s.fits, s.mask = e.Spec, e.Open, e.Spare, newMasker(e.Spec.Secrets)
	s.pool.spread(e.Held)
	switch {
	case e.Spec.Disabled:
		s.parting = "server was disabled"
		s.happen(disabledBy)
	case s.door.state == disabled:
		s.happen(enabled)
	case !before.sameProcess(e.Spec):
		s.supersede("server was changed")
		s.happen(enabled)
	case s.door.state == missing:
		s.seek()
	}
}

// supersede begins a new generation. Where a worker is kept ready, those of before serve until
// one of the new is; otherwise they finish their calls while new calls start new workers.
func (s *server[C]) supersede(why string) {
	serving := s.census().ready > 0
	s.generation++
	s.parting = why
	s.relieving = serving && s.wanted() > 0 && !s.spec.Exclusive
	if !s.relieving {
		s.retire(func(w *worker[C]) bool { return true })
		return
	}
	s.retire(func(w *worker[C]) bool { return w.state == starting })
}

// happen moves the door.
func (s *server[C]) happen(ev event) {
	from := s.door.state
	do, ok := s.door.step(ev, time.Now())
	if !ok {
		return
	}
	if from != s.door.state {
		s.log.Debug("door moved", zap.String("from", string(from)), zap.String("to", string(s.door.state)), zap.String("event", string(ev)))
	}
	switch do {
	case look:
		s.streak = streak{}
		s.seek()
	case retire:
		// What is started next has nothing to do with these, and need not wait for their places.
		s.generation++
		s.bespoken, s.relieving = false, false
		s.retire(func(*worker[C]) bool { return true })
	}
}

// seek looks for the command.
func (s *server[C]) seek() (path string, err error) {
	path, err = lookup(s.spec)
	if err == nil {
		s.happen(commandFound)
		return path, nil
	}
	if s.lacking = err.Error(); s.door.state != missing {
		s.log.Warn("server cannot be started", zap.String("reason", s.lacking))
	}
	s.bespoken = false
	s.happen(commandMissing)
	return "", err
}

// retire lets the workers that are meant finish their calls and end.
func (s *server[C]) retire(meant func(*worker[C]) bool) {
	latest := time.Now().Add(s.grace)
	for _, w := range slices.Clone(s.workers) {
		if !meant(w) {
			continue
		}
		s.step(w, retired, s.parting)
		if w.state == draining && w.deadline.After(latest) {
			w.deadline = latest
		}
	}
}

// step moves a worker.
func (s *server[C]) step(w *worker[C], ev event, reason string) {
	now := time.Now()
	do, ok := w.machine.step(ev, now)
	if !ok {
		return
	}
	switch w.state {
	case ready:
		w.deadline = now.Add(s.spec.Workers.Idle)
	case draining:
		w.deadline = now.Add(s.grace)
	}
	switch do {
	case admit:
		s.admit(w, now)
	case drain:
		s.pool.withdraw(w)
	case stop:
		s.pool.withdraw(w)
		w.dismiss(reason)
	case abort:
		s.pool.withdraw(w)
		s.charge(w, reason, now)
		w.dismiss(reason)
	case crash:
		s.charge(w, reason, now)
		s.bury(w, reason)
		s.revive(w, now)
	case bury:
		s.bury(w, reason)
	}
}

// admit lets calls in, and the workers that waited to be relieved go.
func (s *server[C]) admit(w *worker[C], now time.Time) {
	w.readyAt = now
	s.pool.admit(w, now)
	s.log.Info("worker is ready", zap.Int("pid", w.processID()), zap.Duration("after", now.Sub(w.born).Round(time.Millisecond)))
	if w.generation == s.generation {
		s.bespoken = false
		if s.relieving {
			s.relieving = false
			s.retire(func(w *worker[C]) bool { return w.generation < s.generation })
		}
	}
}

// charge counts a failure against the server and closes the door if a pause is due.
func (s *server[C]) charge(w *worker[C], reason string, now time.Time) {
	reason = s.mask.mask(reason)
	s.owed++
	pause := s.streak.add(failure{at: now, born: w.born, ready: w.readyAt, reason: reason}, s.o.Backoff, s.o.chance)
	s.log.Warn("worker ended by itself", zap.Int("pid", w.processID()), zap.String("reason", reason),
		zap.Int("in_a_row", s.streak.failures), zap.Duration("pause", pause))
	if pause > 0 {
		s.bespoken = false
		s.happen(failed)
		if s.door.state == backoff {
			s.door.deadline = now.Add(pause)
		}
	}
}

// revive replaces a worker that fell in the middle of its work at once: whoever it served calls again soon. A server
// whose workers keep falling has a pause first, and its door is not open.
func (s *server[C]) revive(w *worker[C], now time.Time) {
	used, _ := s.pool.idleSince(w)
	calls, _ := s.pool.load(w)
	if calls == 0 || !w.owned || w.generation != s.generation || now.Sub(used) > s.o.Backoff.Stable {
		return
	}
	if s.door.state == open && !s.coming(w.key) && s.spare(w.key) == nil && s.room() {
		_ = s.launch(w.key, true, now) // if there is no place for it now, the next call asks again
	}
}

// bury forgets a worker whose process is gone.
func (s *server[C]) bury(w *worker[C], reason string) {
	s.pool.withdraw(w)
	calls, _ := s.pool.load(w)
	s.past += calls
	for i, other := range s.workers {
		if other == w {
			s.workers = append(s.workers[:i], s.workers[i+1:]...)
			break
		}
	}
	if why := w.farewell.Load(); why != nil {
		s.log.Info("worker is gone", zap.Int("pid", w.processID()), zap.String("why", *why), zap.String("end", s.mask.mask(reason)))
	}
}

// launch starts a worker, for key or as a spare. The error is a refusal.
func (s *server[C]) launch(key string, owned bool, now time.Time) error {
	path, err := s.seek()
	if err != nil {
		return s.unfound()
	}
	if s.short == "" { // after one refusal the line decides
		turn := now
		if !owned {
			turn = now.Add(courtesy)
		}
		s.short = s.o.budget.take(s, turn)
	}
	if s.short != "" {
		return &Busy{Reason: s.short, RetryAfter: s.o.BusyRetry}
	}
	w := &worker[C]{
		machine:    machine{state: starting, since: now}, // its time runs from when prepare is done
		generation: s.generation, born: now, halt: make(chan struct{}), wanted: make(chan struct{}), key: key, owned: owned,
	}
	s.workers = append(s.workers, w)
	if s.owed > 0 {
		s.owed--
		s.restarts.add(now)
	}
	o := order{spec: s.spec, path: path, ring: s.ring, mask: s.mask, trial: s.streak.looping(s.o.Backoff)}
	o.ahead = !owned && !s.bespoken && !o.trial
	handshake := s.handshake
	s.running.Go(func() { // ends with the process, which the table ends in every state
		defer s.o.budget.give()
		s.live(w, o, handshake)
	})
	return nil
}

func (s *server[C]) unfound() error {
	return &Unavailable{Reason: "server cannot start: " + s.lacking}
}

// expel ends the workers of the keys that match, now, with the calls on them.
func (s *server[C]) expel(match func(key string) bool) {
	for _, w := range slices.Clone(s.workers) {
		if w.owned && match(w.key) {
			s.step(w, stopAsked, "access was removed")
		}
	}
	s.queue = slices.DeleteFunc(s.queue, func(q *waiter[C]) bool {
		if !match(q.key) {
			return false
		}
		q.answer <- granted[C]{err: &Unavailable{Reason: "access was removed"}}
		return true
	})
}

// wanted is how many workers are kept ready for callers that have none.
func (s *server[C]) wanted() int {
	switch {
	case s.standby:
		return max(s.spec.Workers.Min, 1, s.crew)
	case s.bespoken:
		return max(s.spec.Workers.Min, 1)
	}
	return s.spec.Workers.Min
}

// spares counts the workers that stand ready for such callers: those without a key, and that of
// the key "", which is everybody's.
func (s *server[C]) spares() (n int) {
	for _, w := range s.workers {
		if w.generation == s.generation && (w.state == starting || w.state == ready) && w.key == "" {
			n++
		}
	}
	return n
}

// warm starts what is to be kept ready.
func (s *server[C]) warm(now time.Time) {
	for s.door.state == open && s.spares() < s.wanted() && s.room() {
		if s.launch("", false, now) != nil {
			return // the door has closed, or there is no place; the next event tries again
		}
	}
}

// rest ends a worker that has been idle for long enough, or sets its deadline to when it may be.
func (s *server[C]) rest(w *worker[C], now time.Time) {
	idle := s.spec.Workers.Idle
	w.deadline = now.Add(idle)
	if w.key == "" && w.generation == s.generation && s.spares() <= s.wanted() {
		return
	}
	ok, used := s.pool.withdrawIdle(w, now.Add(-idle))
	if ok {
		s.step(w, unused, "idle for "+short(idle))
		return
	}
	if due := used.Add(idle); due.After(now) {
		w.deadline = due
	}
}

// refusal is why no worker can be started now; nil if one can.
func (s *server[C]) refusal(now time.Time) error {
	switch s.door.state {
	case open:
		return nil
	case backoff:
		text := "server " + s.streak.describe(s.o.Backoff)
		if s.streak.looping(s.o.Backoff) {
			text = "server is " + strings.TrimPrefix(text, "server ")
		}
		return &Unavailable{Reason: text, RetryAfter: s.door.deadline.Sub(now)}
	case missing:
		if _, err := s.seek(); err == nil {
			return nil
		}
		return s.unfound()
	case disabled:
		return &Unavailable{Reason: "server is disabled"}
	case halted:
		return &Unavailable{Reason: "server was stopped by its operator"}
	}
	return &Unavailable{Reason: s.parting}
}
