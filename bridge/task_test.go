package bridge

import (
	"context"
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

// bureau is a server with tasks of both designs, numbered from one by every worker.
type bureau struct {
	mu     sync.Mutex
	status string
	heard  []string
	conns  []net.Conn
}

func (u *bureau) start(key string) io.ReadWriteCloser {
	return pipeTo(func(c net.Conn) {
		made := 0
		u.mu.Lock()
		u.conns = append(u.conns, c)
		u.mu.Unlock()
		eachLine(c, func(line []byte) {
			var e envelope
			if e.scan(line) != nil || e.kind != kindRequest {
				return
			}
			m, id := string(text(e.method.of(line))), string(text(e.task.of(line)))
			u.mu.Lock()
			u.heard = append(u.heard, m+" "+id)
			status := u.status
			u.mu.Unlock()
			var out string
			switch m {
			case "server/discover":
				out = `{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{},"tasks":{},"extensions":{"` + taskExtension + `":{},"x/y":{}}},"_meta":{"` + metaServer + `":{"name":"u","version":"1"}}}`
			case "initialize":
				out = `{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"tasks":{"list":{},"requests":{"tools":{"call":{}}}}},"serverInfo":{"name":"u","version":"1"}}`
			case "tools/list":
				out = `{"tools":[]}`
			case "tools/call":
				state := `"taskId":"%d","status":"working","createdAt":"2026-01-01T00:00:00Z","lastUpdatedAt":"2026-01-01T00:00:00Z"`
				switch {
				case e.mVersion.ok() && string(text(e.name.of(line))) == "slow":
					made++
					out = fmt.Sprintf(`{"resultType":"task",`+state+`,"ttlMs":60000}`, made)
				case e.asTask.ok():
					made++
					out = fmt.Sprintf(`{"task":{`+state+`,"ttl":60000}}`, made)
				default:
					out = `{"content":[]}`
				}
			case "tasks/get", "tasks/cancel":
				out = `{"taskId":"` + id + `","status":"` + status + `","for":` + string(quote(nil, key)) + `}`
			default:
				out = `{"answered":"` + m + `","for":` + string(quote(nil, key)) + `}`
			}
			_, _ = io.WriteString(c, `{"jsonrpc":"2.0","id":`+string(e.id.of(line))+`,"result":`+out+"}\n")
		})
	})
}

func (u *bureau) set(status string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.status = status
}

func (u *bureau) said() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return strings.Join(u.heard, ", ")
}

// lender is Workers that knows how many are lent.
type lender struct {
	Workers
	lent atomic.Int32
}

func (w *lender) Acquire(ctx context.Context, key string) (*Conn, func(), error) {
	c, release, err := w.Workers.Acquire(ctx, key)
	if err != nil {
		return c, release, err
	}
	w.lent.Add(1)
	var once sync.Once
	return c, func() { release(); once.Do(func() { w.lent.Add(-1) }) }, nil
}

func office(t *testing.T, isolation, era string) (*bureau, *Server, *lender) {
	u := &bureau{status: "working"}
	s := lived(t, inIsolation(isolation, era), &notebook{}, u.start)
	w := &lender{Workers: s.o.Workers}
	s.o.Workers = w
	return u, s, w
}

