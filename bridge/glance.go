package bridge

import (
	"context"
	"time"
)

// A call is answered within glance or two, or it has time. Only then, or when something else comes than the answer, does it
// hear what may happen beside, such as that its client leaves: each thing that is listened to costs every call, and one
// timer does for all calls of a worker.
const glance = 10 * time.Millisecond

// vigil is the waiting of one call. The channels are nil until it looks about, and answers until something is asked.
type vigil struct {
	limit   time.Time
	asking  bool           // the limit is one for the client
	answers <-chan *answer // of the client
	gone    <-chan struct{}
	ending  <-chan struct{}  // the server closes
	abort   <-chan string    // the client cancels, where the end of the request does not
	due     <-chan time.Time // of the waiter's timer
}

// look has a call hear everything.
func (x *exchange) look(ctx context.Context, v *vigil, w *waiter, call *Call) {
	now := time.Now()
	w.timer.Reset(x.patience(now, x.parking.due(x.until(v.limit))))
	v.gone, v.ending, v.due = ctx.Done(), x.s.closing, w.timer.C
	if !call.Modern {
		v.abort = x.abort
	}
}

// glanceLater has the calls looked at after a glance. Under the lock.
func (p *pending) glanceLater() {
	p.glancing = true
	if p.glance == nil {
		p.glance = time.AfterFunc(glance, p.look)
		return
	}
	p.glance.Reset(glance)
}

// look has the calls look about that were there at the last glance already.
func (p *pending) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.glancing = false
	more := false
	for _, w := range p.calls {
		switch {
		case !w.fresh || w.told:
		case w.passed:
			f := p.frame()
			f.kind = frameLook
			if !w.offer(f) { // what waits for it makes it look about, too
				p.notes.Put(f)
			}
			w.told = true
		default:
			w.passed, more = true, true
		}
	}
	if more {
		p.glanceLater()
	}
}
