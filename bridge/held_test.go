package bridge

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestHeld: calls wait for another on a worker that does one thing after the other, however it names its turns, and on
// no worker that answers what comes later first.
func TestHeld(t *testing.T) {
	for name, at := range map[string]struct {
		era    string
		serial bool
	}{"legacy, one at a time": {"legacy", true}, "legacy, side by side": {"legacy", false}, "modern, one at a time": {"modern", true}, "modern, side by side": {"modern", false}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := testServer(t, inIsolation("shared", at.era), func(*http.Request) string { return "alice" }, func(string) io.ReadWriteCloser {
					return slowly(at.serial)
				})
				session := openWith(s, "alice", "{}")
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() {
						got := sessionPost(s, "alice", session, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"slow"}}`)
						if !strings.Contains(got, `"content"`) {
							t.Errorf("a call got %s", got)
						}
					})
				}
				synctest.Wait()
				c := onlyConn(t, s)
				for look, want := range []int{0, 0, 2, 2} { // the first look sees that calls have ended, the second sends the ping
					calls, held := c.Held()
					if !at.serial {
						want = 0
					}
					if calls != 3 || held != want {
						t.Errorf("look %d: %d of %d calls wait, want %d of 3", look, held, calls, want)
					}
					synctest.Wait()
				}
				wg.Wait()
				if calls, held := c.Held(); calls != 0 || held != 0 {
					t.Errorf("at the end %d of %d calls wait", held, calls)
				}
				if err := s.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// onlyConn is the connection of a server that has one worker.
func onlyConn(t *testing.T, s *Server) *Conn {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		return c
	}
	t.Fatal("there is no worker")
	return nil
}

// slowly is a worker that takes a second for each call of a tool.
func slowly(serial bool) io.ReadWriteCloser {
	return pipeTo(func(c net.Conn) {
		var mu sync.Mutex // of the pipe
		answer := func(id, result string) {
			mu.Lock()
			defer mu.Unlock()
			_, _ = io.WriteString(c, `{"jsonrpc":"2.0","id":`+id+result+"}\n")
		}
		lines := make(chan string, 16)
		var work, calls sync.WaitGroup
		work.Go(func() { // ends with the pipe
			for line := range lines {
				var e envelope
				if e.scan([]byte(line)) != nil || e.kind != kindRequest {
					continue
				}
				id := string(e.id.of([]byte(line)))
				slow := func() {
					time.Sleep(time.Second)
					answer(id, `,"result":{"content":[],"resultType":"complete"}`)
				}
				switch method := string(text(e.method.of([]byte(line)))); {
				case method == "initialize":
					answer(id, strings.TrimSuffix(greeting, "}"))
				case method == "server/discover":
					answer(id, `,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private"}`)
				case method != "tools/call":
					answer(id, `,"result":{"resultType":"complete"}`)
				case serial:
					slow()
				default:
					calls.Go(slow)
				}
			}
		})
		eachLine(c, func(line []byte) { lines <- string(line) })
		close(lines)
		work.Wait()
		calls.Wait()
	})
}
