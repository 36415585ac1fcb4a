package router

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// present are the requests behind the gate, so that those of somebody who may not be
// there any more can be ended: a stream outlives the token that it was opened with.
// A request is a link of a list itself, which makes coming and going cheap.
type present struct {
	epoch atomic.Uint64 // counts HangUps
	part  [32]ring
}

type ring struct {
	mu   sync.Mutex
	head *exchange // guarded by mu; the newest
}

func (p *present) enter(x *exchange) {
	r := &p.part[x.number%uint64(len(p.part))] // any will do, so that they meet seldom
	r.mu.Lock()
	defer r.mu.Unlock()
	x.next = r.head
	if r.head != nil {
		r.head.previous = x
	}
	r.head, x.listed = x, r
}

// leave does nothing for a request that never entered.
func (p *present) leave(x *exchange) {
	if x.listed == nil {
		return
	}
	x.listed.mu.Lock()
	defer x.listed.mu.Unlock()
	if x.previous != nil {
		x.previous.next = x.next
	} else {
		x.listed.head = x.next
	}
	if x.next != nil {
		x.next.previous = x.previous
	}
	x.next, x.previous = nil, nil
}

// move has x answered by another writer from now on. It reports whether the client was hung up on before.
func (p *present) move(x *exchange, to http.ResponseWriter) (hungUp bool) {
	if x.listed != nil {
		x.listed.mu.Lock()
		defer x.listed.mu.Unlock()
	}
	x.ResponseWriter = to
	return x.hungUp
}

// HangUp ends the requests behind the gate that match says yes to, streams among them, by
// closing the client's way to them: call it when tokens were revoked, or a policy has
// changed, and Verify knows of it already. Requests whose token was looked at before that
// are looked at again. It does not wait; match must be quick.
func (r *Router) HangUp(match func(server string, p Principal) bool) {
	r.present.epoch.Add(1)
	past := time.Unix(1, 0)
	for i := range r.present.part {
		part := &r.present.part[i]
		part.mu.Lock()
		for x := part.head; x != nil; x = x.next {
			if !match(x.rec.Server, x.held) {
				continue
			}
			x.hungUp = true
			c := http.NewResponseController(x.ResponseWriter)
			_ = c.SetWriteDeadline(past) // HTTP/2 resets the stream
			_ = c.SetReadDeadline(past)  // HTTP/1 sees the client leave where it is watched
			if x.alone {
				x.conn.hangUp()
			}
		}
		part.mu.Unlock()
	}
}
