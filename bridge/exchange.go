package bridge

import (
	"net/http"
	"strconv"
	"time"
)

// front is what only one of the two fronts can do in the middle of a call: ask
// its client something.
type front interface {
	askable() asks
	ask(c *Conn, f *frame)
	answered(c *Conn, a *answer)
	withdraw(c *Conn, f *frame) (had bool)
}

// exchange is one request of a client and the response to it. It belongs to
// the request's goroutine, except abort and answers.
type exchange struct {
	s       *Server
	w       http.ResponseWriter
	r       *http.Request
	body    *buffer
	kept    *buffer // the body's buffer of the request that had x before
	scratch buffer  // for the line to the worker, and then the response
	env     envelope
	id      []byte // the client's id, raw; nil for a notification
	call    Call

	shows   func(Tool) bool // of a list of tools, what the caller sees; nil: all
	front   front
	abort   chan string  // notifications/cancelled
	answers chan *answer // the client's answers to questions
	legacy  legacyFront
	channel *channel // of a session of HTTP+SSE: the response goes to its stream
	parking modernFront

	json, events bool // what the client accepts
	streaming    bool // the response is an event stream already
	gone         bool // nobody reads the response any more
	detached     bool // its stream has a goroutine of its own, which ends x
	collect      *buffer
	rec          CallRecord
	start        time.Time

	track  *track    // what is kept of the stream, nil if it cannot be resumed
	reader *reader   // this response, as a reader of track
	left   time.Time // when the client was found gone
}

// stop cancels the call. Only under the lock of its session's shard.
func (x *exchange) stop(reason string) {
	select {
	case x.abort <- reason:
	default:
	}
}

func (s *Server) exchange(w http.ResponseWriter, r *http.Request) *exchange {
	x, ok := s.exchanges.Get().(*exchange)
	if !ok {
		x = &exchange{s: s, abort: make(chan string, 1), answers: make(chan *answer, maxQuestions)}
	}
	x.w, x.r = w, r
	return x
}

// free returns x to the pool; nobody may know it any more.
func (x *exchange) free() {
	for len(x.abort) > 0 {
		<-x.abort
	}
	for len(x.answers) > 0 {
		<-x.answers
	}
	next := exchange{s: x.s, abort: x.abort, answers: x.answers, kept: x.kept}
	if x.body != nil && cap(x.body.b) <= keptScratch {
		next.kept = x.body
	} else {
		x.s.bufs.put(x.body)
	}
	if cap(x.scratch.b) <= keptScratch {
		next.scratch = x.scratch
	}
	*x = next
	x.s.exchanges.Put(x)
}

// plain answers with a status and no body.
func (x *exchange) plain(status int) {
	x.rec.Status = status
	if x.collect == nil {
		x.w.WriteHeader(status)
	}
}

// refuse answers with an error in the form the response has by now.
func (x *exchange) refuse(f *fault) {
	x.rec.Code = f.code
	out := x.s.bufs.get()
	out.b = f.append(out.b, x.id)
	x.final(f.status, out.b)
	x.s.bufs.put(out)
}

// final writes the response message and ends the response.
func (x *exchange) final(status int, message []byte) {
	var p pieces
	p.add(message)
	x.finalPieces(status, &p)
}

// measured is the size up to which net/http finds out the length by itself: it
// has not begun to send when the handler returns (http.ResponseWriter.Write).
const measured = 2048

var jsonType = []string{"application/json"}

// keptScratch is the capacity up to which buffers stay with their exchange.
const keptScratch = 64 << 10

// joined is the size up to which a response is assembled before it is written.
const joined = 32 << 10

func (x *exchange) finalPieces(status int, p *pieces) {
	switch {
	case x.gone && x.track == nil:
	case x.collect != nil:
		if len(x.collect.b) > 1 {
			x.collect.b = append(x.collect.b, ',')
		}
		x.collect.b = p.join(x.collect.b)
	case x.streaming || (!x.json && status == http.StatusOK):
		x.stream()
		x.event(p)
		x.endStream()
		status = http.StatusOK
	default:
		x.writeJSON(status, p)
	}
	x.rec.Status = status
}

func (x *exchange) writeJSON(status int, p *pieces) {
	size := p.size()
	h := x.w.Header()
	h["Content-Type"] = jsonType
	if size > measured {
		h["Content-Length"] = []string{strconv.Itoa(size)}
	}
	if status != http.StatusOK {
		x.w.WriteHeader(status)
	}
	if size <= joined {
		x.scratch.b = p.join(x.scratch.b[:0])
		_, _ = x.w.Write(x.scratch.b)
		return
	}
	// A large answer to a slow reader: a deadline per piece, none on the whole.
	rc := http.NewResponseController(x.w)
	for _, part := range p.p[:p.n] {
		for len(part) > 0 {
			n := min(len(part), 256<<10)
			_ = rc.SetWriteDeadline(time.Now().Add(x.s.writeTimeout))
			if _, err := x.w.Write(part[:n]); err != nil {
				x.gone = true
				return
			}
			part = part[n:]
		}
	}
	_ = rc.SetWriteDeadline(time.Time{})
}

// pieces is a message in parts, so that a large one is not copied to be edited.
type pieces struct {
	p [12][]byte
	n int
}

func (p *pieces) add(part []byte) {
	if len(part) > 0 {
		p.p[p.n] = part
		p.n++
	}
}

func (p *pieces) size() (n int) {
	for _, part := range p.p[:p.n] {
		n += len(part)
	}
	return n
}

func (p *pieces) join(dst []byte) []byte {
	for _, part := range p.p[:p.n] {
		dst = append(dst, part...)
	}
	return dst
}
