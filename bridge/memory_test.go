package bridge

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// notebook is a Memory that outlives a Server in a test.
type notebook struct {
	mu sync.Mutex
	m  map[string][]byte
}

func (n *notebook) Load(name string) ([]byte, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	b, ok := n.m[name]
	return b, ok
}

func (n *notebook) Store(name string, data []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.m == nil {
		n.m = map[string][]byte{}
	}
	if data == nil {
		delete(n.m, name)
	} else {
		n.m[name] = append([]byte(nil), data...)
	}
	return nil
}

func (n *notebook) copy() *notebook {
	n.mu.Lock()
	defer n.mu.Unlock()
	return &notebook{m: maps.Clone(n.m)}
}

// lived is a Server with a memory; its workers come from start, probes included.
func lived(t *testing.T, cfg Config, n *notebook, start func(key string) io.ReadWriteCloser) *Server {
	t.Helper()
	sealer, _ := NewSealer(make([]byte, 32))
	f := &fleet{conns: map[string]*lease{}, start: start}
	s, err := New(Options{
		Name: "test", Config: cfg, Workers: f, Sealer: sealer, Version: "0.0.0", Memory: n,
		Principal: func(r *http.Request) string { return r.Header.Get("X-User") },
		Spawn:     func(context.Context) (io.ReadWriteCloser, error) { return start("probe"), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	f.s = s
	return s
}

func (s *Server) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
}

func modernPost(s *Server, who, method, params string) string {
	if params != "" {
		params += ","
	}
	r := httptest.NewRequest("POST", "/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":{`+params+
		`"_meta":{"`+metaVersion+`":"`+modernVersion+`","`+metaCaps+`":{}}}}`))
	r.Header.Set("X-User", who)
	r.Header.Set("Mcp-Protocol-Version", modernVersion)
	r.Header.Set("Mcp-Method", method)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Body.String()
}

func open(s *Server, who string) (answer, session string) {
	r := httptest.NewRequest("POST", "/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}`))
	r.Header.Set("X-User", who)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Body.String(), w.Header().Get("Mcp-Session-Id")
}

// both is a dual-generation worker with a name.
func both(name string) io.ReadWriteCloser {
	return pipeTo(func(c net.Conn) {
		eachLine(c, func(line []byte) {
			var e envelope
			if e.scan(line) != nil || e.kind != kindRequest {
				return
			}
			out := `{"jsonrpc":"2.0","id":` + string(e.id.of(line)) + `,`
			switch string(text(e.method.of(line))) {
			case "server/discover":
				out += `"result":{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"instructions":"Mind the <gap> & \u0001.","_meta":{"` + metaServer + `":{"name":"` + name + `","version":"1"}}}}`
			case "initialize":
				out += `"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"` + name + `","version":"1"}}}`
			default:
				out += `"result":{"tools":[]}}`
			}
			_, _ = io.WriteString(c, out+"\n")
		})
	})
}

// TestMemory: after a restart clients are answered before any child has
// started, the verdict on the generation included.
func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &notebook{}
		first := lived(t, DefaultConfig(), n, func(string) io.ReadWriteCloser { return both("w") })
		want := modernPost(first, "alice", "server/discover", "")
		if !strings.Contains(want, `"name":"w"`) || !strings.Contains(want, `<gap> & `) {
			t.Fatal(want)
		}
		synctest.Wait()
		first.stop(t)

		var started atomic.Int32
		cold := func(string) io.ReadWriteCloser { started.Add(1); return both("w2") }
		s := lived(t, DefaultConfig(), n, cold)
		if got := modernPost(s, "bob", "server/discover", ""); got != want {
			t.Errorf("discover after a restart:\n%s\nwant\n%s", got, want)
		}
		if got, session := open(s, "bob"); !strings.Contains(got, `"name":"w"`) || session == "" {
			t.Errorf("initialize after a restart: %s", got)
		}
		synctest.Wait()
		if n := started.Load(); n != 0 {
			t.Errorf("%d children were started for what is known", n)
		}

		time.Sleep(2 * time.Hour) // long enough to ask again, behind the answer
		if got := modernPost(s, "bob", "server/discover", ""); got != want {
			t.Errorf("a stale identity: %s", got)
		}
		synctest.Wait()
		if n := started.Load(); n != 1 {
			t.Errorf("%d children were started, want the worker and no probe", n)
		}
		if got := modernPost(s, "bob", "server/discover", ""); !strings.Contains(got, `"name":"w2"`) {
			t.Errorf("not refreshed: %s", got)
		}
		s.stop(t)
	})
}

// TestMemoryDoubted: a verdict that is wrong by now costs one attempt, and
// records that are damaged, old or against the configuration are not used.
func TestMemoryDoubted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &notebook{}
		first := lived(t, DefaultConfig(), n, func(string) io.ReadWriteCloser { return both("w") })
		modernPost(first, "alice", "server/discover", "")
		synctest.Wait()
		first.stop(t)
		kept := n.copy()

		for name, child := range map[string]func() io.ReadWriteCloser{
			"refuses": func() io.ReadWriteCloser {
				return script(func(c net.Conn, id, m string) {
					if m == "tools/list" {
						_, _ = io.WriteString(c, answerTo(id))
						return
					}
					_, _ = io.WriteString(c, `{"jsonrpc":"2.0","id":`+id+`,"error":{"code":-32601,"message":"x"}}`+"\n")
				})
			},
			"exits": func() io.ReadWriteCloser {
				return script(func(c net.Conn, id, m string) {
					if m == "tools/list" {
						_, _ = io.WriteString(c, answerTo(id))
						return
					}
					c.Close()
				})
			},
		} {
			s := lived(t, DefaultConfig(), kept.copy(), func(string) io.ReadWriteCloser { return child() })
			if got := modernPost(s, "alice", "tools/list", ""); !strings.Contains(got, `"error"`) {
				t.Errorf("%s: a server of the other generation answered %s", name, got)
			}
			if got := modernPost(s, "alice", "tools/list", ""); !strings.Contains(got, `"tools":[]`) {
				t.Errorf("%s: not healed: %s", name, got)
			}
			s.stop(t)
		}

		legacy := DefaultConfig()
		legacy.Era = "legacy"
		for name, tc := range map[string]struct {
			cfg    Config
			damage func(*notebook)
		}{
			"nothing":       {DefaultConfig(), func(n *notebook) { n.m = nil }},
			"no json":       {DefaultConfig(), func(n *notebook) { n.m[memoryServer] = []byte("{\"format\":1,\n") }},
			"other format":  {DefaultConfig(), func(n *notebook) { n.m[memoryServer] = []byte(`{"format":99}`) }},
			"no object":     {DefaultConfig(), func(n *notebook) { n.m[memoryServer] = []byte(`{"format":1,"info":7}`) }},
			"configuration": {legacy, func(*notebook) {}},
			"age":           {DefaultConfig(), func(*notebook) { time.Sleep(memoryAge + time.Hour) }},
		} {
			n := kept.copy()
			tc.damage(n)
			s := lived(t, tc.cfg, n, func(string) io.ReadWriteCloser { return both("w3") })
			if got := modernPost(s, "alice", "server/discover", ""); !strings.Contains(got, `"name":"w3"`) {
				t.Errorf("%s: %s", name, got)
			}
			s.stop(t)
		}
	})
}
