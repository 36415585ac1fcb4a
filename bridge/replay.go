package bridge

import (
	"container/list"
	"sync"
	"time"
)

// replays are the streams of a server that can be resumed: those that are
// written to, and for a while those that nobody has (MCP 2025-11-25,
// transports, resumability). Of sessions without streams nothing is kept.
type replays struct {
	age  time.Duration  // how long a stream that nobody has is kept
	gone func(*watcher) // a session's own stream is forgotten

	mu       sync.Mutex
	tracks   map[string]*track
	resting  list.List // of *track, longest first
	sessions map[sid]*account
	people   map[string]*account
	all      account
	timer    *time.Timer
	closed   bool
}

// account is what a session, a person or the server keeps.
type account struct{ tracks, bytes int }

// What is kept is bounded three times, so that nobody can push out another's.
// Where it would be more, the streams that nobody has had for longest are
// forgotten first, and then the oldest events of the stream in question.
const (
	maxEvents = 256 // of one stream

	maxSessionTracks, maxSessionReplay = 16, 1 << 20
	maxPersonTracks, maxPersonReplay   = 128, 4 << 20
	maxServerTracks, maxServerReplay   = 4096, 32 << 20
)

// open registers a stream and its first reader; nil: there are too many.
func (h *replays) open(t *track) *reader {
	h.mu.Lock()
	gone := h.make(t)
	ok := !h.closed && !h.over(t, 1, 0)
	if ok {
		if h.tracks == nil {
			h.tracks, h.sessions, h.people = map[string]*track{}, map[sid]*account{}, map[string]*account{}
		}
		h.tracks[t.name] = t
		h.charge(t, 1, 0)
		t.reader = &reader{wake: make(chan struct{}, 1)}
	}
	r := t.reader
	h.mu.Unlock()
	h.farewell(gone)
	return r
}

// make finds room for one more stream. Under the lock.
func (h *replays) make(t *track) (gone []*watcher) {
	for h.over(t, 1, 0) {
		w, ok := h.evict(t)
		if !ok {
			break
		}
		gone = append(gone, w)
	}
	return gone
}

// over tells whether so much more would be too much. Under the lock.
func (h *replays) over(t *track, tracks, bytes int) bool {
	s, p := h.sessions[t.id], h.people[t.who]
	return s.beyond(tracks, bytes, maxSessionTracks, maxSessionReplay) ||
		p.beyond(tracks, bytes, maxPersonTracks, maxPersonReplay) ||
		h.all.beyond(tracks, bytes, maxServerTracks, maxServerReplay)
}

func (a *account) beyond(tracks, bytes, most, space int) bool {
	if a == nil {
		return tracks > most || bytes > space
	}
	return a.tracks+tracks > most || a.bytes+bytes > space
}

// charge books a change of what t keeps. Under the lock.
func (h *replays) charge(t *track, tracks, bytes int) {
	s, p := h.sessions[t.id], h.people[t.who]
	if s == nil {
		s = &account{}
		h.sessions[t.id] = s
	}
	if p == nil {
		p = &account{}
		h.people[t.who] = p
	}
	for _, a := range []*account{s, p, &h.all} {
		a.tracks += tracks
		a.bytes += bytes
	}
	if s.tracks == 0 {
		delete(h.sessions, t.id)
	}
	if p.tracks == 0 {
		delete(h.people, t.who)
	}
}

// evict forgets the stream that nobody has had for longest, of those whose end makes room for t. Under the lock.
func (h *replays) evict(t *track) (w *watcher, ok bool) {
	mine := h.sessions[t.id].beyond(1, 0, maxSessionTracks, maxSessionReplay)
	ours := h.people[t.who].beyond(1, 0, maxPersonTracks, maxPersonReplay)
	for e := h.resting.Front(); e != nil; e = e.Next() {
		o := e.Value.(*track)
		if o != t && (!mine || o.id == t.id) && (!ours || o.who == t.who) {
			h.remove(o)
			return o.w, true
		}
	}
	return nil, false
}

// remove forgets a stream; who reads it learns that it has ended. Under the lock.
func (h *replays) remove(t *track) {
	if h.tracks[t.name] != t {
		return
	}
	delete(h.tracks, t.name)
	h.charge(t, -1, -t.size)
	t.events, t.size, t.over = nil, 0, true
	h.wake(t)
	t.tell()
}

// forget removes a stream whose watcher the caller sees to.
func (h *replays) forget(t *track) {
	if t == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(t)
}

