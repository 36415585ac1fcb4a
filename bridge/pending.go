package bridge

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// queued is how many frames may wait for one call. When only one place is left
// it is kept for the final frame: a slow client loses notifications, not its answer.
const queued = 64

type frameKind uint8

const (
	frameNote       frameKind = iota // a notification of the worker for this call
	frameQuestion                    // a request of the worker, to be answered by the client
	frameWithdrawal                  // the worker does not want a question answered any more
	frameFinal                       // the response
	frameDead                        // there will be no response; err says why
	frameLook                        // nothing: time to look about; see glance
)

// frame is one thing the reader hands to a waiting call. line is owned by the receiver.
type frame struct {
	kind frameKind
	line *buffer
	env  envelope
	err  error
}

// waiter is one call waiting on one connection. Who sends has the lock
// of pending: the reader, and the glance. The owner receives.
type waiter struct {
	id     uint64
	frames chan *frame
	timer  *time.Timer

	// set before the call is registered, read by the reader under the lock
	asks asks // questions this call's client can be asked
	logs level
	able bool // its method is one during which a server may ask

	// fresh: nothing but frames reaches the call yet; see glance. Written by the owner, before it is registered or under
	// the lock.
	fresh  bool
	passed bool // a glance has come; under the lock
	told   bool // and another; likewise

	parked   bool // its client is away with questions; under the lock
	standing bool // a subscription, which is answered when it ends

	denied asks // set by the reader: what the worker asked in vain
}

var errTooMany = later("too many calls are waiting for this worker", 1)

// maxPending bounds the calls in flight on one worker.
const maxPending = 4096

// pending are the calls in flight on one connection, by the id the worker knows.
type pending struct {
	mu         sync.Mutex
	calls      map[uint64]*waiter // guarded by mu
	next       uint64             // guarded by mu
	overtaking overtaking         // guarded by mu
	many       atomic.Bool        // there are several calls; written under mu
	dead       atomic.Pointer[error]
	glance     *time.Timer // guarded by mu; nil: no call was fresh yet
	glancing   bool        // guarded by mu; it will go off
	pool       sync.Pool
	notes      sync.Pool // frames
}

func (p *pending) waiter() *waiter {
	if w, ok := p.pool.Get().(*waiter); ok {
		return w
	}
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &waiter{frames: make(chan *frame, queued), timer: t}
}

// free returns a waiter that remove took out; nobody can send to it any more. A
// question that it did not get to hear may be another call's: stdio does not
// say, and the worker waits for an answer.
func (p *pending) free(c *Conn, w *waiter) {
	for len(w.frames) > 0 {
		if f := <-w.frames; f.kind == frameQuestion {
			c.passOn([]*asked{{f: f}})
		} else {
			c.drop(f)
		}
	}
	w.id, w.asks, w.logs, w.able, w.parked, w.standing, w.denied = 0, 0, 0, false, false, false, 0
	w.fresh, w.passed, w.told = false, false, false
	p.pool.Put(w)
}

func (p *pending) frame() *frame {
	if f, ok := p.notes.Get().(*frame); ok {
		return f
	}
	return &frame{}
}

// add registers w under its id, or a fresh one.
func (p *pending) add(w *waiter) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if dead := p.dead.Load(); dead != nil {
		return *dead
	}
	if len(p.calls) >= maxPending {
		return errTooMany
	}
	if w.id == 0 {
		p.next++
		w.id = p.next
	}
	p.calls[w.id] = w
	p.counted()
	if w.fresh && !p.glancing {
		p.glanceLater()
	}
	return nil
}

// counted follows every change of calls. Under the lock.
func (p *pending) counted() {
	if many := len(p.calls) > 1; many != p.many.Load() {
		p.many.Store(many)
	}
}

// unheard returns an id whose answer will find nobody, until a waiter takes it.
func (p *pending) unheard() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	return p.next
}

func (p *pending) remove(w *waiter) {
	p.mu.Lock()
	delete(p.calls, w.id)
	p.counted()
	p.mu.Unlock()
}

// deliver sends f to the call with this id and reports whether it was taken.
// A response, or that there is none, ends the call: a second answer to the same id finds nobody.
func (p *pending) deliver(id uint64, f *frame) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.calls[id]
	if w == nil {
		if id == p.overtaking.probe && f.kind == frameFinal {
			p.probed(time.Now())
		}
		return false
	}
	if f.kind == frameFinal || f.kind == frameDead {
		p.overtaking.ended++
		delete(p.calls, id)
		p.counted()
		w.frames <- f // all others offer, and leave one place
		return true
	}
	return w.offer(f)
}

// offer queues a frame that may be dropped. Only under the lock of pending.
func (w *waiter) offer(f *frame) bool {
	if len(w.frames) >= queued-1 {
		return false
	}
	w.frames <- f
	return true
}

// newest finds the most recent call that want accepts and sends f to it: what a
// worker says without naming a call belongs, at best, to the last one. A parked
// call has asked already, and its client may never come back.
func (p *pending) newest(f *frame, want func(*waiter) bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	var best *waiter
	for _, w := range p.calls {
		if (best == nil || best.parked && !w.parked || best.parked == w.parked && w.id > best.id) && want(w) {
			best = w
		}
	}
	return best != nil && best.offer(f)
}

// renew changes what a waiting call's client can be told and asked: the call
// goes on over another response.
func (p *pending) renew(w *waiter, a asks, l level) {
	p.mu.Lock()
	w.asks, w.logs, w.parked, w.fresh = a, l, false, false
	p.mu.Unlock()
}

// park notes that a call's client is away.
func (p *pending) park(w *waiter) {
	p.mu.Lock()
	w.parked = true
	p.mu.Unlock()
}

// deny notes on a call that its worker asked what its client cannot answer: on
// the newest, as with questions that can be answered, or on a worker of many
// people only where there is no other call.
func (p *pending) deny(need asks, private bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !private && len(p.calls) > 1 {
		return
	}
	var best *waiter
	for _, w := range p.calls {
		if w.able && (best == nil || w.id > best.id) {
			best = w
		}
	}
	if best != nil {
		best.denied |= need
	}
}

// kill ends every call with err and refuses new ones.
func (p *pending) kill(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead.Store(&err) // the reader ends once
	if p.glance != nil {
		p.glance.Stop()
	}
	for id, w := range p.calls {
		delete(p.calls, id)
		w.frames <- &frame{kind: frameDead, err: err}
	}
}

func (p *pending) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.calls)
}

// work is how many calls the worker has to work for now.
func (p *pending) work() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.working()
}

// working is work. Callers hold the lock.
func (p *pending) working() (n int) {
	for _, w := range p.calls {
		if w.blocking() {
			n++
		}
	}
	return n
}

// reason is why the connection ended, nil while it lives.
func (p *pending) reason() error {
	if dead := p.dead.Load(); dead != nil {
		return *dead
	}
	return nil
}

// wait returns the final frame of a call the bridge itself made.
func (c *Conn) wait(ctx context.Context, w *waiter) (*frame, error) {
	for {
		select {
		case f := <-w.frames:
			switch f.kind {
			case frameFinal:
				return f, nil
			case frameDead:
				return nil, f.err
			}
			c.drop(f)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
