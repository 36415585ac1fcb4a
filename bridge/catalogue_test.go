package bridge

import (
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// shop is a server that lists what each of its workers is for, and that a
// test changes, stops and counts.
type shop struct {
	mu      sync.Mutex
	suffix  string // of every tool, for a change
	version string // of the server
	result  string // more members of a list's result
	pages   int    // of tools
	live    map[string]net.Conn
	told    map[string]string // by key: the capabilities of initialize
	started atomic.Int32
	slow    time.Duration // until a worker has started
}

func (h *shop) start(key string) io.ReadWriteCloser {
	h.started.Add(1)
	return pipeTo(func(c net.Conn) {
		<-time.After(h.slow)
		h.mu.Lock()
		if h.live == nil {
			h.live = map[string]net.Conn{}
		}
		h.live[key] = c
		h.mu.Unlock()
		eachLine(c, func(line []byte) {
			var e envelope
			if e.scan(line) != nil || e.kind != kindRequest {
				return
			}
			h.mu.Lock()
			out := h.answer(key, line, &e)
			h.mu.Unlock()
			_, _ = io.WriteString(c, `{"jsonrpc":"2.0","id":`+string(e.id.of(line))+`,`+out+"}\n")
		})
	})
}

func (h *shop) answer(key string, line []byte, e *envelope) string {
	info := `{"name":"shop","version":"` + h.version + `"}`
	caps := `"capabilities":{"tools":{"listChanged":true},"prompts":{},"resources":{}}`
	item := func(kind string, n int) string {
		return fmt.Sprintf(`{"name":%s,"uri":%s,"inputSchema":{"type":"object","properties":{"r":{"type":"string","x-mcp-header":"Region"}}}}`,
			quote(nil, fmt.Sprintf("%s-%s%s-%d", kind, key, h.suffix, n)), quote(nil, "x:"+key))
	}
	switch m := string(text(e.method.of(line))); m {
	case "server/discover":
		return `"result":{"supportedVersions":["2026-07-28"],` + caps + `,"_meta":{"` + metaServer + `":` + info + `}}`
	case "initialize":
		if h.told == nil {
			h.told = map[string]string{}
		}
		h.told[key] = string(memberOf(line, e.params, "capabilities").of(line))
		return `"result":{"protocolVersion":"2025-11-25",` + caps + `,"serverInfo":` + info + `}`
	case "tools/list":
		n := 0
		if p := memberOf(line, e.params, "cursor"); p.ok() {
			_, _ = fmt.Sscan(string(text(p.of(line))), &n)
		}
		next := ""
		if n+1 < h.pages {
			next = fmt.Sprintf(`,"nextCursor":"%d"`, n+1)
		}
		return `"result":{"tools":[` + item("tool", n) + `]` + next + h.result + `}`
	case "prompts/list":
		return `"result":{"prompts":[ ` + item("prompt", 0) + `]` + h.result + `}`
	case "resources/list":
		return `"result":{"resources":[]` + h.result + `}`
	case "resources/templates/list":
		return `"error":{"code":-32601,"message":"no templates"}`
	default:
		return `"result":{"content":[{"type":"text","text":"` + m + ` by ` + key + `"}]}`
	}
}

// kill ends every worker, as idleness does.
func (h *shop) kill() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, c := range h.live {
		c.Close()
		delete(h.live, key)
	}
}

func (h *shop) say(key, line string) {
	h.mu.Lock()
	c := h.live[key]
	h.mu.Unlock()
	_, _ = io.WriteString(c, line+"\n")
}

