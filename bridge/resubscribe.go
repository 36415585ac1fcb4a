package bridge

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// orphan is a session's subscription whose worker has ended.
type orphan struct {
	id sid
	h  *held
}

// orphans are the subscriptions that sessions have on a worker. Those of a
// session's own worker stay lost: its client is told at its next call.
func (l *liveSessions) orphans(c *Conn) (out []orphan) {
	for i := range l {
		h := &l[i]
		h.mu.Lock()
		for id, v := range h.m {
			for _, s := range v.subs {
				if s.c == c && !s.rest && s.p.session == (sid{}) {
					out = append(out, orphan{id, s})
				}
			}
		}
		h.mu.Unlock()
	}
	return out
}

// replace puts a subscription where another was; false: it is not wanted any more.
func (l *liveSessions) replace(id sid, old, fresh *held) bool {
	h := l.shard(id)
	h.mu.Lock()
	defer h.mu.Unlock()
	v := h.m[id]
	if v == nil || v.subs[old.uri] != old {
		return false
	}
	v.subs[old.uri] = fresh
	return true
}

// resubscribe moves what sessions subscribed to from a worker that has ended to
// the next one, behind everybody's back. What may have changed in between is announced.
func (s *Server) resubscribe(dead *Conn) {
	s.again("worker\x00"+string(appendID(nil, dead.serial)), s.live.orphans(dead))
}

// again subscribes on whatever worker there is now, behind.
func (s *Server) again(name string, all []orphan) {
	if len(all) == 0 {
		return
	}
	s.behind.run("subscribe\x00"+name, func() {
		ctx, cancel := context.WithTimeout(s.behind.done, refreshTime)
		defer cancel()
		for _, o := range all {
			fresh, err := s.holdAgain(ctx, o.h)
			if err != nil {
				s.log.Warn("a subscription was lost with its worker", zap.Error(err))
				continue
			}
			if !s.live.replace(o.id, o.h, fresh) {
				fresh.release()
				continue
			}
			o.h.release()
			s.watch.updated(fresh.c, fresh.uri, quote(nil, fresh.uri))
		}
	})
}

// holdAgain subscribes on the next worker, which may take a while to come.
func (s *Server) holdAgain(ctx context.Context, h *held) (*held, error) {
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		fresh, err := s.holdOne(ctx, h.p, h.who, h.uri)
		if err == nil {
			return fresh, nil
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, err
		}
	}
}