// wake takes a stream out of those that nobody has. Under the lock.
func (h *replays) wake(t *track) {
	if t.rest != nil {
		h.resting.Remove(t.rest)
		t.rest = nil
	}
}

// add keeps a message and returns it as an event. mine: r still has the stream
// and is to write it.
func (h *replays) add(t *track, r *reader, p *pieces) (b []byte, mine bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b = t.word(p)
	if h.tracks[t.name] == t {
		h.keep(t, b)
	}
	if t.reader != r {
		t.tell()
		return b, false
	}
	return b, true
}

// announce keeps a message for whoever has the stream, now or later.
func (h *replays) announce(t *track, p *pieces) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tracks[t.name] == t {
		h.keep(t, t.word(p))
		t.tell()
	}
}

// keep makes room for b as far as that needs nobody else's. Under the lock.
func (h *replays) keep(t *track, b []byte) {
	t.torn = len(b) > maxSessionReplay
	for len(t.events) > 0 && (t.torn || len(t.events) == maxEvents || h.over(t, 0, len(b))) {
		h.charge(t, 0, -t.shed())
	}
	if t.torn || h.over(t, 0, len(b)) {
		t.torn = true
		return
	}
	t.events = append(t.events, b)
	t.size += len(b)
	h.charge(t, 0, len(b))
}

// end says that nothing will be added. The rest can be had for a while.
func (h *replays) end(t *track, r *reader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.over = true
	if t.reader == r {
		t.reader = nil
	}
	t.tell()
	h.lay(t)
}

// take gives a stream to another connection: the one before loses it. nil:
// there is no such stream in this session.
func (h *replays) take(v *session, name string) (*track, *reader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.tracks[name]
	if t == nil || t.id != v.id || t.who != v.who {
		return nil, nil
	}
	if t.reader != nil {
		close(t.reader.wake)
	}
	h.wake(t)
	t.reader = &reader{wake: make(chan struct{}, 1)}
	return t, t.reader
}

// leave says that a connection has ended.
func (h *replays) leave(t *track, r *reader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.reader == r {
		t.reader, t.left = nil, time.Now()
		h.lay(t)
	}
}

// lay puts a stream that nobody has among the others. A call's is there only
// when the call is over: until then the call's own limits count. Under the lock.
func (h *replays) lay(t *track) {
	if t.reader != nil || t.rest != nil || h.tracks[t.name] != t || (t.call != nil && !t.over) {
		return
	}
	if h.closed {
		h.remove(t)
		return
	}
	t.until = time.Now().Add(h.age)
	t.rest = h.resting.PushBack(t)
	if h.timer == nil {
		h.timer = time.AfterFunc(h.age, h.sweep)
	}
}

// had tells when a connection other than the stream's first last had it: now, or zero for never.
func (h *replays) had(t *track, first *reader) (when time.Time, now bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.reader != nil && t.reader != first {
		return time.Now(), true
	}
	return t.left, false
}

// after is track.after for whoever reads.
func (h *replays) after(t *track, seq uint64) (b []byte, at uint64, over, torn bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, at, over = t.after(seq)
	return b, at, over, t.torn
}

// sweep forgets what is too old and comes again when there is more.
func (h *replays) sweep() {
	h.mu.Lock()
	var gone []*watcher
	now := time.Now()
	h.timer = nil
	for e := h.resting.Front(); e != nil; e = h.resting.Front() {
		t := e.Value.(*track)
		if left := t.until.Sub(now); left > 0 {
			h.timer = time.AfterFunc(left, h.sweep)
			break
		}
		h.remove(t)
		gone = append(gone, t.w)
	}
	h.mu.Unlock()
	h.farewell(gone)
}

// drop forgets the streams of a session.
func (h *replays) drop(id sid) {
	h.mu.Lock()
	var gone []*watcher
	if h.sessions[id] != nil {
		for _, t := range h.tracks {
			if t.id == id {
				h.remove(t)
				gone = append(gone, t.w)
			}
		}
	}
	h.mu.Unlock()
	h.farewell(gone)
}

// close forgets everything that nobody has.
func (h *replays) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	if h.timer != nil {
		h.timer.Stop()
	}
	for e := h.resting.Front(); e != nil; e = h.resting.Front() {
		h.remove(e.Value.(*track))
	}
}

func (h *replays) farewell(gone []*watcher) {
	for _, w := range gone {
		if w != nil {
			h.gone(w)
		}
	}
}
