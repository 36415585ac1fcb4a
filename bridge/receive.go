package bridge

import "strconv"

// receive handles one line of the worker, which it owns.
func (c *Conn) receive(line *buffer) {
	f := c.calls.frame()
	f.line = line
	err := f.env.scan(line.b)
	if err != nil {
		c.unusable(line.b, err)
		c.drop(f) // and with it the line
		return
	}
	if f.env.broken {
		flatten(line.b) // a carriage return would end a line of an event stream
	}
	taken := false
	switch f.env.kind {
	case kindResult, kindError:
		f.kind = frameFinal
		if id, ok := answerID(line.b, f.env.id); ok {
			taken = c.calls.deliver(id, f)
		}
	case kindNotification:
		f.kind = frameNote
		taken = c.notice(f)
	case kindRequest:
		f.kind = frameQuestion
		taken = c.question(f)
	}
	if !taken {
		c.drop(f)
	}
}

// ownID reads an id or token the bridge gave out: only digits.
func ownID(b []byte, p span) (uint64, bool) {
	if !p.ok() || p.e-p.s > 19 {
		return 0, false
	}
	var n uint64
	for _, d := range p.of(b) {
		if d < '0' || d > '9' {
			return 0, false
		}
		n = n*10 + uint64(d-'0')
	}
	return n, true
}

// answerID reads the id of an answer. Some servers make a string of a number;
// clients put up with it.
func answerID(b []byte, p span) (uint64, bool) {
	if p.isStr(b) {
		p.s++
		p.e--
	}
	return ownID(b, p)
}

// notice routes a notification and reports whether somebody took the frame.
func (c *Conn) notice(f *frame) bool {
	b, e := f.line.b, &f.env
	m := text(e.method.of(b))
	switch string(m) {
	case "notifications/progress":
		id, ok := ownID(b, e.token)
		return ok && c.calls.deliver(id, f)
	case "notifications/message":
		l := levelOf(text(e.level.of(b)))
		if !c.s.private() {
			// A log line names no call. On a worker with several people's calls
			// it could be anyone's, so it is nobody's.
			return false
		}
		if c.calls.newest(f, func(w *waiter) bool { return w.logs != 0 && l >= w.logs }) {
			return true
		}
		c.s.watch.message(c.owner(), l, b)
	case "notifications/cancelled":
		if e.request.ok() && !c.modern.Load() {
			c.calls.withdraw(c, f)
		}
	case "notifications/tasks/status":
		if c.s.private() && !c.modern.Load() {
			c.s.watch.status(c.owner(), b)
		}
	case "notifications/elicitation/complete":
		// It may come when the call is over that failed for want of it (-32042).
		if !c.s.private() || c.modern.Load() {
			return false
		}
		if c.calls.newest(f, func(w *waiter) bool { return w.asks&askURL != 0 }) {
			return true
		}
		c.s.watch.visited(c.owner(), b)
	case "notifications/tools/list_changed":
		c.listChanged(listTools)
	case "notifications/prompts/list_changed":
		c.listChanged(listPrompts)
	case "notifications/resources/list_changed":
		c.listChanged(listResources)
	case "notifications/resources/updated":
		if e.uri.isStr(b) {
			c.s.watch.updated(c, string(text(e.uri.of(b))), e.uri.of(b))
		}
	}
	return false
}

// owner is the principal this worker serves, everyone, or nobody yet.
func (c *Conn) owner() audience {
	if !c.s.private() {
		return audience{all: true}
	}
	key := c.lent.Load()
	if key == nil {
		return audience{none: true}
	}
	p, who := splitKey(*key)
	return audience{who: who, id: p.session}
}

// question answers or passes on a request of the worker.
func (c *Conn) question(f *frame) bool {
	b, e := f.line.b, &f.env
	id := e.id.of(b)
	m := text(e.method.of(b))
	if string(m) == "ping" {
		line := append([]byte(nil), `{"jsonrpc":"2.0","id":`...)
		line = append(line, id...)
		c.post(append(line, `,"result":{}}`+"\n"...))
		return false
	}
	// Only a worker of one person may ask, and only within one of that person's
	// calls (SEP-2260): stdio does not say which, so the newest that can answer.
	if need := askOf(m, b, e); need != 0 && !c.modern.Load() {
		if c.s.private() && c.offer(f, need) {
			return true
		}
		c.calls.deny(need, c.s.private())
	}
	c.refuse(id, codeNoMethod, "the client at the other end cannot answer "+string(m))
	return false
}

// offer gives a question to the newest call that can answer it.
func (c *Conn) offer(f *frame, need asks) bool {
	return c.calls.newest(f, func(w *waiter) bool { return w.asks&need == need })
}

// refuse answers a worker's request with an error. id is the worker's own.
func (c *Conn) refuse(id []byte, code int, why string) {
	fl := fault{code: code, text: why}
	c.post(append(fl.append(nil, id), '\n'))
}

// progressOf appends the notification with the client's own token in it.
func (f *frame) progressOf(dst, token []byte) []byte {
	b := f.line.b
	if !f.env.token.ok() {
		return append(dst, b...)
	}
	dst = append(dst, b[:f.env.token.s]...)
	dst = append(dst, token...)
	return append(dst, b[f.env.token.e:]...)
}

func appendID(dst []byte, id uint64) []byte { return strconv.AppendUint(dst, id, 10) }
