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
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// inquirer asks during every tool call and answers with what it was told.
func inquirer(c net.Conn) {
	asked := map[string]string{}
	eachLine(c, func(line []byte) {
		var e envelope
		if e.scan(line) != nil {
			return
		}
		id := string(e.id.of(line))
		switch string(text(e.method.of(line))) {
		case "initialize":
			fmt.Fprintln(c, `{"jsonrpc":"2.0","id":`+id+`,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"w","version":"1"}}}`)
		case "tools/list":
			fmt.Fprintln(c, `{"jsonrpc":"2.0","id":`+id+`,"result":{"tools":[]}}`)
		case "tools/call":
			asked["1"+id] = id
			fmt.Fprintln(c, `{"jsonrpc":"2.0","id":1`+id+`,"method":"roots/list"}`)
		case "":
			if call := asked[id]; call != "" {
				fmt.Fprintln(c, `{"jsonrpc":"2.0","id":`+call+`,"result":{"content":[],"heard":`+fmt.Sprint(e.kind == kindResult)+`}}`)
			}
		}
	})
}

func postRoots(s *Server, who, extra string) string {
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t",` + extra + `"_meta":{"` + metaVersion + `":"` + modernVersion + `","` + metaCaps + `":{"roots":{}}}}}`
	r := httptest.NewRequest("POST", "/mcp", strings.NewReader(body))
	r.Header = http.Header{"X-User": {who}, "Mcp-Protocol-Version": {modernVersion}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"t"}}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Body.String()
}

// counted counts the workers that are lent out.
type counted struct {
	Workers
	out *atomic.Int32
}

func (c counted) Acquire(ctx context.Context, key string) (*Conn, func(), error) {
	conn, release, err := c.Workers.Acquire(ctx, key)
	if err == nil {
		c.out.Add(1)
		return conn, func() { release(); c.out.Add(-1) }, nil
	}
	return conn, release, err
}

func parkServer(t *testing.T, out *atomic.Int32) *Server {
	cfg := DefaultConfig()
	cfg.Era = "legacy"
	s := testServer(t, cfg, func(r *http.Request) string { return r.Header.Get("X-User") },
		func(string) io.ReadWriteCloser { return pipeTo(inquirer) })
	s.o.Workers = counted{s.o.Workers, out}
	return s
}

var anyState = regexp.MustCompile(`"requestState":"([^"]+)"`)

// TestParkedLimits: a parked call holds its worker; a person may have so many,
// and a server; the others are told so, and their workers too.
func TestParkedLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out atomic.Int32
		s := parkServer(t, &out)
		var first string
		for i := range maxParked {
			got := postRoots(s, fmt.Sprintf("u%d", i/maxParkedPerson), "")
			m := anyState.FindStringSubmatch(got)
			if m == nil {
				t.Fatalf("call %d: %s", i, got)
			}
			if i == 0 {
				first = m[1]
			}
			if i == maxParkedPerson-1 {
				if got := postRoots(s, "u0", ""); !strings.Contains(got, `"code":-32603,"message":"too many of your calls`) {
					t.Errorf("one more of a person: %s", got)
				}
			}
		}
		if got := postRoots(s, "new", ""); !strings.Contains(got, `"code":-32603,"message":"too many calls to this server`) {
			t.Errorf("one more of the server: %s", got)
		}
		if n := out.Load(); int(n) != maxParked || s.Stats().Parked != maxParked {
			t.Errorf("%d workers are held and %d calls parked, want %d", n, s.Stats().Parked, maxParked)
		}
		got := postRoots(s, "u0", `"inputResponses":{"q1":{"roots":[]}},"requestState":"`+first+`",`)
		if !strings.Contains(got, `"heard":true`) {
			t.Errorf("the first call ends with %s", got)
		}
		if got := postRoots(s, "u0", ""); !anyState.MatchString(got) {
			t.Errorf("after it there is no place: %s", got)
		}
		time.Sleep(s.answerTimeout)
		synctest.Wait()
		if n := out.Load(); n != 0 || s.Stats().Parked != 0 {
			t.Errorf("after the time %d workers are held and %d calls parked", n, s.Stats().Parked)
		}
		_ = s.Close(t.Context())
	})
}

// TestParkedOnce: of many who come back with the same state at the same moment
// exactly one goes on.
func TestParkedOnce(t *testing.T) {
	var out atomic.Int32
	s := parkServer(t, &out)
	defer func() { _ = s.Close(t.Context()) }()
	for range 20 {
		m := anyState.FindStringSubmatch(postRoots(s, "u", ""))
		if m == nil {
			t.Fatal("not parked")
		}
		answers := make(chan string)
		for range 8 {
			go func() { // ends with its request
				answers <- postRoots(s, "u", `"inputResponses":{"q1":{"roots":[]}},"requestState":"`+m[1]+`",`)
			}()
		}
		good, spent := 0, 0
		for range 8 {
			got := []byte(<-answers)
			if bytes.Contains(got, []byte(`"heard":true`)) {
				good++
			}
			if bytes.Contains(got, []byte(`"code":-32602`)) {
				spent++
			}
		}
		if good != 1 || spent != 7 {
			t.Fatalf("%d went on and %d were refused", good, spent)
		}
	}
	if n := out.Load(); n != 0 {
		t.Errorf("%d workers are held", n)
	}
}

// TestUnheardQuestion: a question that a call did not get to hear before it ended goes to another call, or is refused.
func TestUnheardQuestion(t *testing.T) {
	s := testServer(t, DefaultConfig(), nil, nil)
	said := make(chan string, 1)
	near, far := net.Pipe()
	defer near.Close()
	go eachLine(far, func(line []byte) { said <- string(line) }) // ends when the pipe is closed
	c := &Conn{s: s, rwc: near}
	c.calls.calls = map[uint64]*waiter{}
	var all []*waiter
	for range 2 {
		w := c.calls.waiter()
		w.asks, w.able = askForm, true
		if err := c.calls.add(w); err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
	}
	line := s.bufs.get()
	line.b = append(line.b, `{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{}}`...)
	c.receive(line)
	for i := len(all) - 1; i >= 0; i-- {
		if n := len(all[i].frames); n != 1 {
			t.Errorf("call %d has %d questions", i, n)
		}
		c.calls.remove(all[i])
		c.calls.free(c, all[i])
	}
	if got := <-said; !strings.Contains(got, `"id":"q","error"`) {
		t.Error(got)
	}
	c.control.Wait()
}
