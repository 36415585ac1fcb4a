package bridge

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// earpiece is a client of HTTP+SSE: its stream, and the address it speaks to.
type earpiece struct {
	*client
	s       *Server
	who     string
	address string
}

var addressOf = regexp.MustCompile(`^event: endpoint\ndata: (\S+)\n\n`)

// hear opens a stream. In a synctest bubble only.
func hear(t *testing.T, s *Server, who string) *earpiece {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	e := &earpiece{client: &client{header: http.Header{}, leave: leave}, s: s, who: who}
	r := httptest.NewRequestWithContext(ctx, "GET", "/sse", nil)
	r.Header.Set("X-User", who)
	go func() { // ends when the client leaves or is refused
		s.ServeHTTP(e.client, r)
		e.mu.Lock()
		e.done = true
		e.mu.Unlock()
	}()
	synctest.Wait()
	if m := addressOf.FindStringSubmatch(e.text()); m != nil {
		e.address = m[1]
	}
	return e
}

func (e *earpiece) text() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.body.String()
}

// say posts a message and returns what the POST is answered with.
func (e *earpiece) say(message string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", e.address, strings.NewReader(message))
	r.Header.Set("X-User", e.who)
	w := httptest.NewRecorder()
	e.s.ServeHTTP(w, r)
	return w
}

const sseInit = `{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`

// silent is a worker that introduces itself, reports every other line it is sent, and answers no call.
func silent(heard chan<- string) func(string) io.ReadWriteCloser {
	return func(string) io.ReadWriteCloser {
		return pipeTo(func(c net.Conn) {
			eachLine(c, func(line []byte) {
				var e envelope
				if e.scan(line) == nil && e.kind == kindRequest && string(text(e.method.of(line))) == "initialize" {
					_, _ = io.WriteString(c, `{"jsonrpc":"2.0","id":`+string(e.id.of(line))+`,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"w","version":"1"}}}`+"\n")
					return
				}
				heard <- string(line)
			})
		})
	}
}

func sseServer(t *testing.T, isolation string, start func(string) io.ReadWriteCloser) *Server {
	cfg := DefaultConfig()
	cfg.Era, cfg.Isolation, cfg.SSE = "legacy", isolation, true
	s := testServer(t, cfg, func(r *http.Request) string { return r.Header.Get("X-User") }, start)
	return s
}

// One stream has so many calls in flight and one person so many streams; more are refused at once, and nobody else
// notices. What was refused can be had as soon as there is room, and nothing is left when the stream has ended.
func TestChannelFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heard := make(chan string, 4*maxChannelCalls)
		s := sseServer(t, "user", silent(heard))
		e := hear(t, s, "mallory")
		e.say(sseInit)
		call := func(i int) int {
			return e.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"x"}}`, i)).Code
		}
		for i := range maxChannelCalls {
			synctest.Wait()
			if got := call(i); got != http.StatusAccepted {
				t.Fatalf("call %d: %d", i, got)
			}
		}
		synctest.Wait()
		if w := e.say(`{"jsonrpc":"2.0","id":"more","method":"ping"}`); w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), `"id":"more"`) || !strings.Contains(w.Body.String(), "retryAfter") {
			t.Errorf("one call too many: %d %s", w.Code, w.Body)
		}
		e.say(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}`)
		time.Sleep(2 * glance) // a call hears of it then
		synctest.Wait()
		if got := call(1000); got != http.StatusAccepted {
			t.Errorf("with room for a call it is refused: %d", got)
		}
		var all []*earpiece
		for range maxStreams - 1 {
			all = append(all, hear(t, s, "mallory"))
		}
		if over := hear(t, s, "mallory"); over.status != http.StatusTooManyRequests {
			t.Errorf("stream %d is answered with %d", maxStreams+1, over.status)
		}
		if other := hear(t, s, "alice"); other.address == "" {
			t.Errorf("another person's stream is answered with %d", other.status)
		} else {
			all = append(all, other)
		}
		for _, e := range append(all, e) {
			e.leave()
		}
		time.Sleep(2 * glance) // as above
		synctest.Wait()
		if s.active.Load() != 0 || s.Stats().Streams != 0 || s.Stats().Pending != 0 || len(s.channels.open) != 0 {
			t.Errorf("left behind: %d requests, %+v, %d channels", s.active.Load(), s.Stats(), len(s.channels.open))
		}
		calls, cancels := 0, 0
		for len(heard) > 0 {
			switch line := <-heard; {
			case strings.Contains(line, `"tools/call"`):
				calls++
			case strings.Contains(line, `"notifications/cancelled"`):
				cancels++
			}
		}
		if calls != maxChannelCalls+1 || cancels != calls {
			t.Errorf("the server was told of %d calls and of %d cancellations", calls, cancels)
		}
		_ = s.Close(t.Context())
	})
}

