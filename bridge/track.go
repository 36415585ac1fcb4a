package bridge

import (
	"container/list"
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// track is what is kept of one stream of a session, so that a client whose
// connection broke can have the rest of it. Its fields are guarded by the lock
// of replays, but for those that never change.
type track struct {
	name string // unique among all streams there ever are: event ids begin with it
	id   sid
	who  string
	call []byte // POST: the request's id, raw; nil for a session's own stream

	events [][]byte // whole, with their ids
	next   uint64   // number of the next event; 0 is the priming one
	size   int
	torn   bool // the answer did not fit: it cannot be resumed
	over   bool // nothing will be added

	reader *reader       // the connection that has the stream, nil: nobody
	left   time.Time     // when a connection last gave it up
	until  time.Time     // nobody has it: when it is forgotten
	rest   *list.Element // its place among those that nobody has
	w      *watcher      // of a session's own stream
}

// reader is one connection that a stream is written to. wake has room for one
// word; it is closed when another connection takes the stream.
type reader struct{ wake chan struct{} }

// Names of streams begin with what they are, so that a stream nobody remembers
// can still be told apart (MCP 2025-11-25, transports: ids should encode it).
const (
	ofCall    = "c"
	ofSession = "s"
)

func newTrack(kind string, v *session, call []byte) *track {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	t := &track{name: kind + hex.EncodeToString(random[:]), id: v.id, who: v.who, next: 1}
	if call != nil {
		t.call = append(t.call, call...)
	}
	return t
}

// parseEvent reads an event id: the stream's name and the event's number.
func parseEvent(id string) (name string, seq uint64, ok bool) {
	name, number, ok := strings.Cut(id, "-")
	if !ok || len(name) != 17 {
		return "", 0, false
	}
	seq, err := strconv.ParseUint(number, 10, 64)
	return name, seq, err == nil
}

func (t *track) appendID(dst []byte, seq uint64) []byte {
	dst = append(dst, "id: "...)
	dst = append(dst, t.name...)
	dst = append(dst, '-')
	return append(strconv.AppendUint(dst, seq, 10), '\n')
}

// priming is the first event: an id to resume from, and no data (SEP-1699).
func (t *track) priming(dst []byte) []byte {
	return append(t.appendID(dst, 0), "retry: 1000\ndata:\n\n"...)
}

// word writes the next event. Under the lock of replays.
func (t *track) word(p *pieces) []byte {
	b := t.appendID(make([]byte, 0, len(t.name)+32+len(eventHead)+p.size()), t.next)
	b = append(b, eventHead...)
	b = append(p.join(b), eventTail...)
	t.next++
	return b
}

// after finds the first event that is kept and comes after seq. over: there is
// none and will be none. Under the lock of replays.
func (t *track) after(seq uint64) (b []byte, at uint64, over bool) {
	first := t.next - uint64(len(t.events))
	at = max(seq+1, first)
	if at < t.next {
		return t.events[at-first], at, false
	}
	return nil, seq, t.over
}

// shed forgets the oldest event. Under the lock of replays.
func (t *track) shed() int {
	n := len(t.events[0])
	t.events[0] = nil
	t.events = t.events[1:]
	t.size -= n
	return n
}

// tell wakes the reader. Under the lock of replays.
func (t *track) tell() {
	if t.reader != nil {
		select {
		case t.reader.wake <- struct{}{}:
		default: // it will look anyway
		}
	}
}
