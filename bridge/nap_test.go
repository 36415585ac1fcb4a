package bridge

import (
	"context"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestSubscriptionsHoldTheirWorker: a worker with a subscription is not given back while somebody can hear of it, or
// may come back soon. A session that nobody comes back to holds none; one that comes back all the same has what it
// subscribed to, and is told that it may have missed something.
func TestSubscriptionsHoldTheirWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, w := office(t, "user", "legacy")
		_, session := open(s, "alice")
		const subscribe = `{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"f://a"}}`
		if got := sessionPost(s, "alice", session, subscribe); !strings.Contains(got, `"result":{}`) {
			t.Fatal(got)
		}
		stream := func() (leave func(), said func() string) {
			ctx, cancel := context.WithCancel(t.Context())
			r := httptest.NewRequest("GET", "/mcp", nil).WithContext(ctx)
			r.Header.Set("X-User", "alice")
			r.Header.Set("Mcp-Session-Id", session)
			c := &client{header: map[string][]string{}}
			go s.ServeHTTP(c, r) // ends with ctx
			synctest.Wait()
			return cancel, func() string {
				c.mu.Lock()
				defer c.mu.Unlock()
				return c.body.String()
			}
		}
		held := func(when string, want int32) {
			t.Helper()
			synctest.Wait()
			if n := w.lent.Load(); n != want {
				t.Errorf("%s: %d workers are held, want %d", when, n, want)
			}
		}
		leave, _ := stream()
		time.Sleep(5 * time.Hour)
		held("with a stream", 1)
		leave()
		time.Sleep(s.napAfter / 2)
		held("without one, for a while", 1)
		sessionPost(s, "alice", session, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
		time.Sleep(s.napAfter - time.Minute)
		held("after another request", 1)
		time.Sleep(2 * s.napAfter)
		held("that nobody comes back to", 0)
		sessionPost(s, "alice", session, `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
		held("nobody would hear of it", 0)

		leave, said := stream()
		defer leave()
		held("with a stream again", 1)
		if n := strings.Count(said(), `"method":"notifications/resources/updated","params":{"uri":"f://a"}`); n != 1 {
			t.Errorf("told %d times of what may have been missed: %s", n, said())
		}
		time.Sleep(3 * time.Hour)
		held("and for as long as that is there", 1)
		leave()
		time.Sleep(2 * s.napAfter)
		held("left again", 0)
		leave, _ = stream()
		defer leave()
		held("and back again", 1)
		sessionPost(s, "alice", session, strings.ReplaceAll(subscribe, "subscribe", "unsubscribe"))
		held("unsubscribed", 0)
		time.Sleep(5 * time.Hour)
		s.stop(t)
	})
}

// TestSubscriptionOfAnotherWorker: a subscription that was let go of stays so when its worker ends.
func TestSubscriptionOfAnotherWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, s, w := office(t, "user", "legacy")
		_, session := open(s, "alice")
		sessionPost(s, "alice", session, `{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"f://a"}}`)
		time.Sleep(3 * time.Hour)
		var all []io.Closer
		u.mu.Lock()
		for _, c := range u.conns {
			all = append(all, c)
		}
		u.mu.Unlock()
		for _, c := range all {
			c.Close()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := w.lent.Load(); n != 0 {
			t.Errorf("%d workers are held for nobody", n)
		}
		s.stop(t)
	})
}
