package bridge

import (
	"context"
	"net/http"
	"sync"
)

// maxBatch bounds the messages of one batch.
const maxBatch = 64

// batch answers a JSON-RPC batch, which only MCP 2025-03-26 has. The answers
// come as one array; there is no stream, so nothing can be asked or announced.
func (x *exchange) batch() {
	b := x.body.b
	parts, ok := elements(b)
	if !ok {
		x.refuse(&fault{http.StatusBadRequest, codeParse, "the body is not valid JSON", nil})
		return
	}
	version := x.r.Header.Get("Mcp-Protocol-Version")
	bad := func(text string) { x.refuse(&fault{http.StatusBadRequest, codeInvalidRequest, text, nil}) }
	if modernHeader(version) || len(x.r.Header["Mcp-Session-Id"]) == 0 {
		bad("a batch needs a session of 2025-03-26")
		return
	}
	if f := x.acceptable(); f != nil {
		x.refuse(f)
		return
	}
	if f := x.openSession(version); f != nil {
		x.refuse(f)
		return
	}
	switch {
	case x.legacy.session.version != noHeader:
		bad("this protocol version has no batches")
	case len(parts) == 0:
		bad("the batch is empty")
	case len(parts) > maxBatch:
		bad("the batch has too many messages")
	default:
		x.each(parts)
	}
}

// elements returns the values of an array, nil and false if it is not valid.
func elements(b []byte) ([]span, bool) {
	s := scanner{b: b}
	if s.peek() != '[' || !s.array() || !s.end() {
		return nil, false
	}
	s = scanner{b: b}
	s.peek()
	s.i++
	out := []span{}
	for s.peek() != ']' {
		v, ok := s.spanned()
		if !ok {
			return nil, false
		}
		out = append(out, v)
		if s.peek() == ',' {
			s.i++
		}
	}
	return out, true
}

func (x *exchange) each(parts []span) {
	var wg sync.WaitGroup
	outs := make([]*exchange, len(parts))
	for i, p := range parts {
		y := x.fork(x.w, x.r, p.of(x.body.b))
		outs[i] = y
		y.json, y.collect = true, &buffer{}
		wg.Go(func() { y.element(x.r.Context()) }) // ends with its call; waited for below
	}
	wg.Wait()
	all := &buffer{b: []byte{'['}}
	for _, y := range outs {
		if len(y.collect.b) > 0 {
			if len(all.b) > 1 {
				all.b = append(all.b, ',')
			}
			all.b = append(all.b, y.collect.b...)
		}
		y.free()
	}
	if len(all.b) == 1 {
		x.plain(http.StatusAccepted)
		return
	}
	x.final(http.StatusOK, append(all.b, ']'))
}

// fork is an exchange of its own for a message that came in x's session.
func (x *exchange) fork(w http.ResponseWriter, r *http.Request, message []byte) *exchange {
	y := x.s.exchange(w, r)
	y.body = x.s.bufs.get()
	y.body.b = append(y.body.b, message...)
	y.call.Principal, y.call.Client = x.call.Principal, x.call.Client
	y.legacy = legacyFront{x: y, session: x.legacy.session}
	return y
}

// element handles one message among others.
func (x *exchange) element(ctx context.Context) {
	b, e := x.body.b, &x.env
	err := e.scan(b)
	if e.id.ok() {
		x.id = e.id.of(b)
	}
	x.call.body, x.call.env = b, e
	switch {
	case err != nil || e.mVersion.ok():
		x.refuse(&fault{http.StatusOK, codeInvalidRequest, "not a message of this protocol version", nil})
	case e.kind == kindRequest:
		x.call.method = methodOf(text(e.method.of(b)))
		if e.progress.ok() {
			x.call.Progress = e.progress.of(b)
		}
		x.sessionCall(ctx)
	case e.kind == kindNotification:
		x.notified()
	default:
		x.respond()
	}
}
