package bridge

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// maxQuestions bounds what one call may ask its client at a time.
const maxQuestions = 16

// question is a request to a client that waits for its answer.
type question struct {
	id  uint64
	who sid
	x   *exchange

	conn   *Conn  // a legacy worker asked: it gets the answer
	theirs []byte // under its own id
	key    string // a modern worker asked: the key in inputRequests
	name   string // method
}

// answer is what a client posted in response to a question.
type answer struct {
	q    *question
	kind kind
	line []byte // the message
	id   span
	body span // the result or the error
}

// questions are those of all sessions of a server, by the id clients see. Where the
// numbers begin is random: a session outlives its server, and an answer to what that
// asked is none to what the next one asks.
type questions struct {
	mu   sync.Mutex
	next uint64
	open map[uint64]*question
}

func (t *questions) add(q *question) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = map[uint64]*question{}
	}
	t.next++
	q.id = t.next
	t.open[q.id] = q
}

func (t *questions) remove(q *question) {
	t.mu.Lock()
	delete(t.open, q.id)
	t.mu.Unlock()
}

// answer gives a response to the call that waits for it. A response to nothing,
// or from another session, is dropped.
func (t *questions) answer(who sid, id uint64, a *answer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.open[id]
	if q == nil || q.who != who {
		return false
	}
	delete(t.open, id)
	a.q = q
	q.x.answers <- a // has room: at most maxQuestions are open per exchange
	return true
}

const questionPrefix = `"mcpd-`

func (q *question) raw() []byte {
	return append(strconv.AppendUint([]byte(questionPrefix), q.id, 10), '"')
}

// sessionResponse takes a client's answer to a question.
func (x *exchange) sessionResponse(version string) {
	if f := x.openSession(version); f != nil {
		x.refuse(f)
		return
	}
	x.respond()
	x.plain(http.StatusAccepted)
}

func (x *exchange) respond() {
	b, e := x.call.body, &x.env
	id := e.id.of(b)
	if len(id) <= len(questionPrefix)+1 || string(id[:len(questionPrefix)]) != questionPrefix {
		return
	}
	n, ok := ownID(b, span{e.id.s + len(questionPrefix), e.id.e - 1})
	if !ok {
		return
	}
	a := &answer{kind: e.kind, line: append([]byte(nil), b...), id: e.id, body: e.result}
	if e.kind == kindError {
		a.body = e.fault
	}
	if e.broken {
		flatten(a.line)
	}
	x.s.questions.answer(x.legacy.session.id, n, a)
}

// askable is what can be asked over this response.
func (l *legacyFront) askable() asks {
	if l.x.events && l.x.collect == nil {
		return l.session.asks
	}
	return 0
}

// ask passes a worker's request on to the client (SEP-2260: on the stream of
// the call it belongs to). It owns f.
func (l *legacyFront) ask(c *Conn, f *frame) {
	defer c.drop(f)
	b, e := f.line.b, &f.env
	if (l.x.gone && l.x.track == nil) || len(l.open) == maxQuestions {
		c.refuse(e.id.of(b), codeInternal, "the client cannot be reached")
		return
	}
	q := &question{who: l.session.id, x: l.x, conn: c, theirs: append([]byte(nil), e.id.of(b)...)}
	l.x.s.questions.add(q)
	l.open = append(l.open, q)
	var p pieces
	p.add(b[:e.id.s])
	p.add(q.raw())
	p.add(b[e.id.e:])
	l.x.stream()
	l.x.event(&p)
}

// answered gives the client's answer to who asked.
func (l *legacyFront) answered(_ *Conn, a *answer) {
	for i, q := range l.open {
		if q == a.q {
			l.open = append(l.open[:i], l.open[i+1:]...)
			break
		}
	}
	if a.q.conn == nil {
		return
	}
	line := append([]byte(nil), a.line[:a.id.s]...)
	line = append(line, a.q.theirs...)
	line = append(line, a.line[a.id.e:]...)
	a.q.conn.post(append(line, '\n'))
}

// settle ends what is still open when the call is over: both sides stop waiting (MCP 2025-11-25, cancellation).
func (l *legacyFront) settle() {
	for _, q := range l.open {
		l.x.s.questions.remove(q)
		var p pieces
		p.add([]byte(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`))
		p.add(q.raw())
		p.add([]byte(`,"reason":"the call is over"}}`))
		l.x.event(&p)
		if q.conn != nil {
			q.conn.refuse(q.theirs, codeInternal, "the client did not answer")
		}
	}
	l.open = nil
}

// A modern worker that asks is called again with the answers, so many times.
const (
	maxRounds     = 10
	maxStateOnly  = 3
	stateOnlyWait = 200 * time.Millisecond
)

// converse makes the call, and again with answers while a modern worker asks.
func (l *legacyFront) converse(ctx context.Context) Reply {
	x := l.x
	idle := 0
	for n := range maxRounds {
		if n > 0 {
			ctx = x.staying(ctx)
		}
		r := x.answerer(ctx)
		if !r.asking() {
			return r
		}
		ask, state := r.InputRequests(), r.State()
		if state != nil {
			x.call.State = append([]byte(nil), state...)
		} else {
			x.call.State = nil
		}
		var f *fault
		if ask == nil {
			if idle++; idle == maxStateOnly {
				f = internal("the server is busy and did not answer after several attempts")
			} else {
				f = x.rest(ctx, stateOnlyWait<<idle)
			}
		} else {
			idle = 0
			f = l.gather(ctx, ask)
		}
		r.free()
		if f != nil {
			return Reply{fault: f, gone: f == errGone}
		}
	}
	return Reply{fault: internal("the server asked too many times")}
}

var errGone = internal("the client went away")

// staying is the context of a call that has begun: that its client went away
// does not end it, unless that is how it is cancelled.
func (x *exchange) staying(ctx context.Context) context.Context {
	if ctx.Err() == nil || x.leaving() {
		return ctx
	}
	x.lose()
	return context.WithoutCancel(ctx) // ends with the call's limit, or the grace
}

func (x *exchange) rest(ctx context.Context, d time.Duration) *fault {
	t := time.NewTimer(d)
	defer t.Stop()
	var gone <-chan struct{}
	if x.leaving() {
		gone = ctx.Done()
	}
	select {
	case <-t.C:
		return nil
	case <-x.abort:
		return errGone
	case <-gone:
		return errGone
	case <-x.s.halt:
		return errStopping
	}
}