// A client whose connection is half open takes nothing: its stream meets the deadline of a write, and what is in flight
// ends with it, at the server too.
func TestChannelHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heard := make(chan string, 8)
		s := sseServer(t, "user", silent(heard))
		doors := make(chan net.Conn, 1)
		web := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
		served := make(chan error, 1)
		go func() { served <- web.Serve(oneDoor{doors}) }() // ends with web.Close
		near, far := net.Pipe()
		doors <- far
		if _, err := io.WriteString(near, "GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		first := make([]byte, 4096)
		n, err := io.ReadAtLeast(near, first, 1)
		for err == nil && !bytes.Contains(first[:n], []byte("sessionId=")) {
			var more int
			more, err = near.Read(first[n:])
			n += more
		}
		at := regexp.MustCompile(`/messages\?sessionId=\w+`).Find(first[:n])
		if err != nil || at == nil {
			t.Fatalf("%v %s", err, first[:n])
		}
		e := &earpiece{s: s, address: string(at)}
		e.say(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}`)
		synctest.Wait()
		time.Sleep(s.keepAlive + s.writeTimeout + time.Second) // nothing is read from here on
		synctest.Wait()
		if s.active.Load() != 0 || s.Stats().Streams != 0 || s.Stats().Pending != 0 {
			t.Errorf("left for a client that takes nothing: %d requests, %+v", s.active.Load(), s.Stats())
		}
		for _, want := range []string{"notifications/initialized", "tools/call", "notifications/cancelled"} {
			if line := <-heard; !strings.Contains(line, want) {
				t.Errorf("the server heard %s, want %s", line, want)
			}
		}
		web.Close()
		near.Close()
		<-served
		_ = s.Close(t.Context())
	})
}

// EventSource connects again by itself and its client goes on without initialize. It is served, but what it could be
// asked is forgotten; where a session had its own worker, the loss is said once.
func TestChannelReconnects(t *testing.T) {
	for _, isolation := range []string{"user", "session"} {
		t.Run(isolation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := sseServer(t, isolation, func(key string) io.ReadWriteCloser { return pipeTo(mirror(key, false)) })
				e := hear(t, s, "alice")
				e.say(sseInit)
				synctest.Wait()
				list := func() string {
					before := len(e.text())
					e.say(`{"jsonrpc":"2.0","id":1,"method":"prompts/get"}`)
					synctest.Wait()
					return e.text()[before:]
				}
				if got := list(); strings.Contains(got, `"error":{`) {
					t.Errorf("before: %s", got)
				}
				first := s.serial
				e.leave()
				synctest.Wait()
				e = hear(t, s, "alice")
				lost := isolation == "session"
				if got := list(); strings.Contains(got, "was lost") != lost {
					t.Errorf("the first call after: %s", got)
				}
				if got := list(); !strings.Contains(got, `"id":1,"result"`) {
					t.Errorf("the next: %s", got)
				}
				if (s.serial != first) != lost {
					t.Errorf("worker %d serves after worker %d", s.serial, first)
				}
				e.leave()
				_ = s.Close(t.Context())
			})
		})
	}
}

// TestChannelCrosstalk: people with equal ids over many streams, some of which break mid-call. What arrives is theirs,
// and every call on a stream that lives gets exactly one answer.
func TestChannelCrosstalk(t *testing.T) {
	for _, isolation := range []string{"user", "shared", "session"} {
		t.Run(isolation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := sseServer(t, isolation, func(key string) io.ReadWriteCloser { return pipeTo(mirror(key, isolation == "shared")) })
				var all []*earpiece
				for i := range 24 {
					e := hear(t, s, fmt.Sprintf("u%d", i%6))
					e.say(sseInit)
					all = append(all, e)
				}
				var wg sync.WaitGroup
				for i, e := range all {
					wg.Go(func() {
						for n := range 20 {
							e.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"echo","arguments":{"who":"%s/%d/%d"},"_meta":{"progressToken":"t"}}}`, n, e.who, i, n))
							if i%4 == 0 && n == 10 {
								e.leave()
							}
						}
					})
				}
				wg.Wait()
				synctest.Wait()
				for i, e := range all {
					overheard(t, e, fmt.Sprintf("%s/%d/", e.who, i), isolation == "shared")
					if i%4 == 0 {
						continue
					}
					for n := range 20 {
						if got := strings.Count(e.text(), fmt.Sprintf(`"id":%d,`, n)); got != 1 {
							t.Errorf("%s/%d: call %d has %d answers", e.who, i, n, got)
						}
					}
					e.leave()
				}
				_ = s.Close(t.Context())
			})
		})
	}
}

// overheard looks for what a stream should not have: another call's answer or progress, another person's log line.
func overheard(t *testing.T, e *earpiece, mine string, shared bool) {
	t.Helper()
	for _, to := range regexp.MustCompile(`"for ([^"]*)"`).FindAllStringSubmatch(e.text(), -1) {
		if !strings.HasPrefix(to[1], mine) && (to[1] != e.who+"/" || shared) {
			t.Errorf("%s was told what was for %s", mine, to[1])
		}
	}
	if shared && slices.Contains(strings.Fields(e.text()), `"notifications/message"`) {
		t.Errorf("%s saw a log line on a shared worker", mine)
	}
}
