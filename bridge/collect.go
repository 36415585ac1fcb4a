package bridge

import (
	"strconv"
	"time"
)

// asked is a question of a legacy worker that a modern client is to answer.
type asked struct {
	key  string    // in inputRequests; unique in the call
	f    *frame    // the worker's request
	till time.Time // for the answer
}

// modernFront collects what a legacy worker asks during a modern client's call.
// A modern client is not asked: its call is answered with what is wanted, and
// made again with the answers (MCP 2026-07-28, multi round-trip requests).
type modernFront struct {
	x    *exchange
	open []*asked
	last int       // number of the last key
	at   time.Time // when the questions go out, zero while there are none
}

// askable is what the client declared in this very request.
func (m *modernFront) askable() asks { return m.x.call.Client.asks }

// ask takes a question of the worker. It owns f.
func (m *modernFront) ask(c *Conn, f *frame) {
	now := time.Now()
	var ok bool
	if m.open, ok = collected(m.open, &m.last, f, now.Add(m.x.s.answerTimeout)); !ok {
		c.refuse(f.env.id.of(f.line.b), codeInternal, "too many questions at once")
		c.drop(f)
		return
	}
	if m.at.IsZero() {
		m.at = now.Add(m.x.s.debounce)
	}
}

// answered is for answers that come by themselves, which only sessions have.
func (m *modernFront) answered(*Conn, *answer) {}

// collected appends a question under the next key.
func collected(open []*asked, last *int, f *frame, till time.Time) ([]*asked, bool) {
	if len(open) == maxQuestions {
		return open, false
	}
	*last++
	return append(open, &asked{key: "q" + strconv.Itoa(*last), f: f, till: till}), true
}

// due is when the loop of the call has something to do.
func (m *modernFront) due(limit time.Time) time.Time {
	if m.at.IsZero() {
		return limit
	}
	return earlier(limit, m.at)
}

// ripe reports whether the questions are to go out now.
func (m *modernFront) ripe(now time.Time) bool { return !m.at.IsZero() && !now.Before(m.at) }

// settle ends what is still open when the call is over. A call that the worker
// has answered cannot have asked it; one that was cancelled probably has.
func (m *modernFront) settle(c *Conn, answered bool) {
	if answered {
		c.passOn(m.open)
	} else {
		c.giveUp(m.open, "the call was cancelled")
	}
	m.open = nil
}

// passOn offers questions to the other calls of the worker, or refuses them.
func (c *Conn) passOn(open []*asked) {
	for _, q := range open {
		b, e := q.f.line.b, &q.f.env
		if !c.offer(q.f, askOf(text(e.method.of(b)), b, e)) {
			c.giveUp([]*asked{q}, "the call is over")
		}
	}
}

// giveUp answers questions with an error.
func (c *Conn) giveUp(open []*asked, why string) {
	for _, q := range open {
		c.refuse(q.f.env.id.of(q.f.line.b), codeInternal, why)
		c.drop(q.f)
	}
}

// park answers the client with the questions and leaves the call as it is.
func (m *modernFront) park(fl flight) Reply {
	x, s := m.x, m.x.s
	p := &parked{flight: fl, id: newSID(), who: x.call.Principal, open: m.open, last: m.last}
	p.until = m.open[0].till // the oldest question's: answering some does not keep the others waiting longer
	state := s.sealTicket(&ticket{
		kind: ticketParked, who: p.who, digest: digestOf(&x.call), until: p.until, inside: p.id[:],
	})
	own := inputRequired(m.open, state, fl.c.ident.info)
	if err := s.lot.put(s, p); err != nil {
		fl.c.giveUp(m.open, err.Error())
		m.open = nil
		fl.cancel(err.Error())
		return Reply{fault: refusal(err)}
	}
	m.open = nil
	return Reply{own: own}
}

// inputRequired words the result. The params stay the worker's, except what
// only older revisions know.
func inputRequired(open []*asked, state string, info []byte) []byte {
	out := []byte(`{"resultType":"input_required","inputRequests":{`)
	for _, q := range open {
		b, e := q.f.line.b, &q.f.env
		out = comma(out)
		out = append(out, '"')
		out = append(out, q.key...)
		out = append(out, `":{"method":`...)
		out = append(out, e.method.of(b)...)
		out = append(out, `,"params":{`...) // always: clients of the SDKs read it without asking
		out = members(out, b, e.params, func(key []byte) bool { return string(key) != "elicitationId" })
		out = append(out, "}}"...)
	}
	out = append(out, '}')
	if state != "" {
		out = append(out, `,"requestState":"`...)
		out = append(out, state...)
		out = append(out, '"')
	}
	out = append(out, `,"_meta":{"`+metaServer+`":`...)
	out = append(out, info...)
	return append(out, "}}"...)
}
