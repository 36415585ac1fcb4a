package bridge

import (
	"bytes"
	"slices"
	"time"
)

// withdraw passes on a worker's notifications/cancelled: it does not want the
// answer to a question any more (MCP 2025-11-25, cancellation). Every call that
// may have the question is told, for only its owner knows.
func (p *pending) withdraw(c *Conn, f *frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.calls {
		if w.asks == 0 && !w.parked {
			continue
		}
		one := p.frame()
		one.kind, one.line, one.env = frameWithdrawal, c.s.bufs.get(), f.env
		one.line.b = append(one.line.b, f.line.b...)
		if !w.offer(one) {
			c.drop(one)
		}
	}
}

// withdrawn takes a question back and returns the call's new limit: nobody
// waits for a person any more.
func (x *exchange) withdrawn(c *Conn, f *frame, limit time.Time, asking bool) (time.Time, bool) {
	defer c.drop(f)
	if x.front != nil && x.front.withdraw(c, f) {
		return time.Now().Add(x.s.o.Config.Limits.Call), false
	}
	return limit, asking
}

// withdraw tells the client, if it was asked.
func (l *legacyFront) withdraw(c *Conn, f *frame) (had bool) {
	b, e := f.line.b, &f.env
	l.open = slices.DeleteFunc(l.open, func(q *question) bool {
		if q.conn != c || !bytes.Equal(q.theirs, e.request.of(b)) {
			return false
		}
		had = true
		l.x.s.questions.remove(q)
		var p pieces
		p.add(b[:e.request.s])
		p.add(q.raw())
		p.add(b[e.request.e:])
		l.x.event(&p)
		return true
	})
	return had
}

// withdraw takes the question out of those that go to the client.
func (m *modernFront) withdraw(c *Conn, f *frame) (had bool) {
	if m.open, had = c.without(m.open, f); len(m.open) == 0 {
		m.at = time.Time{}
	}
	return had
}

// without is open without the question that f withdraws.
func (c *Conn) without(open []*asked, f *frame) (left []*asked, had bool) {
	left = slices.DeleteFunc(open, func(q *asked) bool {
		if !bytes.Equal(q.f.env.id.of(q.f.line.b), f.env.request.of(f.line.b)) {
			return false
		}
		had = true
		c.drop(q.f)
		return true
	})
	return left, had
}
