package bridge

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// imp is a server that talks through two pipes, which can end one by one.
type imp struct {
	in   *io.PipeReader
	out  *io.PipeWriter
	mu   turn // one line at a time, which a stalled one never ends
	done chan struct{}
}

// turn is a lock whose waiting the fake clock can see.
type turn chan struct{}

func (t turn) Lock()   { t <- struct{}{} }
func (t turn) Unlock() { <-t }

func (c *imp) say(lines ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range lines {
		_, _ = io.WriteString(c.out, l+"\n")
	}
}

func (c *imp) answer(id string) { c.say(strings.TrimSuffix(contentTo(id), "\n")) }

func contentTo(id string) string { return `{"jsonrpc":"2.0","id":` + id + `,"result":{"content":[]}}` }

// nursery starts children. The tool "slow" answers after a second, "bad" does
// what bad says, anything else answers at once.
type nursery struct {
	bad     func(c *imp, id string)
	greet   int // how often initialize is answered
	started atomic.Int32
}

func (n *nursery) start(string) io.ReadWriteCloser {
	n.started.Add(1)
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	c := &imp{in: inR, out: outW, mu: make(turn, 1), done: make(chan struct{})}
	go n.live(c) // ends with its input
	return duplex{outR, inW, []io.Closer{outR, inW}}
}

func (n *nursery) live(c *imp) {
	defer close(c.done)
	in := bufio.NewScanner(c.in)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var e envelope
		if e.scan(in.Bytes()) != nil || e.kind != kindRequest {
			continue
		}
		id, tool := string(e.id.of(in.Bytes())), string(text(e.name.of(in.Bytes())))
		switch {
		case string(text(e.method.of(in.Bytes()))) == "initialize":
			for range n.greet {
				c.say(`{"jsonrpc":"2.0","id":` + id + greeting)
			}
		case tool == "bad":
			go n.bad(c, id) // ends by itself or with the pipes
		case tool == "slow":
			time.AfterFunc(time.Second, func() { c.answer(id) })
		default:
			c.answer(id)
		}
	}
}

