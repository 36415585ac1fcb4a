package bridge

import (
	"encoding/hex"
	"sync"
	"time"
)

// naps let go of what sessions subscribed to that nobody is at. Most clients go
// without ending their session, and a subscription holds a worker. What was let go of
// is taken up again, and announced, when the session has a stream again: without one
// nobody hears of it.
type naps struct {
	mu    sync.Mutex
	timer *time.Timer
}

// napSoon has the sessions looked at after a while.
func (s *Server) napSoon() {
	s.naps.mu.Lock()
	defer s.naps.mu.Unlock()
	if s.naps.timer == nil && !s.stopping.Load() {
		s.naps.timer = time.AfterFunc(s.napAfter, s.nap)
	}
}

// close forgets the look that is due: a timer would keep a server that is gone.
func (n *naps) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.timer != nil {
		n.timer.Stop()
	}
}

func (s *Server) nap() {
	s.naps.mu.Lock()
	s.naps.timer = nil
	s.naps.mu.Unlock()
	if s.stopping.Load() {
		return // everything is let go of
	}
	gone, more := s.live.rest(s.watch.sessions(), time.Now().Add(-s.napAfter))
	end(gone)
	if more {
		s.napSoon()
	}
}

// awake takes up again what a session subscribed to.
func (s *Server) awake(id sid) {
	if all := s.live.rested(id); len(all) > 0 {
		s.again("session\x00"+hex.EncodeToString(id[:]), all)
		s.napSoon()
	}
}

// sessions are those that have a stream.
func (h *watch) sessions() map[sid]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[sid]bool{}
	for w := range h.set {
		out[w.id] = true
	}
	return out
}

// rest lets go of the subscriptions of sessions that have no stream and said nothing
// since then. What it returns is to be ended by the caller; more: there are others.
func (l *liveSessions) rest(streams map[sid]bool, since time.Time) (gone []*held, more bool) {
	for i := range l {
		h := &l[i]
		h.mu.Lock()
		for id, v := range h.m {
			idle := len(v.calls) == 0 && v.last.Before(since) && !streams[id]
			for _, s := range v.subs {
				switch {
				case s.rest:
				case idle:
					s.rest = true
					gone = append(gone, s)
				default:
					more = true
				}
			}
		}
		h.mu.Unlock()
	}
	return gone, more
}

// rested are the subscriptions of a session that were let go of. The session is not
// idle from now on.
func (l *liveSessions) rested(id sid) (out []orphan) {
	h := l.shard(id)
	h.mu.Lock()
	defer h.mu.Unlock()
	v := h.m[id]
	if v == nil {
		return nil
	}
	v.last = time.Now()
	for _, s := range v.subs {
		if s.rest {
			out = append(out, orphan{id, s})
		}
	}
	return out
}
