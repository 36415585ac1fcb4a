package router

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A connection that was accepted before the end must be answered. net/http would
// close it with its first request unread or just read, and a client may not repeat
// a call on its own (RFC 9110 §9.2.2); so it is asked to shut down only afterwards.
const (
	settleTime = 500 * time.Millisecond // for a client to begin; one that has nothing to ask is not waited for
	settleLook = 2 * time.Millisecond   // between two looks
)

// accepted knows the connections on which nothing was asked yet.
type accepted struct {
	conns sync.Map // net.Conn → nothing
	count atomic.Int64
}

// note is an http.Server.ConnState.
func (a *accepted) note(c net.Conn, s http.ConnState) {
	if s == http.StateNew {
		a.conns.Store(c, nil)
		a.count.Add(1)
	} else if a.count.Load() == 0 {
		return // this is called for every request
	} else if _, was := a.conns.LoadAndDelete(c); was {
		a.count.Add(-1)
	}
}

// settle waits until every request that is on its way has begun. One look is not
// enough: between a request's first byte and its handler there is a moment.
func (a *accepted) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	look := time.NewTicker(settleLook)
	defer look.Stop()
	for quiet := 0; quiet < 3; quiet++ {
		if a.count.Load() > 0 {
			quiet = 0
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}
