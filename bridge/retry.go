package bridge

import (
	"context"
	"net/http"
	"slices"
	"time"
)

// modernCall makes the call of a modern client, or goes on with one that was
// parked: a request with the state of a parked call is its continuation.
func (x *exchange) modernCall(ctx context.Context) Reply {
	call := &x.call
	if call.method.asks {
		x.parking.x = x
		if x.s.private() && call.Client.asks != 0 {
			x.front = &x.parking
		}
		if call.env.state.ok() {
			if x.s.private() {
				if r, ours := x.comeBack(ctx); ours {
					return r
				}
			} else if f := x.unwrap(); f != nil {
				return Reply{fault: f}
			}
		}
	}
	return x.run(ctx, call)
}

// comeBack goes on with a parked call; ours is false when the state is not the
// bridge's but a worker's. Nothing but the answers is sent to the worker.
func (x *exchange) comeBack(ctx context.Context) (r Reply, ours bool) {
	call := &x.call
	t, err := x.s.openTicket(text(call.env.state.of(call.body)))
	if err != nil {
		return Reply{}, false // to the worker, if it is one that has states
	}
	if f := t.check(call, ticketParked); f != nil {
		return Reply{fault: f}, true
	}
	var id sid
	copy(id[:], t.inside)
	p := x.s.lot.take(id)
	if p == nil {
		return Reply{fault: errSpent}, true
	}
	close(p.taken)
	<-p.left
	lines, f := x.answersTo(ctx, p)
	if f != nil {
		// The client may try again: nothing has happened to the call.
		if err := x.s.lot.put(x.s, p); err != nil {
			p.abandon(err.Error())
			f = refusal(err) // its place was taken, or the server closes
		}
		return Reply{fault: f}, true
	}
	x.catchUp(p)
	if p.end != nil {
		if p.end.kind == frameDead {
			return Reply{fault: refusal(p.end.err)}, true
		}
		return Reply{conn: p.c, frame: p.end}, true
	}
	return x.goOn(ctx, p, lines), true
}

// catchUp tells the client what was said while it was away, as far as it still
// wants to hear it: progress under the token of this request, and log messages
// at its level.
func (x *exchange) catchUp(p *parked) {
	for _, f := range p.notes {
		l := levelOf(text(f.env.level.of(f.line.b)))
		if l == 0 || x.call.Logs != 0 && l >= x.call.Logs {
			x.note(f, &x.call)
		}
		p.c.drop(f)
	}
	p.notes = nil
}

// answersTo words the client's answers for the worker and takes the questions
// they answer off p. It changes nothing when one of them is malformed.
func (x *exchange) answersTo(ctx context.Context, p *parked) (lines [][]byte, f *fault) {
	b, e := x.call.body, x.call.env
	if x.call.method.tool {
		if f := x.mirrored(ctx, p.c); f != nil {
			return nil, f
		}
	}
	if e.answers.ok() && !e.answers.isObj(b) {
		return nil, &fault{http.StatusOK, codeParams, "params.inputResponses is not an object", nil}
	}
	var done []*asked
	for _, q := range p.open {
		v := memberOf(b, e.answers, q.key)
		if !v.ok() {
			continue
		}
		method := string(text(q.f.env.method.of(q.f.line.b)))
		if why := malformed(method, b, v); why != "" {
			return nil, &fault{http.StatusOK, codeParams, "params.inputResponses." + q.key + why, nil}
		}
		line := append([]byte(nil), `{"jsonrpc":"2.0","id":`...)
		line = append(line, q.f.env.id.of(q.f.line.b)...)
		line = append(line, `,"result":`...)
		line = append(append(line, flat(v.of(b), e.broken)...), "}\n"...)
		lines, done = append(lines, line), append(done, q)
	}
	p.open = slices.DeleteFunc(p.open, func(q *asked) bool { return slices.Contains(done, q) })
	for _, q := range done {
		p.c.drop(q.f)
	}
	return lines, nil
}

// malformed says what is wrong with an answer, in words that follow its name.
// Whether it fits what was asked is the server's business.
func malformed(method string, b []byte, v span) string {
	if !v.isObj(b) {
		return " is not an object"
	}
	switch method {
	case "elicitation/create":
		action := memberOf(b, v, "action")
		switch string(text(action.of(b))) {
		case "accept", "decline", "cancel":
		default:
			return `.action is not "accept", "decline" or "cancel"`
		}
		if c := memberOf(b, v, "content"); c.ok() && !c.isObj(b) {
			return ".content is not an object"
		}
	case "sampling/createMessage":
		if !memberOf(b, v, "role").isStr(b) || !memberOf(b, v, "content").ok() {
			return " is not a message: role or content is missing"
		}
	case "roots/list":
		if p := memberOf(b, v, "roots"); !p.ok() || b[p.s] != '[' {
			return ".roots is not an array"
		}
	}
	return ""
}

// goOn gives the worker the answers and waits, over this response now, for what
// comes next. Questions without an answer are asked again.
func (x *exchange) goOn(ctx context.Context, p *parked, lines [][]byte) (r Reply) {
	call, fl := &x.call, p.flight
	m := &x.parking
	m.open, m.last = p.open, p.last
	if len(m.open) > 0 {
		m.at = time.Now().Add(x.s.debounce)
	}
	defer func() { x.land(&fl, &r) }()
	fl.c.calls.renew(fl.w, call.Client.asks, call.Logs)
	if call.Logs != 0 {
		fl.c.ensureLevel(ctx, call.Logs)
	}
	for _, line := range lines {
		if err := fl.c.send(line); err != nil {
			return Reply{fault: refusal(err)}
		}
	}
	return x.await(ctx, &fl, call)
}
