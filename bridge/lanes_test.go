package bridge

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestLanesBoundYoungCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &lanes{young: 2 * time.Millisecond, lanes: make([]lane, 2)}
		a, b := l.enter(t.Context()), l.enter(t.Context())
		l.leave(b)
		b = l.enter(t.Context())
		began := time.Now()
		order := make(chan int, 3)
		for i := range 3 {
			go func() { // ends with its lane
				l.enter(t.Context())
				order <- i
			}()
			synctest.Wait()
		}
		if len(order) != 0 {
			t.Fatal("a third call was let in beside two")
		}
		l.leave(a)
		synctest.Wait()
		if len(order) != 1 || <-order != 0 {
			t.Fatal("the lane did not go to who waits longest")
		}
		if <-order+<-order != 1+2 || time.Since(began) != l.young {
			t.Errorf("calls that wait for their worker held their lanes for %v", time.Since(began))
		}
		l.leave(b) // somebody else has that lane now
		if l.lanes[0].by == 0 || l.lanes[1].by == 0 {
			t.Errorf("a late leave freed somebody else's lane: %+v", l.lanes)
		}
	})
}

func TestLanesForgetWhoLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &lanes{young: time.Hour, lanes: make([]lane, 1)}
		first := l.enter(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan place)
		go func() { gone <- l.enter(ctx) }() // ends with ctx
		synctest.Wait()
		cancel()
		if p := <-gone; p.by != 0 || len(l.queue) != 0 {
			t.Errorf("who left has %+v, and %d wait", p, len(l.queue))
		}
		l.leave(first)
		if p := l.enter(t.Context()); p.by == 0 {
			t.Error("a free lane is not given")
		}
	})
}

func TestNeighbours(t *testing.T) {
	t.Parallel()
	var n Neighbours
	now := time.Now()
	for range 2 {
		if n.beside(1, now) {
			t.Error("a server that is alone has company")
		}
	}
	if !n.beside(2, now) || !n.beside(1, now) {
		t.Error("two servers do not see each other")
	}
	if now = now.Add(company / 2); !n.beside(1, now) {
		t.Error("a neighbour was forgotten at once")
	}
	if now = now.Add(company); n.beside(1, now) {
		t.Error("a neighbour that is silent still counts")
	}
}