func repeat(w io.Writer, s string, times int) {
	b := []byte(s)
	for range times {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}

const (
	fine     = `,"result":{"content":[]}}`
	useless  = `"message":"the server's answer is of no use: `
	unparsed = useless + `not valid JSON, or nested too deeply"`
	unasked  = useless + `not a JSON-RPC 2.0 message"`
	unheard  = `"message":"the server did not answer within 5m0s; the call was cancelled"`
)

// hostiles are the things a server may do to a call: what its client is told,
// and what a call of the same person on the same worker is told that was under
// way ("" for its answer). The next call works, always.
var hostiles = map[string]struct {
	bad    func(c *imp, id string)
	want   string
	beside string
	line   int // the limit, 0 for the default
}{
	"1 GiB": {bad: func(c *imp, id string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, _ = io.WriteString(c.out, `{"jsonrpc":"2.0","id":`+id+`,"result":{"content":"`)
		repeat(c.out, strings.Repeat("x", 1<<20), 1<<10)
		_, _ = io.WriteString(c.out, "\"}}\n")
	}, want: `"message":"the server's answer is longer than limits.line, 16777216 bytes"`},
	"long, id last": {bad: func(c *imp, id string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, _ = io.WriteString(c.out, `{"result":{"content":"`)
		repeat(c.out, strings.Repeat("x", 1<<16), 1<<4)
		_, _ = io.WriteString(c.out, `"},"jsonrpc":"2.0","id":`+id+"}\n")
	}, line: 64 << 10, want: `"message":"the server's answer is longer than limits.line, 65536 bytes"`},
	"long question": {bad: func(c *imp, id string) {
		c.say(`{"jsonrpc":"2.0","id":`+id+`,"method":"sampling/createMessage","params":{"x":"`+strings.Repeat("x", 1<<17)+`"}}`, contentTo(id))
	}, line: 64 << 10, want: fine},
	"endless line": {bad: func(c *imp, id string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		repeat(c.out, strings.Repeat("x", 1<<16), 1<<30)
	}, line: 64 << 10, want: `"message":"the server wrote a line longer than the limit"`, beside: "longer than the limit"},
	"no UTF-8": {bad: func(c *imp, id string) {
		c.say(`{"jsonrpc":"2.0","id":` + id + ",\"result\":{\"content\":\"\xff\"}}")
	}, want: unparsed},
	"100,000 deep": {bad: func(c *imp, id string) {
		c.say(`{"jsonrpc":"2.0","id":` + id + `,"result":` + strings.Repeat("[", 100000) + strings.Repeat("]", 100000) + "}")
	}, want: unparsed},
	"no number":        {bad: says(`{"jsonrpc":"2.0","id":ID,"result":{"content":[],"x":NaN}}`), want: unparsed},
	"result twice":     {bad: says(`{"jsonrpc":"2.0","id":ID,"result":{},"result":{"content":[]}}`), want: useless + `a member appears twice"`},
	"_meta twice":      {bad: says(`{"jsonrpc":"2.0","id":ID,"result":{"_meta":{},"_meta":{}}}`), want: useless + `a member appears twice"`},
	"result and error": {bad: says(`{"jsonrpc":"2.0","id":ID,"result":null,"error":null}`), want: unasked},
	"neither":          {bad: says(`{"jsonrpc":"2.0","id":ID}`), want: unasked},
	"result null":      {bad: says(`{"jsonrpc":"2.0","id":ID,"result":null}`), want: `"id":"c","result":null}`},
	"error null":       {bad: says(`{"jsonrpc":"2.0","id":ID,"error":null}`), want: unasked},
	"error empty":      {bad: says(`{"jsonrpc":"2.0","id":ID,"error":{}}`), want: `"error":{"code":-32603,"message":"the server answered with an error that says nothing"}`},
	"error code":       {bad: says(`{"jsonrpc":"2.0","id":ID,"error":{"code":"E_NO","message":"no"}}`), want: `"error":{"code":-32603,"message":"no"}`},
	"twice":            {bad: says(contentTo("ID"), `{"jsonrpc":"2.0","id":ID,"error":{"code":1,"message":"second"}}`), want: fine},
	"another id":       {bad: says(contentTo("4711"), contentTo("-ID"), contentTo("null"), contentTo(`""`), contentTo(`"`+strings.Repeat("9", 100000)+`"`), contentTo("ID")), want: fine},
	"text id":          {bad: says(contentTo(`"ID"`)), want: fine},
	"float id":         {bad: says(contentTo("ID.0"), contentTo("IDe0")), want: unheard},
	"log in JSON":      {bad: says(`{"level":30,"id":ID,"error":"x"}`, contentTo("ID")), want: fine},
	"no answer":        {bad: says(), want: unheard},
	"questions": {bad: says(`{"jsonrpc":"2.0","id":ID,"method":"roots/list"}`, `{"jsonrpc":"2.0","id":ID,"method":"roots/list"}`, `{"jsonrpc":"2.0","id":1e3,"method":"ping"}`,
		`{"jsonrpc":"2.0","id":"","method":"no/such"}`, contentTo("ID")), want: fine},
	"noise": {bad: func(c *imp, id string) {
		c.mu.Lock()
		repeat(c.out, strings.Repeat("warning: something\n", 500), 400)
		c.mu.Unlock()
		c.answer(id)
	}, want: fine},
	"notifications": {bad: func(c *imp, id string) {
		c.mu.Lock()
		repeat(c.out, strings.Repeat(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}`+"\n"+
			`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`+"\n"+progressTo(id), 100), 400)
		c.mu.Unlock()
		c.answer(id)
	}, want: `"id":"c"` + fine},
	"stalls": {bad: func(c *imp, id string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, _ = io.WriteString(c.out, `{"jsonrpc":"2.0","id":`+id)
		<-c.done
	}, want: `"message":"the server stopped in the middle of a line"`, beside: "the server did not answer within 5m0s"},
	"closes its output": {bad: func(c *imp, _ string) { c.out.Close() }, want: `"message":"the server closed its output"`, beside: "the server closed its output"},
	"ends":              {bad: func(c *imp, _ string) { c.in.Close(); c.out.Close() }, want: `"message":"the server closed its output"`, beside: "the server closed its output"},
}

// says is a server that writes these lines, with the call's id for ID.
func says(lines ...string) func(*imp, string) {
	return func(c *imp, id string) {
		for _, l := range lines {
			c.say(strings.ReplaceAll(l, "ID", id))
		}
	}
}

// person is somebody with a session.
type person struct {
	t             *testing.T
	s             *Server
	name, session string
}

func (p *person) post(body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/mcp", strings.NewReader(body))
	r.Header.Set("X-User", p.name)
	if p.session != "" {
		r.Header.Set("Mcp-Session-Id", p.session)
	}
	w := httptest.NewRecorder()
	p.s.ServeHTTP(w, r)
	return w
}

func (p *person) open() *person {
	p.session = p.post(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{}}}`).Header().Get("Mcp-Session-Id")
	if p.session == "" {
		p.t.Fatal("no session")
	}
	return p
}

func (p *person) call(tool string) string {
	return p.post(`{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"` + tool + `","_meta":{"progressToken":1}}}`).Body.String()
}

// background makes a call and gives its answer later.
func (p *person) background(tool string) <-chan string {
	out := make(chan string, 1)
	go func() { out <- p.call(tool) }() // ends with the call
	synctest.Wait()
	return out
}

func who(r *http.Request) string { return r.Header.Get("X-User") }

// TestHostileWorkers: nothing that a server does keeps its client waiting for
// more than the call's time, reaches another person, or spoils the next call.
// That nothing is left running is what the bubble checks at its end.
func TestHostileWorkers(t *testing.T) {
	for name, tc := range hostiles {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := DefaultConfig()
				cfg.Era = "legacy"
				if tc.line != 0 {
					cfg.Limits.Line = tc.line
				}
				n := &nursery{bad: tc.bad, greet: 2}
				s := testServer(t, cfg, who, n.start)
				alice, bob := (&person{t: t, s: s, name: "alice"}).open(), (&person{t: t, s: s, name: "bob"}).open()
				alice.call("fine")
				bob.call("fine")
				before := allocated()
				beside, elsewhere := alice.background("slow"), bob.background("slow")
				time.Sleep(time.Millisecond) // the call beside is the first whose time is over
				if got := alice.call("bad"); !strings.Contains(got, tc.want) {
					t.Errorf("bad: %.400s", got)
				}
				if n := allocated() - before; n > hostileBytes {
					t.Errorf("%d MiB were allocated", n>>20)
				}
				if got := <-beside; tc.beside == "" && !strings.HasSuffix(strings.TrimSpace(got), fine) || !strings.Contains(got, tc.beside) {
					t.Errorf("beside: %.400s", got)
				}
				if got := <-elsewhere; !strings.HasSuffix(strings.TrimSpace(got), fine) {
					t.Errorf("elsewhere: %.400s", got)
				}
				if got := alice.call("fine"); !strings.HasSuffix(strings.TrimSpace(got), fine) {
					t.Errorf("next: %.400s", got)
				}
				want := int32(2)
				if tc.beside != "" {
					want = 3
				}
				if got := n.started.Load(); got != want {
					t.Errorf("%d workers were started, want %d", got, want)
				}
				_ = s.Close(t.Context())
			})
		})
	}
}

