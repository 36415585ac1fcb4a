package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const greeting = `,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"w","version":"1"}}}`

// script is a legacy worker: it greets, and gives every other request to f.
func script(f func(c net.Conn, id, method string)) io.ReadWriteCloser {
	return pipeTo(func(c net.Conn) {
		eachLine(c, func(line []byte) {
			var e envelope
			if e.scan(line) != nil || e.kind != kindRequest {
				return
			}
			id, m := string(e.id.of(line)), string(text(e.method.of(line)))
			if m == "initialize" {
				_, _ = io.WriteString(c, `{"jsonrpc":"2.0","id":`+id+greeting+"\n")
				return
			}
			f(c, id, m)
		})
	})
}

// openOn is a connection to a worker, and the server it belongs to.
func openOn(t *testing.T, cfg Config, w io.ReadWriteCloser) (*Server, *Conn) {
	t.Helper()
	cfg.Era = "legacy"
	s := testServer(t, cfg, nil, func(string) io.ReadWriteCloser { return w })
	c, _, err := s.acquire(t.Context(), profile{}, "alice")
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

// TestBadWorkers: whatever a worker writes, a call ends with its own answer or
// with a reason.
func TestBadWorkers(t *testing.T) {
	deep := strings.Repeat("[", 5000) + strings.Repeat("]", 5000)
	for name, tc := range map[string]struct {
		says func(id string) string
		want string // "" for an answer
	}{
		"banner":        {func(id string) string { return "listening on stdio\n" + answerTo(id) }, ""},
		"empty lines":   {func(id string) string { return "\n\r\n" + answerTo(id) }, ""},
		"invalid utf-8": {func(id string) string { return "{\"a\":\"\xff\"}\n" + answerTo(id) }, ""},
		"deep":          {func(id string) string { return deep + "\n" + answerTo(id) }, ""},
		"two ids": {func(id string) string {
			return `{"jsonrpc":"2.0","id":` + id + `,"id":9,"result":{}}` + "\n" + answerTo(id)
		}, ""},
		"unknown id": {func(id string) string { return answerTo("4711") + answerTo(`"`+id+`"`) + answerTo(id) }, ""},
		"null id": {func(id string) string {
			return `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}` + "\n" + answerTo(id)
		}, ""},
		"twice":         {func(id string) string { return answerTo(id) + answerTo(id) }, ""},
		"windows":       {func(id string) string { return strings.ReplaceAll(answerTo(id), "\n", "\r\n") }, ""},
		"large":         {func(id string) string { return largeTo(id, 1<<20) }, ""},
		"long noise":    {func(id string) string { return strings.Repeat("x", 3<<20) + "\n" + answerTo(id) }, ""},
		"long answer":   {func(id string) string { return largeTo(id, 3<<20) }, "answer is longer than limits.line, 2097152 bytes"},
		"long, to whom": {func(string) string { return `{"jsonrpc":"2.0","result":"` + strings.Repeat("x", 3<<20) + "\"}\n" }, "line longer than the limit"},
		"flood":         {func(id string) string { return strings.Repeat(progressTo(id), 5000) + answerTo(id) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Limits.Line = 2 << 20
			w := script(func(c net.Conn, id, _ string) { _, _ = io.WriteString(c, tc.says(id)) })
			s, c := openOn(t, cfg, w)
			defer func() { _ = s.Close(t.Context()) }()
			for range 2 {
				f, err := c.request(t.Context(), "tools/list", "")
				if tc.want != "" {
					if err == nil || !strings.Contains(err.Error(), tc.want) {
						t.Fatalf("error %v, want %q", err, tc.want)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if !f.env.rTools.ok() {
					t.Errorf("answered %.100q", f.line.b)
				}
				c.drop(f)
			}
		})
	}
}

func answerTo(id string) string {
	return `{"jsonrpc":"2.0","id":` + id + `,"result":{"tools":[]}}` + "\n"
}
func largeTo(id string, n int) string {
	return `{"jsonrpc":"2.0","id":` + id + `,"result":{"tools":["` + strings.Repeat("x", n) + `"]}}` + "\n"
}
func progressTo(id string) string {
	return `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":` + id + `,"progress":1}}` + "\n"
}

// TestDeafWorker: one that does not read fails the calls, it does not hang
// them, whether its pipes have deadlines or not.
func TestDeafWorker(t *testing.T) {
	for _, deadlines := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			go func() { // ends with the test's patience
				b := make([]byte, 4096)
				_, _ = far.Read(b)
				_, _ = io.WriteString(far, `{"jsonrpc":"2.0","id":1`+greeting+"\n")
				_, _ = far.Read(b)
				time.Sleep(time.Hour)
				far.Close()
			}()
			var w io.ReadWriteCloser = near
			if !deadlines {
				w = duplex{near, near, []io.Closer{near}}
			}
			cfg := DefaultConfig()
			cfg.Era = "legacy"
			s := testServer(t, cfg, nil, nil)
			c, err := s.Open(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if _, err := c.request(t.Context(), "tools/list", ""); err == nil || time.Since(start) > 25*time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
			_ = s.Close(t.Context())
			time.Sleep(2 * time.Hour)
		})
	}
}

// TestEra: what a disposable child says, and for how long it is believed.
func TestEra(t *testing.T) {
	says := func(line string) func(net.Conn) {
		return func(c net.Conn) {
			eachLine(c, func([]byte) { _, _ = io.WriteString(c, "npm notice\n"+line+"\n") })
		}
	}
	for name, tc := range map[string]struct {
		child  func(net.Conn)
		modern bool
		age    time.Duration
	}{
		"discovers":   {says(`{"jsonrpc":"2.0","id":1,"result":{"supportedVersions":["2026-07-28"]}}`), true, 24 * time.Hour},
		"newer only":  {says(`{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"x","data":{"supported":["2026-07-28"],"requested":"2026-07-28"}}}`), true, 24 * time.Hour},
		"older only":  {says(`{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"x","data":{"supported":["2025-11-25"],"requested":"2026-07-28"}}}`), false, 24 * time.Hour},
		"refuses":     {says(`{"jsonrpc":"2.0","id":1,"error":{"code":0,"message":"x"}}`), false, 24 * time.Hour},
		"dies":        {func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }, false, 10 * time.Minute},
		"keeps quiet": {func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, false, 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				s := testServer(t, DefaultConfig(), nil, nil)
				s.era.spawn = func(context.Context) (io.ReadWriteCloser, error) {
					asked++
					return pipeTo(tc.child), nil
				}
				for _, wait := range []time.Duration{0, tc.age - time.Minute, time.Hour} {
					time.Sleep(wait)
					if got, err := s.era.choose(t.Context(), profile{}); err != nil || got != tc.modern {
						t.Errorf("modern %v, %v", got, err)
					}
				}
				if asked != 2 {
					t.Errorf("asked %d times, want 2", asked)
				}
				if got, _ := s.era.choose(t.Context(), profile{legacy: true}); got {
					t.Error("a session's worker was opened in the modern generation")
				}
			})
		})
	}
}

