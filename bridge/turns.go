package bridge

import (
	"context"
	"sync"
	"time"
)

// turns bound what each person has at a time on a worker that serves everyone.
// Who has more waits for their own: a worker that does one thing after the other
// then serves its people side by side, however many calls one of them makes. On a
// worker of one person there is nobody to be fair to.
type turns struct {
	mu     sync.Mutex
	people map[string]*share // guarded by mu; those who have calls on the worker, and a few who had
}

// share is one person's.
type share struct {
	busy  int
	queue []chan struct{} // who waits, in the order they came
}

const (
	maxAbreast = 128  // calls of one person on a worker of everyone
	maxWaiting = 1024 // more of them that wait
	maxResting = 64   // people without a call that are not forgotten at once, so that coming back costs little
)

var errTurns = later("too many of your calls wait for this server", 1)

// take is a turn for one more call of a person, at once or when wait is closed.
func (t *turns) take(who string) (wait chan struct{}, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.people[who]
	if p == nil {
		if t.people == nil {
			t.people = map[string]*share{}
		}
		p = &share{}
		t.people[who] = p
	}
	switch {
	case p.busy < maxAbreast:
		p.busy++
		return nil, nil
	case len(p.queue) >= maxWaiting:
		return nil, errTurns
	}
	wait = make(chan struct{})
	p.queue = append(p.queue, wait)
	return wait, nil
}

// give returns a turn, to the person's next call.
func (t *turns) give(who string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.people[who]
	if len(p.queue) > 0 {
		close(p.queue[0])
		p.queue = p.queue[1:]
		return
	}
	if p.busy--; p.busy == 0 && len(t.people) > maxResting {
		delete(t.people, who)
	}
}

// leave gives up waiting, or the turn that came at the same moment.
func (t *turns) leave(who string, wait chan struct{}) {
	t.mu.Lock()
	p := t.people[who]
	for i, other := range p.queue {
		if other == wait {
			p.queue = append(p.queue[:i], p.queue[i+1:]...)
			t.mu.Unlock()
			return
		}
	}
	t.mu.Unlock()
	t.give(who)
}

// turn waits until the call may be made on a worker of everyone. again: the worker
// has died meanwhile, another may be tried.
func (x *exchange) turn(ctx context.Context, c *Conn) (r Reply, again, ok bool) {
	who := x.call.Principal
	wait, err := c.turns.take(who)
	if err != nil {
		return Reply{fault: refusal(err)}, false, false
	}
	if wait == nil {
		return Reply{}, false, true
	}
	limit := time.NewTimer(x.s.o.Config.Limits.Call)
	defer limit.Stop()
	select {
	case <-wait:
		return Reply{}, false, true
	case <-c.done:
		r, again = Reply{fault: refusal(c.calls.reason())}, true
	case <-limit.C:
		r = Reply{fault: x.s.timedOut()}
	case <-x.s.halt:
		r = Reply{fault: errStopping}
	case <-x.abort:
		r = Reply{gone: true}
	case <-ctx.Done(): // the call was not made, so nothing is to be cancelled
		r = Reply{gone: true}
	}
	c.turns.leave(who, wait)
	return r, again, false
}
