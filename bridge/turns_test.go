package bridge

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestTurns: on a worker of everyone that does one thing after the other, a person's call waits for so many of
// another's, however many those are; who has too many is told so, and when to try again.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pace = 10 * time.Millisecond
		cfg := inIsolation("shared", "legacy")
		s := testServer(t, cfg, func(r *http.Request) string { return r.Header.Get("X-User") }, func(string) io.ReadWriteCloser {
			return serial(pace)
		})
		const list = `{"jsonrpc":"2.0","id":1,"method":"prompts/list"}`
		flooder, other := openWith(s, "alice", "{}"), openWith(s, "bob", "{}")
		var wg sync.WaitGroup
		var mu sync.Mutex
		answers := map[string]int{}
		const extra = 7
		for range maxAbreast + maxWaiting + extra {
			wg.Go(func() {
				got := sessionPost(s, "alice", flooder, list)
				mu.Lock()
				defer mu.Unlock()
				answers[got]++
			})
		}
		synctest.Wait()
		mu.Lock()
		if n := answers[`{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"too many of your calls wait for this server","data":{"retryAfter":1}}}`]; n != extra || len(answers) != 1 {
			t.Errorf("of the flood: %v", answers)
		}
		mu.Unlock()
		start := time.Now()
		if got := sessionPost(s, "bob", other, list); !strings.Contains(got, `"done"`) {
			t.Errorf("another person got %s", got)
		}
		if took := time.Since(start); took > (maxAbreast+1)*pace {
			t.Errorf("another person's call took %v", took)
		}
		wg.Wait()
		if n := answers[`{"jsonrpc":"2.0","id":1,"result":"done"}`]; n != maxAbreast+maxWaiting {
			t.Errorf("at the end: %v", answers)
		}
		s.mu.Lock()
		for c := range s.conns {
			if n := c.turns.taken(); n != 0 {
				t.Errorf("%d turns are taken on an idle worker", n)
			}
		}
		s.mu.Unlock()
		_ = s.Close(t.Context())
	})
}

// serial is a worker that does one thing after the other, each in so much time.
func serial(pace time.Duration) io.ReadWriteCloser {
	return pipeTo(func(c net.Conn) {
		work := make(chan string, 2*maxPending)
		go func() { // ends with the pipe
			for id := range work {
				time.Sleep(pace)
				_, _ = io.WriteString(c, `{"jsonrpc":"2.0","id":`+id+`,"result":"done"}`+"\n")
			}
		}()
		defer close(work)
		eachLine(c, func(line []byte) {
			var e envelope
			if e.scan(line) != nil || e.kind != kindRequest {
				return
			}
			id := string(e.id.of(line))
			if string(text(e.method.of(line))) == "initialize" {
				_, _ = io.WriteString(c, `{"jsonrpc":"2.0","id":`+id+greeting+"\n")
				return
			}
			work <- id
		})
	})
}

// TestTurnsAreGivenBack: who stops waiting, for whatever reason, leaves its place, and a worker's end is the end of
// the waiting for it.
func TestTurnsAreGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all turns
		for range maxAbreast {
			if wait, err := all.take("alice"); wait != nil || err != nil {
				t.Fatal("no turn at once")
			}
		}
		first, _ := all.take("alice")
		second, _ := all.take("alice")
		all.leave("alice", first)
		all.give("alice")
		select {
		case <-second:
		default:
			t.Error("the next one waits on")
		}
		if wait, _ := all.take("bob"); wait != nil {
			t.Error("another person waits")
		}
		all.give("bob")
		third, _ := all.take("alice")
		all.give("alice")         // third has its turn
		all.leave("alice", third) // and gives up at the same moment
		for range maxAbreast - 1 {
			all.give("alice")
		}
		if n := all.taken(); n != 0 {
			t.Errorf("%d turns are taken", n)
		}

		var lines []net.Conn
		s := testServer(t, inIsolation("shared", "legacy"), func(r *http.Request) string { return "" }, func(string) io.ReadWriteCloser {
			near, far := net.Pipe()
			lines = append(lines, far)
			go eachLine(far, func(line []byte) { // ends with the pipe
				var e envelope
				if e.scan(line) == nil && string(text(e.method.of(line))) == "initialize" {
					_, _ = io.WriteString(far, `{"jsonrpc":"2.0","id":`+string(e.id.of(line))+greeting+"\n")
				} else if len(lines) > 1 && e.kind == kindRequest {
					_, _ = fmt.Fprintf(far, `{"jsonrpc":"2.0","id":%s,"result":"done"}`+"\n", e.id.of(line))
				}
			})
			return near
		})
		session := openWith(s, "", "{}")
		got := make(chan string, maxAbreast+2)
		for i := range maxAbreast + 2 {
			r := httptest.NewRequest("POST", "/mcp", strings.NewReader(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"prompts/list"}`, i)))
			r.Header.Set("Mcp-Session-Id", session)
			go func() { // ends with its call
				w := httptest.NewRecorder()
				s.ServeHTTP(w, r)
				got <- w.Body.String()
			}()
			synctest.Wait()
		}
		cancelled := sessionPost(s, "", session, fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}`, maxAbreast))
		synctest.Wait()
		if cancelled != "" || len(got) != 1 || <-got != "" {
			t.Errorf("a call that waits cannot be cancelled: %q", cancelled)
		}
		lines[0].Close()
		synctest.Wait()
		done := 0
		for range maxAbreast + 1 {
			if strings.Contains(<-got, `"result":"done"`) {
				done++ // on the next worker: it had not been made
			}
		}
		if done != 1 {
			t.Errorf("%d calls were answered by the next worker, want the one that waited", done)
		}
		_ = s.Close(t.Context())
	})
}

// taken is how many turns are taken or waited for.
func (t *turns) taken() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.people {
		n += p.busy + len(p.queue)
	}
	return n
}