type busy struct{}

func (busy) Error() string             { return "server is busy: 4 of 4 workers" }
func (busy) RetryAfter() time.Duration { return 1500 * time.Millisecond }

type noWorkers struct{}

func (noWorkers) Acquire(context.Context, string) (*Conn, func(), error) {
	return nil, nil, fmt.Errorf("cannot acquire: %w", busy{})
}

// TestBusy: in band, with the words and the time, never a 5xx.
func TestBusy(t *testing.T) {
	s := testServer(t, DefaultConfig(), nil, nil)
	s.o.Workers = noWorkers{}
	r := httptest.NewRequest("POST", "/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":"a","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}`))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	want := `{"jsonrpc":"2.0","id":"a","error":{"code":-32603,"message":"cannot acquire: server is busy: 4 of 4 workers","data":{"retryAfter":2}}}`
	if w.Code != 200 || w.Body.String() != want {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestConfigValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{Isolation: "each", Era: "old"}.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, key := range []string{"isolation", "era", "limits.call", "limits.body", "limits.line"} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("%q does not name %s", err, key)
		}
	}
}

// TestClose: streams end at once, calls are given until the deadline.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.Era = "legacy"
		s := testServer(t, cfg, nil, func(string) io.ReadWriteCloser {
			return script(func(c net.Conn, id, m string) {
				if m == "tools/list" {
					time.Sleep(5 * time.Second)
					_, _ = io.WriteString(c, answerTo(id))
				}
			})
		})
		post := func(session, body string) *httptest.ResponseRecorder {
			r := httptest.NewRequest("POST", "/mcp", strings.NewReader(body))
			r.Header.Set("Mcp-Session-Id", session)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			return w
		}
		id := post("", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}`).Header().Get("Mcp-Session-Id")
		quick, stuck := make(chan string, 1), make(chan string, 1)
		go func() { quick <- post(id, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`).Body.String() }()
		go func() { stuck <- post(id, `{"jsonrpc":"2.0","id":2,"method":"prompts/list"}`).Body.String() }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := s.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if got := <-quick; !strings.Contains(got, `"tools":[]`) {
			t.Errorf("the call in time: %s", got)
		}
		if got := <-stuck; !strings.Contains(got, "stopped or replaced") {
			t.Errorf("the call out of time: %s", got)
		}
		if got := post(id, `{"jsonrpc":"2.0","id":"x","method":"ping"}`).Body.String(); !strings.HasPrefix(got, `{"jsonrpc":"2.0","id":"x","error"`) || !strings.Contains(got, "stopped or replaced") {
			t.Errorf("a call after: %s", got)
		}
	})
}
