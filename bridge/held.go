package bridge

import "time"

// overtaking is what is known of whether a worker does one thing after the other. Under the lock of pending.
type overtaking struct {
	ended  uint64    // answers to calls
	seen   uint64    // of these, when it was looked at last
	probe  uint64    // the id of a request that was sent to see whether it overtakes the calls before; 0: none
	passed time.Time // when one did
}

// aside is for how long a worker that answered a later request first is taken for one that goes on like that.
const aside = time.Minute

// Held counts the calls on the worker, and how many of them wait for another to be over: all but one, where no
// call ended since it was asked last and a ping, or what goes for one, is not answered either. The first time it
// sees none end, it sends the ping and says 0. For the supervisor, every few milliseconds while calls meet on the
// worker; it does not wait.
func (c *Conn) Held() (calls, held int) {
	calls, held, probe := c.calls.held(time.Now())
	if probe == 0 {
		return calls, held
	}
	b := append([]byte(nil), `{"jsonrpc":"2.0","id":`...)
	b = appendID(b, probe)
	if c.modern.Load() {
		b = append(b, `,"method":"server/discover","params":{"_meta":`...)
		b = append(c.s.ownMeta(b), '}')
	} else {
		b = append(b, `,"method":"ping"`...)
	}
	c.post(append(b, "}\n"...))
	return calls, held
}

// held is Held; the caller sends the probe.
func (p *pending) held(now time.Time) (calls, held int, probe uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	calls = p.working()
	s := &p.overtaking
	switch {
	case calls < 2 || s.ended != s.seen || now.Sub(s.passed) < aside:
		s.seen, s.probe = s.ended, 0
		return calls, 0, 0
	case s.probe == 0:
		p.next++
		s.probe = p.next
		return calls, 0, s.probe
	}
	return calls, calls - 1, 0
}

// probed takes the answer to the probe. Callers hold the lock.
func (p *pending) probed(now time.Time) {
	for id, w := range p.calls {
		if id < p.overtaking.probe && w.blocking() {
			p.overtaking.passed = now
		}
	}
	p.overtaking.probe = 0
}

// blocking tells whether a worker that does one thing after the other would do nothing else until this call ends.
func (w *waiter) blocking() bool { return !w.parked && !w.standing }