func (h *shop) set(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

func sessionPost(s *Server, who, session, body string) string {
	r := httptest.NewRequest("POST", "/mcp", strings.NewReader(body))
	r.Header.Set("X-User", who)
	r.Header.Set("Mcp-Session-Id", session)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Body.String()
}

func openWith(s *Server, who, caps string) string {
	r := httptest.NewRequest("POST", "/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":`+caps+`}}`))
	r.Header.Set("X-User", who)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Header().Get("Mcp-Session-Id")
}

func inIsolation(isolation, era string) Config {
	cfg := DefaultConfig()
	cfg.Isolation, cfg.Era = isolation, era
	return cfg
}

// TestCatalogueIsOnesOwn: whatever may differ between two people is never
// answered to the other, cold or warm, before and after a restart, and a list
// that is a person's own is not everyone's because the isolation was changed.
func TestCatalogueIsOnesOwn(t *testing.T) {
	names := []string{"alice", "bob", "asks=1:alice", "asks=-:alice", "", "\x00alice", "user", "alice\x00"}
	for _, era := range []string{"legacy", "modern"} {
		synctest.Test(t, func(t *testing.T) {
			h := &shop{version: "1"}
			n := &notebook{}
			cfg := inIsolation("user", era)
			s := lived(t, cfg, n, h.start)
			check := func(when string) {
				t.Helper()
				for _, who := range names {
					tool := func(who string) string { return string(quote(nil, "tool-"+profile{}.keyOf(who)+"-0")) }
					got := modernPost(s, who, "tools/list", "")
					if !strings.Contains(got, tool(who)) {
						t.Errorf("%s, %s: %q got %s", era, when, who, got)
					}
					for _, other := range names {
						if other != who && strings.Contains(got, tool(other)) {
							t.Errorf("%s, %s: %q got the list of %q", era, when, who, other)
						}
					}
				}
			}
			check("warm")
			h.kill()
			synctest.Wait()
			check("cold")
			synctest.Wait()
			s.stop(t)
			s = lived(t, cfg, n, h.start)
			check("restarted")
			synctest.Wait()
			s.stop(t)

			h.set(func() { h.result = `,"cacheScope":"private"` })
			s = lived(t, inIsolation("shared", era), n, h.start)
			for _, who := range names {
				if got := modernPost(s, who, "tools/list", ""); !strings.Contains(got, `"tool--0"`) {
					t.Errorf("%s: in shared isolation %q got %s", era, who, got)
				}
			}
			s.stop(t)
		})
	}
}

// TestCatalogueOfProfiles: a worker that may ask its client lists what another
// of the same person does not.
func TestCatalogueOfProfiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &shop{version: "1"}
		s := lived(t, inIsolation("user", "legacy"), &notebook{}, h.start)
		const list = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
		asking, plain := openWith(s, "alice", `{"sampling":{}}`), openWith(s, "alice", `{}`)
		for _, when := range []string{"warm", "cold"} {
			if got := sessionPost(s, "alice", asking, list); !strings.Contains(got, `"tool-asks=4:alice-0"`) {
				t.Errorf("%s: %s", when, got)
			}
			if got := sessionPost(s, "alice", plain, list); !strings.Contains(got, `"tool-alice-0"`) {
				t.Errorf("%s: %s", when, got)
			}
			h.kill()
			synctest.Wait()
		}
		s.stop(t)
	})
}

// TestCatalogueScope: in shared isolation a modern server says which lists are
// everyone's; one that is private is kept for its reader alone.
func TestCatalogueScope(t *testing.T) {
	for scope, want := range map[string]bool{`,"ttlMs":0,"cacheScope":"public"`: true, `,"ttlMs":0,"cacheScope":"private"`: false, ``: false} {
		synctest.Test(t, func(t *testing.T) {
			h := &shop{version: "1", result: scope, slow: 5 * time.Second}
			s := lived(t, inIsolation("shared", "modern"), &notebook{}, h.start)
			modernPost(s, "alice", "tools/list", "")
			h.kill()
			synctest.Wait()
			for who, fast := range map[string]bool{"alice": true, "bob": want} {
				start := time.Now()
				modernPost(s, who, "tools/list", "")
				if got := time.Since(start) == 0; got != fast {
					t.Errorf("scope %q: %s was answered from the catalogue: %v", scope, who, got)
				}
				synctest.Wait()
				time.Sleep(2 * time.Minute) // until the worker behind has started
				h.kill()
				synctest.Wait()
				if !want {
					break
				}
			}
			s.stop(t)
			time.Sleep(time.Minute)
		})
	}
}

// TestCatalogueCold: at once and whole while the worker starts, then the truth,
// and the clients are told when it is another.
func TestCatalogueCold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &shop{version: "1", slow: 5 * time.Second, pages: 3}
		n := &notebook{}
		s := lived(t, inIsolation("user", "legacy"), n, h.start)
		if got := modernPost(s, "alice", "tools/list", ""); !strings.Contains(got, `nextCursor`) {
			t.Errorf("warm, the worker's own first page: %s", got)
		}
		modernPost(s, "alice", "prompts/list", "")
		synctest.Wait()
		s.stop(t)

		h.set(func() { h.suffix = "+" })
		s = lived(t, inIsolation("user", "legacy"), n, h.start)
		_, session := open(s, "alice")
		stream := watching(t, s, "alice", session)
		others := watching(t, s, "bob", openWith(s, "bob", "{}"))
		before, start := h.started.Load(), time.Now()
		got := modernPost(s, "alice", "tools/list", "")
		if time.Since(start) != 0 || !strings.Contains(got, `"tools":[{"name":"tool-alice-0"`) || !strings.Contains(got, "tool-alice-2") || strings.Contains(got, "nextCursor") {
			t.Errorf("cold, after %v: %s", time.Since(start), got)
		}
		if !strings.Contains(got, `"resultType":"complete","ttlMs":0,"cacheScope":"private","_meta":{"`+metaServer+`":{"name":"shop"`) {
			t.Errorf("not a modern result: %s", got)
		}
		list := sessionPost(s, "alice", session, `{"jsonrpc":"2.0","id":"a","method":"prompts/list","params":{"_meta":{"progressToken":1}}}`)
		if want := `{"jsonrpc":"2.0","id":"a","result":{"prompts":[{"name":"prompt-alice-0","uri":"x:alice","inputSchema":{"type":"object","properties":{"r":{"type":"string","x-mcp-header":"Region"}}}}]}}`; list != want {
			t.Errorf("cold, in a session: %s", list)
		}
		synctest.Wait()
		if n := h.started.Load() - before; n != 1 {
			t.Errorf("%d workers were started behind two answers", n)
		}
		if got := stream(); strings.Contains(got, "list_changed") {
			t.Errorf("told too early: %s", got)
		}
		time.Sleep(time.Minute)
		for _, kind := range []string{"tools", "prompts"} {
			if n := strings.Count(stream(), "notifications/"+kind+"/list_changed"); n != 1 {
				t.Errorf("%s: told %d times of the change: %s", kind, n, stream())
			}
		}
		if got := others(); strings.Contains(got, "list_changed") {
			t.Errorf("another person was told: %s", got)
		}
		h.kill()
		synctest.Wait()
		if got := modernPost(s, "alice", "tools/list", ""); !strings.Contains(got, "tool-alice+-2") {
			t.Errorf("not refreshed: %s", got)
		}
		s.stop(t)
		time.Sleep(time.Minute) // the worker that was starting
	})
}

// watching opens a session's own stream and returns what it has said so far.
func watching(t *testing.T, s *Server, who, session string) func() string {
	r := httptest.NewRequest("GET", "/mcp", nil).WithContext(t.Context())
	r.Header.Set("X-User", who)
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Mcp-Session-Id", session)
	c := &client{header: map[string][]string{}}
	go s.ServeHTTP(c, r) // ends with the server
	synctest.Wait()
	return func() string {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.body.String()
	}
}

// TestCatalogueInvalid: what a change was announced of, what another version
// listed, what was asked for in another way, and what is too old is not given.
func TestCatalogueInvalid(t *testing.T) {
	for name, tc := range map[string]struct {
		params string
		do     func(h *shop, s *Server)
		cold   bool
	}{
		"nothing": {"", func(*shop, *Server) {}, true},
		"announced": {"", func(h *shop, _ *Server) {
			h.say("alice", `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
		}, false},
		"another list": {"", func(h *shop, _ *Server) {
			h.say("alice", `{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}`)
		}, true},
		"a cursor":      {`"cursor":"0"`, func(*shop, *Server) {}, false},
		"another param": {`"filter":"x"`, func(*shop, *Server) {}, false},
		"version": {"", func(h *shop, s *Server) {
			h.set(func() { h.version = "2" })
			modernPost(s, "bob", "tools/list", "")
		}, false},
		"forgotten": {"", func(h *shop, s *Server) { h.kill(); synctest.Wait(); s.Forget("alice") }, false},
		"age":       {"", func(*shop, *Server) { time.Sleep(memoryAge + time.Hour) }, false},
	} {
		for _, restart := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				h := &shop{version: "1", slow: time.Second}
				n := &notebook{}
				s := lived(t, inIsolation("user", "legacy"), n, h.start)
				modernPost(s, "alice", "tools/list", "")
				tc.do(h, s)
				synctest.Wait()
				h.kill()
				synctest.Wait()
				if restart {
					s.stop(t)
					s = lived(t, inIsolation("user", "legacy"), n, h.start)
				}
				start := time.Now()
				modernPost(s, "alice", "tools/list", tc.params)
				if got := time.Since(start) == 0; got != tc.cold {
					t.Errorf("%s (restart %v): answered from the catalogue: %v", name, restart, got)
				}
				s.stop(t)
				time.Sleep(time.Minute) // a worker that was starting
			})
		}
	}
}

