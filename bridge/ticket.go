package bridge

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// ticket is what a requestState of the bridge's own stands for. A client may
// change or pass on what it is given (MCP 2026-07-28, multi round-trip
// requests: requestState is attacker-controlled), so it is sealed, and names
// whose it is, for which call, and until when.
type ticket struct {
	kind   byte
	who    string
	digest [sha256.Size]byte
	until  time.Time
	inside []byte // parked: the call's id. worker: the worker's own state, raw
}

const (
	ticketParked byte = 1 + iota // names a parked call
	ticketWorker                 // holds the state of a worker that several people share
)

const ticketHead = 1 + sha256.Size + 8 + 2

var (
	errTicket = errors.New("not a state of this server")
	errState  = &fault{http.StatusOK, codeParams, "this requestState is unknown here or has expired; call again without it", nil}
	errOther  = &fault{http.StatusOK, codeParams, "this requestState belongs to a call with another method or other params", nil}
	errLate   = &fault{http.StatusOK, codeParams, "this requestState has expired; call again without it", nil}
	errSpent  = &fault{http.StatusOK, codeParams, "this requestState was used before or its call has ended; call again without it", nil}
)

// sealTicket returns the requestState: text that needs no escapes.
func (s *Server) sealTicket(t *ticket) string {
	b := append(make([]byte, 0, 128+len(t.inside)), t.kind)
	b = append(b, t.digest[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(t.until.UnixMilli()))
	b = binary.BigEndian.AppendUint16(b, uint16(len(t.who)))
	b = append(b, t.who...)
	b = append(b, t.inside...)
	return base64.RawURLEncoding.EncodeToString(s.o.Sealer.Seal(nil, b, s.ticket))
}

// openTicket reads a requestState, or reports that it is none of the bridge's.
func (s *Server) openTicket(state []byte) (*ticket, error) {
	raw, err := base64.RawURLEncoding.Strict().AppendDecode(nil, state)
	if err != nil || len(raw) == 0 || bytes.ContainsAny(state, "\r\n") {
		return nil, errTicket
	}
	b, err := s.o.Sealer.Open(nil, raw, s.ticket)
	if err != nil || len(b) < ticketHead {
		return nil, errTicket
	}
	t := &ticket{kind: b[0]}
	b = b[1+copy(t.digest[:], b[1:]):]
	t.until = time.UnixMilli(int64(binary.BigEndian.Uint64(b)))
	n := int(binary.BigEndian.Uint16(b[8:]))
	if b = b[10:]; len(b) < n {
		return nil, errTicket
	}
	t.who, t.inside = string(b[:n]), b[n:]
	return t, nil
}

// check says why a ticket is not good for this call. Another person's is not
// told apart from one that never was.
func (t *ticket) check(call *Call, kind byte) *fault {
	switch {
	case t.kind != kind || t.who != call.Principal:
		return errState
	case t.digest != digestOf(call):
		return errOther
	case !time.Now().Before(t.until):
		return errLate
	}
	return nil
}

// digestOf identifies a call by its method and params, without what differs
// between a call and its repetition. Clients may write an object's members in
// another order each time, so they are sorted.
func digestOf(call *Call) (sum [sha256.Size]byte) {
	all := map[string]any{}
	if p := call.env.params; p.ok() {
		d := json.NewDecoder(bytes.NewReader(p.of(call.body)))
		d.UseNumber()
		if d.Decode(&all) != nil {
			all = map[string]any{}
		}
	}
	for _, key := range []string{"_meta", "inputResponses", "requestState"} {
		delete(all, key)
	}
	h := sha256.New()
	h.Write([]byte(call.method.name + "\x00"))
	_ = json.NewEncoder(h).Encode(all) // of decoded JSON, into a hash: cannot fail
	h.Sum(sum[:0])
	return sum
}

// wrap seals the state a worker of many people gave: the worker could not tell
// who brings it back. The frame of r is replaced.
func (x *exchange) wrap(r *Reply) {
	f := r.frame
	b, p := f.line.b, f.env.rState
	out := x.s.bufs.get()
	out.b = append(out.b, b[:p.s]...)
	out.b = append(out.b, '"')
	out.b = append(out.b, x.s.sealTicket(&ticket{
		kind: ticketWorker, who: x.call.Principal, digest: digestOf(&x.call),
		until: time.Now().Add(x.s.answerTimeout), inside: p.of(b),
	})...)
	out.b = append(out.b, '"')
	out.b = append(out.b, b[p.e:]...)
	x.s.bufs.put(f.line)
	f.line = out
	_ = f.env.scan(out.b) // was valid and still is
}

// unwrap puts a worker's own state back into the request, in place: it is
// shorter than its seal, and spaces fill the rest.
func (x *exchange) unwrap() *fault {
	b, e := x.call.body, x.call.env
	t, err := x.s.openTicket(text(e.state.of(b)))
	if err != nil {
		return errState
	}
	if f := t.check(&x.call, ticketWorker); f != nil {
		return f
	}
	at := b[e.state.s:e.state.e]
	for i := copy(at, t.inside); i < len(at); i++ {
		at[i] = ' '
	}
	return nil
}
