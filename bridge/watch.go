package bridge

import (
	"errors"
	"strings"
	"sync"
)

// lists is a set of lists whose changes are announced.
type lists uint8

const (
	listTools lists = 1 << iota
	listPrompts
	listResources
)

func (l lists) method() string {
	switch l {
	case listTools:
		return "notifications/tools/list_changed"
	case listPrompts:
		return "notifications/prompts/list_changed"
	}
	return "notifications/resources/list_changed"
}

// audience is whom an announcement of a worker concerns.
type audience struct {
	all, none bool
	who       string
	id        sid // the one session of a worker that serves one
}

func (a *audience) has(w *watcher) bool {
	return a.all || (a.who == w.who && (a.id == sid{} || a.id == w.id))
}

// announcement is what an open stream is told, before its front words it.
type announcement struct {
	list lists  // a list changed
	uri  []byte // raw: a resource was updated
	raw  []byte // any other message, for sessions only
}

// words are an announcement as a session is told.
func (a announcement) words() (p pieces) {
	switch {
	case a.list != 0:
		p.add([]byte(`{"jsonrpc":"2.0","method":"` + a.list.method() + `"}`))
	case a.uri != nil:
		p.add([]byte(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":`))
		p.add(a.uri)
		p.add([]byte(`}}`))
	default:
		p.add(a.raw)
	}
	return p
}

// watcher is one open stream: a subscriptions/listen or a session's GET.
type watcher struct {
	who   string
	id    sid // of a session, zero for a listen
	lists lists
	asks  func() asks // what the session's client can be asked, nil for a listen
	level func() level

	// Unless it has a track. A queue takes room only while there is something in it,
	// and most streams are silent for hours.
	wake    chan struct{} // holds one: there is something in queue
	over    chan struct{} // closed when the session has ended; nil where that is the stream's end
	qmu     sync.Mutex
	queue   []announcement // guarded by qmu; at most maxAnnounced
	track   *track         // of a session's stream that can be resumed; set before its first announcement
	replays *replays

	uris map[string]bool // under the lock of watch
}

// A stream that does not keep up is told less, and a person has so many streams.
const (
	maxAnnounced = 64
	maxStreams   = 64
)

var (
	errStreams   = errors.New("too many open streams")
	errOneStream = errors.New("the session has a stream already")
)

// watch are the open streams of a server.
type watch struct {
	mu  sync.Mutex
	set map[*watcher]struct{}
}

func (h *watch) add(w *watcher) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for o := range h.set {
		if o.who == w.who {
			n++
		}
		if w.id != (sid{}) && o.id == w.id {
			if o.attended() {
				return errOneStream
			}
			o.replays.forget(o.track) // a client that does not resume begins anew
			delete(h.set, o)
		}
	}
	if n >= maxStreams {
		return errStreams
	}
	if h.set == nil {
		h.set = map[*watcher]struct{}{}
	}
	if w.track == nil {
		w.wake = make(chan struct{}, 1)
	}
	h.set[w] = struct{}{}
	return nil
}

func (h *watch) remove(w *watcher) {
	h.mu.Lock()
	delete(h.set, w)
	h.mu.Unlock()
}

// end ends the stream of a session that its client has ended; one with a track
// ends with that.
func (h *watch) end(id sid) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.set {
		if w.id == id && w.track == nil && w.over != nil {
			delete(h.set, w)
			close(w.over)
		}
	}
}

func (h *watch) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.set)
}

func (h *watch) tell(to audience, a announcement, want func(*watcher) bool) {
	if to.none {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.set {
		if to.has(w) && want(w) {
			w.tell(a)
		}
	}
}

// attended tells whether a client is at the other end.
func (w *watcher) attended() bool {
	if w.track == nil {
		return true
	}
	_, now := w.replays.had(w.track, nil)
	return now
}

// tell never waits. Under the lock of watch.
func (w *watcher) tell(a announcement) {
	if w.track != nil {
		p := a.words()
		w.replays.announce(w.track, &p)
		return
	}
	w.qmu.Lock()
	if len(w.queue) < maxAnnounced { // else the stream is full; its client will list again
		w.queue = append(w.queue, a)
	}
	w.qmu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// told takes what is in the queue.
func (w *watcher) told() []announcement {
	w.qmu.Lock()
	defer w.qmu.Unlock()
	q := w.queue
	w.queue = nil
	return q
}

// changed announces each list of l to who listens to it.
func (h *watch) changed(to audience, l lists) {
	for _, one := range []lists{listTools, listPrompts, listResources} {
		if l&one != 0 {
			h.tell(to, announcement{list: one}, func(w *watcher) bool { return w.lists&one != 0 })
		}
	}
}

// updated announces a resource to who subscribed to it or to what contains it.
func (h *watch) updated(c *Conn, uri string, raw []byte) {
	a := announcement{uri: append([]byte(nil), raw...)}
	h.tell(c.owner(), a, func(w *watcher) bool {
		if w.uris[uri] {
			return true
		}
		for u := range w.uris {
			if strings.HasPrefix(uri, u) {
				return true
			}
		}
		return false
	})
}

// message passes a log line that belongs to no call to the person's sessions.
func (h *watch) message(to audience, l level, raw []byte) {
	a := announcement{raw: append([]byte(nil), raw...)}
	h.tell(to, a, func(w *watcher) bool {
		if w.level == nil {
			return false
		}
		want := w.level()
		return want != 0 && l >= want
	})
}

// status tells the person's sessions how far a task is.
func (h *watch) status(to audience, raw []byte) {
	h.tell(to, announcement{raw: append([]byte(nil), raw...)}, func(w *watcher) bool { return w.level != nil })
}

// visited tells the person's sessions that can open addresses that one was opened.
func (h *watch) visited(to audience, raw []byte) {
	h.tell(to, announcement{raw: append([]byte(nil), raw...)}, func(w *watcher) bool { return w.asks != nil && w.asks()&askURL != 0 })
}

// interested sets or unsets a URI on the streams of a session.
func (h *watch) interested(id sid, uri string, on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.set {
		if w.id == id {
			if w.uris == nil {
				w.uris = map[string]bool{}
			}
			if on {
				w.uris[uri] = true
			} else {
				delete(w.uris, uri)
			}
		}
	}
}
