package bridge

import (
	"context"
	"time"
)

var errUnanswered = internal("the client did not answer the server's question in time")

// inputs collects the answers to the questions of one input-required result.
type inputs struct {
	answers []byte // the inside of inputResponses
	left    int
}

// gather asks the client everything a modern worker wants to know, over the
// response of the call, and puts the answers into the call (MCP 2026-07-28,
// multi round-trip requests, in the words of the older revisions).
func (l *legacyFront) gather(ctx context.Context, requests []byte) *fault {
	x := l.x
	in := &inputs{answers: []byte{'{'}}
	if f := l.askAll(requests, in); f != nil {
		return f
	}
	limit := time.Now().Add(x.s.answerTimeout)
	timer := time.NewTimer(x.s.pause(time.Now(), limit))
	defer timer.Stop()
	gone := ctx.Done()
	for in.left > 0 {
		select {
		case a := <-x.answers:
			l.answered(nil, a)
			if f := in.take(a); f != nil {
				return f
			}
		case now := <-timer.C:
			end := x.until(limit)
			if !now.Before(end) {
				return errUnanswered
			}
			x.keepAlive()
			timer.Reset(x.s.pause(now, end))
		case <-x.abort:
			return errGone
		case <-gone:
			if x.leaving() {
				x.gone = true
				return errGone
			}
			// It may come back for the rest of the stream, or answer without it.
			gone = nil
			x.lose()
			timer.Reset(x.s.pause(time.Now(), x.until(limit)))
		case <-x.s.halt:
			return errStopping
		}
	}
	x.call.Answers = append(in.answers, '}')
	return nil
}

// askAll sends one request per member of inputRequests.
func (l *legacyFront) askAll(requests []byte, in *inputs) *fault {
	x := l.x
	s := scanner{b: requests}
	s.open()
	for first := true; ; first = false {
		k, more, ok := s.key(first)
		if !ok || !more {
			return nil
		}
		v, _ := s.spanned()
		m := text(memberOf(requests, v, "method").of(requests))
		params := memberOf(requests, v, "params")
		need := askOf(m, requests, &envelope{params: params})
		if need == 0 || l.askable()&need != need {
			return internal("the server needs an answer this client cannot give: " + string(m))
		}
		if len(l.open) == maxQuestions {
			return internal("the server asks too much at once")
		}
		q := &question{who: l.session.id, x: x, key: string(k.of(requests)), name: string(m)}
		x.s.questions.add(q)
		l.open = append(l.open, q)
		in.left++
		var p pieces
		p.add(responseHead)
		p.add(q.raw())
		p.add([]byte(`,"method":`))
		p.add(quote(nil, q.name))
		if params.isObj(requests) {
			p.add([]byte(`,"params":`))
			p.add(q.legacyParams(requests, params, need))
		}
		p.add(closing)
		x.stream()
		x.event(&p)
		if x.gone && x.track == nil {
			return errGone
		}
	}
}

// legacyParams is what a modern server wants to know as a session is asked. An address
// to open must have a name there (MCP 2025-11-25, elicitation), which the modern
// generation did away with.
func (q *question) legacyParams(b []byte, params span, need asks) []byte {
	raw := params.of(b)
	if need != askURL || memberOf(b, params, "elicitationId").ok() {
		return raw
	}
	out := append([]byte(`{"elicitationId":`), q.raw()...)
	if !empty(b, params.s+1) {
		out = append(out, ',')
	}
	return append(out, raw[1:]...)
}

// take notes one answer. An error has no form here: a refused elicitation is a
// cancelled one, any other refusal ends the call with that error.
func (in *inputs) take(a *answer) *fault {
	in.left--
	body := a.body.of(a.line)
	if a.kind == kindError {
		if a.q.name != "elicitation/create" {
			return &fault{200, number(codeIn(body)), messageIn(body), nil}
		}
		body = []byte(`{"action":"cancel"}`)
	}
	in.answers = comma(in.answers)
	in.answers = append(in.answers, a.q.key...)
	in.answers = append(in.answers, ':')
	in.answers = append(in.answers, body...)
	return nil
}

func codeIn(fault []byte) string {
	p := memberOf(fault, span{0, len(fault)}, "code")
	return string(p.of(fault))
}

func messageIn(fault []byte) string {
	p := memberOf(fault, span{0, len(fault)}, "message")
	return string(text(p.of(fault)))
}