// TestLegacyTasks: MCP 2025-11-25, tasks. A task belongs to its person and its
// worker, which is not given back before the task has ended and its time is over.
func TestLegacyTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, s, w := office(t, "user", "legacy")
		hello, alice := open(s, "alice")
		if !strings.Contains(hello, `"tasks":{"list"`) {
			t.Errorf("not published: %s", hello)
		}
		if got := modernPost(s, "alice", "server/discover", ""); strings.Contains(got, `"tasks"`) {
			t.Errorf("published to a modern client: %s", got)
		}
		_, bob := open(s, "bob")
		about := func(who, session, method, id string) string {
			return sessionPost(s, who, session, `{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":{"taskId":"`+id+`"}}`)
		}
		if got := sessionPost(s, "alice", alice, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","task":{"ttl":60000},"arguments":{}}}`); !strings.Contains(got, `"taskId":"1"`) {
			t.Fatal(got)
		}
		for _, tc := range [][4]string{
			{"alice", "tasks/get", "1", `"for":"alice"`}, {"alice", "tasks/result", "1", `"for":"alice"`}, {"alice", "tasks/list", "", `"for":"alice"`},
			{"alice", "tasks/get", "2", "-32602"}, {"bob", "tasks/get", "1", "-32602"}, {"bob", "tasks/cancel", "1", "-32602"},
			{"bob", "tasks/result", "1", "-32602"}, {"bob", "tasks/list", "", `"for":"bob"`}, {"alice", "tasks/update", "1", "-32601"},
		} {
			session := alice
			if tc[0] == "bob" {
				session = bob
			}
			if tc[1] == "tasks/result" && tc[0] == "alice" {
				continue // below
			}
			if got := about(tc[0], session, tc[1], tc[2]); !strings.Contains(got, tc[3]) {
				t.Errorf("%v: %s", tc, got)
			}
		}
		if got := modernPost(s, "alice", "tasks/get", `"taskId":"1"`); !strings.Contains(got, "-32020") {
			t.Errorf("a modern client without Mcp-Name: %s", got)
		}
		time.Sleep(2 * time.Hour)
		if n := w.lent.Load(); n != 1 {
			t.Errorf("%d workers are lent while a task goes on", n)
		}
		u.set("completed")
		about("alice", alice, "tasks/get", "1")
		time.Sleep(2 * time.Second) // its time was over already
		if n := w.lent.Load(); n != 0 {
			t.Errorf("%d workers are lent after the task has ended", n)
		}
		if got := about("alice", alice, "tasks/get", "1"); !strings.Contains(got, "-32602") {
			t.Errorf("after its time: %s", got)
		}

		sessionPost(s, "alice", alice, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","task":{}}}`)
		if got := about("alice", alice, "tasks/result", "2"); !strings.Contains(got, `"answered":"tasks/result"`) {
			t.Error(got)
		}
		sessionPost(s, "alice", alice, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","task":{}}}`)
		u.mu.Lock()
		for _, c := range u.conns {
			c.Close()
		}
		u.mu.Unlock()
		synctest.Wait()
		if got := about("alice", alice, "tasks/get", "3"); !strings.Contains(got, "-32602") {
			t.Errorf("after the worker's end: %s", got)
		}
		s.stop(t)
		if n := w.lent.Load(); n != 0 {
			t.Errorf("%d workers are lent after Close", n)
		}
	})
}

// TestNoTasks: where a task could be nobody's, none is asked for.
func TestNoTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range [][2]string{{"shared", "legacy"}, {"user", "modern"}} {
			_, s, _ := office(t, tc[0], tc[1])
			hello, session := open(s, "alice")
			if strings.Contains(hello, "tasks") {
				t.Errorf("%v: published: %s", tc, hello)
			}
			if got := sessionPost(s, "alice", session, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","task":{},"arguments":{}}}`); !strings.Contains(got, `"content":[]`) {
				t.Errorf("%v: %s", tc, got)
			}
			if got := sessionPost(s, "alice", session, `{"jsonrpc":"2.0","id":1,"method":"tasks/list"}`); !strings.Contains(got, "-32601") {
				t.Errorf("%v: %s", tc, got)
			}
			s.stop(t)
		}
		_, s, _ := office(t, "user", "legacy")
		if got, _ := modernCall(s, "alice", "tools/call", "x", `"name":"x","task":{}`, "{}"); !strings.Contains(got, `"content":[]`) {
			t.Errorf("a modern client's params.task: %s", got)
		}
		s.stop(t)
	})
}

const declared = `{"extensions":{"` + taskExtension + `":{}}}`

