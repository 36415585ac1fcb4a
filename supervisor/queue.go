package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// waiter is a call that waits for a worker.
type waiter[C any] struct {
	key      string
	deadline time.Time
	answer   chan granted[C] // gets exactly one value, unless forgotten
}

// granted is the answer to a waiter.
type granted[C any] struct {
	conn    C
	release func()
	err     error
}

// wait is the slow half of Acquire: it joins the queue and waits for the owner's answer.
func (s *server[C]) wait(ctx context.Context, key string) (c C, release func(), err error) {
	q := &waiter[C]{key: key, answer: make(chan granted[C], 1)}
	if err := s.ask(ctx, func() { s.enqueue(q) }); err != nil {
		return c, nil, err
	}
	select {
	case g := <-q.answer:
		return g.conn, g.release, g.err
	case <-s.quit:
		select { // the owner's last act was to answer all who waited
		case g := <-q.answer:
			return g.conn, g.release, g.err
		default:
			return c, nil, s.departed()
		}
	case <-ctx.Done():
		// The owner takes it out of the queue, or gives back what it granted meanwhile.
		_ = s.ask(context.WithoutCancel(ctx), func() { s.forget(q) }) // the server may be gone, and the queue with it
		return c, nil, fmt.Errorf("gave up waiting for a worker: %w", context.Cause(ctx))
	}
}

func (s *server[C]) enqueue(q *waiter[C]) {
	q.deadline = time.Now().Add(s.spec.Timeouts.Start)
	s.queue = append(s.queue, q)
}

func (s *server[C]) forget(q *waiter[C]) {
	for i, other := range s.queue {
		if other == q {
			s.queue = append(s.queue[:i], s.queue[i+1:]...)
			return
		}
	}
	if g := <-q.answer; g.release != nil {
		g.release()
	}
}

// serve answers every waiter that can be answered, the longest waiting first, and starts or frees
// workers for the others.
func (s *server[C]) serve(now time.Time) {
	places := places{freeing: s.freeing()}
	kept := s.queue[:0]
	for _, q := range s.queue {
		if g, ok := s.answer(q, &places, now); ok {
			q.answer <- g
			continue
		}
		if len(kept) < s.spec.Workers.Queue {
			kept = append(kept, q)
			continue
		}
		// Full: who has most in the queue gives a place up, so that one caller's
		// flood is never another's refusal.
		if i := crowding(kept, q.key); i >= 0 {
			late := kept[i]
			copy(kept[i:], kept[i+1:])
			kept[len(kept)-1], q = q, late
		}
		q.answer <- granted[C]{err: s.busy(len(kept))}
	}
	clear(s.queue[len(kept):])
	s.queue = kept
}

// crowding finds the newest waiter of the key that has most waiters, if those
// are at least two more than key has; -1 otherwise.
func crowding[C any](queue []*waiter[C], key string) int {
	count := make(map[string]int)
	most := ""
	for _, q := range queue {
		if count[q.key]++; count[q.key] > count[most] {
			most = q.key
		}
	}
	if count[most] < count[key]+2 {
		return -1
	}
	for i := len(queue) - 1; i >= 0; i-- {
		if queue[i].key == most {
			return i
		}
	}
	return -1
}

// places is the account of one pass over the queue: workers that are ending free a place each,
// and each is promised to one key, so that no more are stopped than are needed.
type places struct {
	freeing int
	claimed map[string]bool
}

func (p *places) claim(key string) bool {
	if p.claimed[key] {
		return true
	}
	if p.freeing == 0 {
		return false
	}
	p.freeing--
	p.mark(key)
	return true
}

func (p *places) mark(key string) {
	if p.claimed == nil {
		p.claimed = make(map[string]bool)
	}
	p.claimed[key] = true
}

// answer gives q a worker or a refusal, or starts what will lead to one.
func (s *server[C]) answer(q *waiter[C], places *places, now time.Time) (granted[C], bool) {
	if g, ok := s.pool.grant(q.key); ok {
		return g, true
	}
	if s.coming(q.key) {
		return granted[C]{}, false
	}
	if w := s.spare(q.key); w != nil { // whatever keeps others from being started
		s.pool.assign(w, q.key)
		return s.pool.grant(q.key)
	}
	if err := s.refusal(now); err != nil {
		return granted[C]{err: err}, true
	}
	if s.room() {
		err := s.launch(q.key, true, now)
		if err == nil || errors.Is(err, ErrBusy) && q.deadline.After(now) { // a nudge comes when the budget allows it
			return granted[C]{}, false
		}
		return granted[C]{err: err}, true
	}
	if !q.deadline.After(now) {
		return granted[C]{err: s.busy(len(s.queue) - 1)}, true
	}
	if !places.claim(q.key) && s.evict(now) {
		places.mark(q.key)
	}
	return granted[C]{}, false
}

// coming tells whether a worker for key is being started, or has just ended and its end has not
// been reported yet: the report decides what comes next.
func (s *server[C]) coming(key string) bool {
	for _, w := range s.workers {
		if w.owned && w.key == key && w.generation == s.generation && (w.state == starting || w.state == ready) {
			return true
		}
	}
	return false
}

// spare is a worker that has no key yet and may get this one, a ready one if there is one.
func (s *server[C]) spare(key string) (found *worker[C]) {
	if s.fits != nil && !s.fits(key) {
		return nil
	}
	for _, w := range s.workers {
		if w.owned || w.generation != s.generation {
			continue
		}
		if w.state == ready && s.pool.usable(w) {
			return w
		}
		if w.state == starting {
			found = w
		}
	}
	return found
}

// evict ends the worker that has been idle longest and tells whether there was one.
func (s *server[C]) evict(now time.Time) bool {
	var victim *worker[C]
	var oldest time.Time
	for _, w := range s.workers {
		if w.state != ready || w.generation != s.generation {
			continue
		}
		if used, idle := s.pool.idleSince(w); idle && (victim == nil || used.Before(oldest)) {
			victim, oldest = w, used
		}
	}
	if victim == nil {
		return false
	}
	ok, _ := s.pool.withdrawIdle(victim, now)
	if ok {
		s.step(victim, unused, "its place was needed for another caller")
	}
	return ok
}

// room tells whether one more worker may be started. Workers of a generation before, which are
// on their way out, do not count: a change would otherwise wait for the last old call. It does where
// the server is exclusive.
func (s *server[C]) room() bool {
	n := 0
	for _, w := range s.workers {
		if w.generation == s.generation || s.spec.Exclusive {
			n++
		}
	}
	return n < s.spec.most()
}

// freeing counts the places that are about to become free.
func (s *server[C]) freeing() (n int) {
	for _, w := range s.workers {
		if w.generation == s.generation && w.state == stopping {
			n++
		}
	}
	return n
}

func (s *server[C]) busy(waiting int) error {
	reason := fmt.Sprintf("all %d workers are busy", s.spec.most())
	if s.spec.most() == 1 {
		reason = "its only worker is busy"
	}
	if waiting > 0 {
		reason += fmt.Sprintf(" and %d calls wait", waiting)
	}
	return &Busy{Reason: reason, RetryAfter: s.o.BusyRetry}
}
