package supervisor

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Pool hands out the workers of one server. It stays the same for as long as the server is in the
// list, whatever happens to its processes. It is safe for concurrent use.
//
// Its lock is the only one between callers and the server's owner, and is held for a few
// instructions at a time: what takes longer goes to the owner.
type Pool[C any] struct {
	server *server[C]

	mu      sync.Mutex
	ready   map[string][]*worker[C]   // guarded by mu; who takes calls for a key. At most workers.max, and those of a generation before
	watched bool                      // guarded by mu; the owner waits for workers to become free
	held    func(C) (calls, held int) // guarded by mu; Entry.Held
	pressed bool                      // guarded by mu; calls meet on a worker that may need company, and the owner looks
}

// Acquire returns the connection of the worker that serves key, and starts one if there is none.
// Any number of callers share the worker of a key; where the entry has a Held, a key gets others
// when calls wait for each other on those it has. While the first is being started, or all places are taken
// by workers of other keys, Acquire waits, no longer than ctx and timeouts.start, of which the time that Resolve takes does not count.
//
// Call release when the call is done; until then the worker is neither stopped for idleness nor
// for another key. Calling it again does nothing.
//
// The error is an *Unavailable, a *Busy or that of ctx. Its text is for the person whose call it is.
func (p *Pool[C]) Acquire(ctx context.Context, key string) (c C, release func(), err error) {
	p.mu.Lock()
	w, more := p.take(key)
	if w == nil {
		p.mu.Unlock()
		return p.server.wait(ctx, key)
	}
	c = w.conn
	p.mu.Unlock()
	if more {
		p.server.nudge()
	}
	return c, p.lease(w), nil
}

// take puts a call on a worker of key: a free one, the first one first so that others can go idle, or
// the one with the fewest calls. more: the owner is to be told that calls meet on it. Callers hold mu.
func (p *Pool[C]) take(key string) (w *worker[C], more bool) {
	for _, other := range p.ready[key] {
		if w == nil || other.active < w.active {
			w = other
		}
	}
	if w == nil {
		return nil, false
	}
	if w.active == 0 {
		w.used = time.Now()
	} else if p.held != nil && !p.pressed {
		p.pressed, more = true, true
	}
	w.active++
	w.calls++
	return w, more
}

// Name is the server's name.
func (p *Pool[C]) Name() string { return p.server.name }

// lease is the release of one call.
func (p *Pool[C]) lease(w *worker[C]) func() {
	return func() {
		p.mu.Lock()
		held := w
		w = nil // the lock makes a second release, even one at the same time, find nothing
		if held == nil {
			p.mu.Unlock()
			return
		}
		held.active--
		tell := false
		if held.active == 0 {
			held.used, tell = time.Now(), p.watched
		}
		p.mu.Unlock()
		if tell {
			p.server.nudge()
		}
	}
}

// grant takes a call on w, if w still takes calls.
func (p *Pool[C]) grant(key string) (granted[C], bool) {
	p.mu.Lock()
	w, _ := p.take(key)
	p.mu.Unlock()
	if w == nil {
		return granted[C]{}, false
	}
	return granted[C]{conn: w.conn, release: p.lease(w)}, true
}

// connect gives w the connection that was opened on it.
func (p *Pool[C]) connect(w *worker[C], conn C) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.conn = conn
}

// admit lets calls in on w, as soon as it has a key.
func (p *Pool[C]) admit(w *worker[C], now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.admitted, w.used = true, now
	p.publish(w)
}

// assign gives a spare worker its key, for ever.
func (p *Pool[C]) assign(w *worker[C], key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.key, w.owned = key, true
	w.want()
	p.publish(w)
}

func (p *Pool[C]) keyOf(w *worker[C]) (key string, owned bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return w.key, w.owned
}

// publish lets calls in, unless the worker was withdrawn meanwhile. Callers hold mu.
func (p *Pool[C]) publish(w *worker[C]) {
	if w.owned && w.admitted && !w.withdrawn {
		p.ready[w.key] = append(p.ready[w.key], w)
	}
}

// withdraw ends the taking of calls on w, for ever.
func (p *Pool[C]) withdraw(w *worker[C]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hide(w)
}

// withdrawIdle does so only if no call is on w and none has been since t.
func (p *Pool[C]) withdrawIdle(w *worker[C], t time.Time) (ok bool, used time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.active > 0 || w.used.After(t) {
		return false, w.used
	}
	p.hide(w)
	return true, w.used
}

func (p *Pool[C]) hide(w *worker[C]) {
	w.withdrawn = true
	rest := slices.DeleteFunc(p.ready[w.key], func(other *worker[C]) bool { return other == w })
	if p.ready[w.key] = rest; len(rest) == 0 {
		delete(p.ready, w.key)
	}
}

// load tells how many calls w was given and how many are on it.
func (p *Pool[C]) load(w *worker[C]) (calls uint64, active int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return w.calls, w.active
}

// usable tells that w is there for callers: not withdrawn.
func (p *Pool[C]) usable(w *worker[C]) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !w.withdrawn
}

// idleSince tells since when no call is on w.
func (p *Pool[C]) idleSince(w *worker[C]) (used time.Time, idle bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return w.used, w.active == 0 && !w.withdrawn
}

func (p *Pool[C]) watch(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watched = on
}