// hostileBytes is what a call may cost, whatever its server does: far less than the gigabyte that one of them writes, and
// more than 200,000 short lines do where every fourth buffer is forgotten, as sync.Pool does under the race detector.
const hostileBytes = 512 << 20

// allocated is all that was ever allocated: a gigabyte that was only kept for a
// moment counts.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// TestHostileInput: a server that no longer reads is found out by the next call,
// and the one after that has another.
func TestHostileInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.Era = "legacy"
		n := &nursery{greet: 1, bad: func(c *imp, id string) { c.in.Close(); c.answer(id) }}
		s := testServer(t, cfg, who, n.start)
		alice := (&person{t: t, s: s, name: "alice"}).open()
		for i, want := range []string{fine, `"message":"the server closed its input"`, fine} {
			if got := alice.call([]string{"bad", "fine", "fine"}[i]); !strings.Contains(got, want) {
				t.Errorf("%d: %s", i, got)
			}
		}
		_ = s.Close(t.Context())
	})
}

// TestHostileHandshake: how a server can fail to introduce itself, in words.
func TestHostileHandshake(t *testing.T) {
	for name, tc := range map[string]struct{ says, want string }{
		"unusable": {`{"jsonrpc":"2.0","id":1,"result":{"capabilities":{},"capabilities":{}}}`, "cannot initialize the server: the server's answer is of no use: a member appears twice"},
		"null":     {`{"jsonrpc":"2.0","id":1,"result":null}`, ""},
		"nothing":  {`{"jsonrpc":"2.0","id":1,"result":{}}`, ""},
		"refuses":  {`{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"not today"}}`, "the server refused initialize: not today"},
		"mute":     {`npm notice`, "cannot initialize the server: context deadline exceeded"},
		"long":     {`{"jsonrpc":"2.0","id":1,"result":"` + strings.Repeat("x", 17<<20) + `"}`, "cannot initialize the server: the server's answer is longer than limits.line"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := DefaultConfig()
				cfg.Era = "legacy"
				s := testServer(t, cfg, nil, nil)
				inR, inW := io.Pipe()
				outR, outW := io.Pipe()
				go func() { // ends with the pipes
					_, _ = inR.Read(make([]byte, 1))
					_, _ = fmt.Fprintln(outW, tc.says)
					_, _ = io.Copy(io.Discard, inR)
				}()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				c, err := s.Open(ctx, duplex{outR, inW, []io.Closer{outR, inW}})
				if err == nil {
					c.Close()
				}
				if tc.want == "" && err == nil || err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%v", err)
				}
				_ = s.Close(t.Context())
			})
		})
	}
}
