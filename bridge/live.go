package bridge

import (
	"bytes"
	"sync"
	"time"
)

// live is what a session has at the moment: calls in flight, a log level, resource
// subscriptions. A session with none of these has an entry for a while at most.
type live struct {
	calls []inflight
	logs  level
	subs  map[string]*held
	last  time.Time
}

// inflight is a call that notifications/cancelled may name by the client's id.
type inflight struct {
	id []byte
	x  *exchange
}

const (
	liveShards = 16
	// maxSticky bounds the sessions per shard that keep a level or
	// subscriptions between requests; the one idle for longest loses them.
	maxSticky = 512
	maxSubs   = 64 // resource subscriptions of one session
)

type liveShard struct {
	mu   sync.Mutex
	m    map[sid]*live // guarded by mu
	tidy int           // guarded by mu; with more entries than this, those that hold nothing go
}

type liveSessions [liveShards]liveShard

func (l *liveSessions) shard(id sid) *liveShard { return &l[id[0]%liveShards] }

// of returns the entry of a session, made if need be. Under the shard's lock.
func (h *liveShard) of(id sid) *live {
	v := h.m[id]
	if v == nil {
		if h.m == nil {
			h.m = map[sid]*live{}
		}
		v = &live{}
		h.m[id] = v
	}
	return v
}

// settle forgets the entries that hold nothing once there are many: most sessions come
// back with the next call. Under the shard's lock.
func (h *liveShard) settle(v *live) {
	if !v.empty() || len(h.m) <= h.tidy {
		return
	}
	for id, other := range h.m {
		if other.empty() {
			delete(h.m, id)
		}
	}
	h.tidy = 2*len(h.m) + maxResting
}

func (v *live) empty() bool { return len(v.calls) == 0 && v.logs == 0 && len(v.subs) == 0 }

// enter notes a call and returns the session's log level.
func (l *liveSessions) enter(id sid, x *exchange) level {
	h := l.shard(id)
	h.mu.Lock()
	defer h.mu.Unlock()
	v := h.of(id)
	v.calls = append(v.calls, inflight{x.id, x})
	if v.logs != 0 || len(v.subs) > 0 {
		v.last = time.Now()
	}
	return v.logs
}

// leave forgets a call; afterwards nobody can abort it.
func (l *liveSessions) leave(id sid, x *exchange) {
	h := l.shard(id)
	h.mu.Lock()
	defer h.mu.Unlock()
	v := h.m[id]
	if v == nil {
		return
	}
	for i := range v.calls {
		if v.calls[i].x == x {
			last := len(v.calls) - 1
			v.calls[i] = v.calls[last]
			v.calls[last] = inflight{}
			v.calls = v.calls[:last]
			break
		}
	}
	h.settle(v)
}

// abort cancels the session's call with the client's id.
func (l *liveSessions) abort(id sid, call []byte, reason string) {
	h := l.shard(id)
	h.mu.Lock()
	defer h.mu.Unlock()
	if v := h.m[id]; v != nil {
		for _, c := range v.calls {
			if bytes.Equal(c.id, call) {
				c.x.stop(reason)
			}
		}
	}
}

// setLevel keeps a session's log level between its requests.
func (l *liveSessions) setLevel(id sid, to level) {
	h := l.shard(id)
	h.mu.Lock()
	var gone []*held
	v := h.of(id)
	v.logs, v.last = to, time.Now()
	gone = h.evict(v)
	h.settle(v)
	h.mu.Unlock()
	end(gone)
}

func (l *liveSessions) count() (n int) {
	for i := range l {
		h := &l[i]
		h.mu.Lock()
		for _, v := range h.m {
			if !v.empty() {
				n++
			}
		}
		h.mu.Unlock()
	}
	return n
}

func (l *liveSessions) level(id sid) level {
	h := l.shard(id)
	h.mu.Lock()
	defer h.mu.Unlock()
	if v := h.m[id]; v != nil {
		return v.logs
	}
	return 0
}

// evict takes the sticky state of the session idle for longest when there are
// too many, never that of keep. Under the shard's lock; the caller ends what it returns.
func (h *liveShard) evict(keep *live) []*held {
	if len(h.m) <= maxSticky {
		return nil
	}
	var oldest *live
	var at sid
	for id, v := range h.m {
		if v != keep && len(v.calls) == 0 && (oldest == nil || v.last.Before(oldest.last)) {
			oldest, at = v, id
		}
	}
	if oldest == nil {
		return nil
	}
	delete(h.m, at)
	return oldest.holds()
}

func (v *live) holds() []*held {
	var out []*held
	for _, s := range v.subs {
		out = append(out, s)
	}
	return out
}

// end drops everything of a session, its calls included.
func (l *liveSessions) end(id sid) {
	h := l.shard(id)
	h.mu.Lock()
	v := h.m[id]
	var gone []*held
	if v != nil {
		for _, c := range v.calls {
			c.x.stop("the session was ended")
		}
		gone = v.holds()
		v.subs, v.logs = nil, 0
		h.settle(v)
	}
	h.mu.Unlock()
	end(gone)
}

// endAll drops the subscriptions of all sessions.
func (l *liveSessions) endAll() {
	for i := range l {
		h := &l[i]
		h.mu.Lock()
		var gone []*held
		for _, v := range h.m {
			gone = append(gone, v.holds()...)
			v.subs = nil
			h.settle(v)
		}
		h.mu.Unlock()
		end(gone)
	}
}

func end(gone []*held) {
	for _, s := range gone {
		s.release()
	}
}

// keep notes a subscription of a session; ok is false when it has too many.
// What it returns is to be ended by the caller.
func (l *liveSessions) keep(id sid, s *held) (gone []*held, ok bool) {
	h := l.shard(id)
	h.mu.Lock()
	defer h.mu.Unlock()
	v := h.of(id)
	if old := v.subs[s.uri]; old != nil {
		gone = append(gone, old)
	} else if len(v.subs) >= maxSubs {
		return nil, false
	}
	if v.subs == nil {
		v.subs = map[string]*held{}
	}
	v.subs[s.uri], v.last = s, time.Now()
	return append(gone, h.evict(v)...), true
}

// take removes a subscription of a session.
func (l *liveSessions) take(id sid, uri string) *held {
	h := l.shard(id)
	h.mu.Lock()
	defer h.mu.Unlock()
	v := h.m[id]
	if v == nil {
		return nil
	}
	s := v.subs[uri]
	delete(v.subs, uri)
	h.settle(v)
	return s
}

// uris are the resources a session subscribed to.
func (l *liveSessions) uris(id sid) map[string]bool {
	h := l.shard(id)
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[string]bool{}
	if v := h.m[id]; v != nil {
		for u := range v.subs {
			out[u] = true
		}
	}
	return out
}