func modernCall(s *Server, who, method, name, params, caps string) (string, int) {
	r := httptest.NewRequest("POST", "/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":{`+params+
		`,"_meta":{"`+metaVersion+`":"`+modernVersion+`","`+metaCaps+`":`+caps+`}}}`))
	r.Header.Set("X-User", who)
	r.Header.Set("Mcp-Protocol-Version", modernVersion)
	r.Header.Set("Mcp-Method", method)
	r.Header.Set("Mcp-Name", name)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Body.String(), w.Code
}

// TestModernTasks: the extension, in both isolations: on a worker of everyone
// a task is still one person's.
func TestModernTasks(t *testing.T) {
	for _, isolation := range []string{"user", "shared"} {
		synctest.Test(t, func(t *testing.T) {
			u, s, w := office(t, isolation, "modern")
			if got := modernPost(s, "alice", "server/discover", ""); !strings.Contains(got, taskExtension) || strings.Contains(got, `"tasks":`) {
				t.Errorf("published: %s", got)
			}
			if got, code := modernCall(s, "alice", "tools/call", "slow", `"name":"slow"`, declared); code != 200 || !strings.Contains(got, `"resultType":"task","taskId":"1"`) && !strings.Contains(got, `"resultType":"task"`) {
				t.Fatalf("%d %s", code, got)
			}
			for _, tc := range []struct {
				who, method, name, id, caps string
				code                        int
				want                        string
			}{
				{"alice", "tasks/get", "1", "1", declared, 200, `"status":"working"`},
				{"alice", "tasks/update", "1", "1", declared, 200, `"answered":"tasks/update"`},
				{"alice", "tasks/get", "2", "1", declared, 400, "-32020"},
				{"alice", "tasks/get", "1", "1", "{}", 400, "-32021"},
				{"alice", "tasks/get", "9", "9", declared, 200, "-32602"},
				{"bob", "tasks/get", "1", "1", declared, 200, "-32602"},
				{"bob", "tasks/cancel", "1", "1", declared, 200, "-32602"},
				{"alice", "tasks/result", "1", "1", declared, 404, "-32601"},
				{"alice", "tasks/list", "1", "1", declared, 404, "-32601"},
			} {
				if got, code := modernCall(s, tc.who, tc.method, tc.name, `"taskId":"`+tc.id+`"`, tc.caps); code != tc.code || !strings.Contains(got, tc.want) {
					t.Errorf("%+v: %d %s", tc, code, got)
				}
			}
			if got, code := modernCall(s, "bob", "tools/call", "slow", `"name":"slow"`, "{}"); code != 400 || !strings.Contains(got, `-32021`) || strings.Contains(got, "taskId") {
				t.Errorf("a task for a client that did not declare the extension: %d %s", code, got)
			}
			synctest.Wait()
			if !strings.Contains(u.said(), "tasks/cancel") {
				t.Errorf("the task that nobody may have goes on: %s", u.said())
			}
			if n := w.lent.Load(); n != 1 {
				t.Errorf("%d workers are lent for one task", n)
			}
			s.stop(t)
			if n := w.lent.Load(); n != 0 {
				t.Errorf("%d workers are lent after Close", n)
			}
		})
	}
}

// TestTaskBounds: a person's tasks make room for that person's.
func TestTaskBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all tasks
		var freed atomic.Int32
		for i := range maxTasks + 10 {
			for _, who := range []string{"alice", fmt.Sprint("p", i)} {
				all.add(&task{id: taskID{who, false, fmt.Sprint(i)}, c: &Conn{}, free: func() { freed.Add(1) }, made: time.Now()})
			}
			time.Sleep(time.Second)
		}
		own := 0
		all.mu.Lock()
		for id := range all.m {
			if id.who == "alice" {
				own++
			}
		}
		if len(all.m) > maxTasks || own > maxOwnTasks {
			t.Errorf("%d tasks, %d of one person", len(all.m), own)
		}
		all.mu.Unlock()
		time.Sleep(taskLife + time.Minute)
		all.mu.Lock()
		if len(all.m) != 0 || freed.Load() != 2*(maxTasks+10) {
			t.Errorf("%d tasks are left, %d were let go", len(all.m), freed.Load())
		}
		all.mu.Unlock()
		all.close()
	})
}

// TestForeignMethods: in a session the worker answers for itself; from modern
// clients only a server with extensions is asked.
func TestForeignMethods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, legacy, _ := office(t, "user", "legacy")
		_, session := open(legacy, "alice")
		call := func(name string) string {
			return sessionPost(legacy, "alice", session, `{"jsonrpc":"2.0","id":1,"method":"`+name+`","params":{"a":1}}`)
		}
		if got := call("x/y"); got != `{"jsonrpc":"2.0","id":1,"result":{"answered":"x/y","for":"alice"}}` {
			t.Error(got)
		}
		for _, name := range []string{"server/discover", "subscriptions/listen", "", `a\nb`, "ü", strings.Repeat("m", 200)} {
			if got := call(name); !strings.Contains(got, "-32601") {
				t.Errorf("%q: %s", name, got)
			}
		}
		if got := modernPost(legacy, "alice", "x/y", ""); !strings.Contains(got, "-32601") {
			t.Errorf("from a modern client to an older server: %s", got)
		}
		legacy.stop(t)

		_, modern, _ := office(t, "user", "modern")
		modernPost(modern, "alice", "server/discover", "")
		if got := modernPost(modern, "alice", "x/y", ""); !strings.Contains(got, `"answered":"x/y"`) {
			t.Errorf("an extension's: %s", got)
		}
		for _, name := range []string{"ping", "logging/setLevel", "prompts/list"} {
			if got := modernPost(modern, "alice", name, ""); !strings.Contains(got, "-32601") {
				t.Errorf("%q: %s", name, got)
			}
		}
		modern.stop(t)
	})
}