// TestCatalogueMirrors: a client that was given the list needs no second
// reading of it for the headers of its calls.
func TestCatalogueMirrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &shop{version: "1"}
		s := lived(t, inIsolation("user", "legacy"), &notebook{}, h.start)
		modernPost(s, "alice", "tools/list", "")
		calls := s.Stats().Calls
		c := s.running("alice")
		next := c.calls.unheard()
		r := httptest.NewRequest("POST", "/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"tool-alice-0","arguments":{"r":"eu"},"_meta":{"`+metaVersion+`":"`+modernVersion+`","`+metaCaps+`":{}}}}`))
		for k, v := range map[string]string{"X-User": "alice", "Mcp-Protocol-Version": modernVersion, "Mcp-Method": "tools/call", "Mcp-Name": "tool-alice-0", "Mcp-Param-Region": "us"} {
			r.Header.Set(k, v)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != 400 || !strings.Contains(w.Body.String(), "Mcp-Param-Region") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if n := c.calls.unheard(); n != next+1 || s.Stats().Calls != calls {
			t.Errorf("the worker was asked %d times for what was known", n-next-1)
		}
		s.stop(t)
	})
}

// TestCatalogueBounds: the number of shelves and their bytes are bounded, and
// a list that is too large is left out.
func TestCatalogueBounds(t *testing.T) {
	var c catalogue
	always := func() bool { return true }
	for i := range 2 * maxShelves {
		c.put(fmt.Sprint(i), toolListing, &stocked{items: make([]byte, 1<<20)}, always)
	}
	if len(c.shelves) > maxShelves || c.size > maxStock {
		t.Errorf("%d shelves, %d bytes", len(c.shelves), c.size)
	}
	if got, _ := c.look(fmt.Sprint(2*maxShelves-1), toolListing); got == nil {
		t.Error("the newest made room")
	}
	for name := range c.shelves {
		c.drop(name, listTools)
	}
	if c.size != 0 {
		t.Errorf("%d bytes are left of nothing", c.size)
	}
}
