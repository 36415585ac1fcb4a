package bridge

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestShows: a caller's list of tools has what they may call, from a worker page by page and from stock, to both generations of clients, and
// nobody else's list is any different for it. Other lists are whole.
func TestShows(t *testing.T) {
	for _, era := range []string{"legacy", "modern"} {
		synctest.Test(t, func(t *testing.T) {
			h := &shop{version: "1", pages: 3, result: `,"cacheScope":"public"`}
			n := &notebook{}
			var s *Server
			begin := func() {
				s = lived(t, inIsolation("shared", era), n, h.start)
				s.o.Shows = func(r *http.Request) func(Tool) bool {
					if r.Header.Get("X-User") != "limited" {
						return nil
					}
					return func(t Tool) bool { return strings.HasSuffix(t.Name, "-1") }
				}
			}
			begin()
			_, session := open(s, "limited")
			ask := map[string]func(who, method, params string) string{
				"modern": func(who, method, params string) string { return modernPost(s, who, method, params) },
				"legacy": func(who, method, params string) string {
					return sessionPost(s, who, session, `{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":{`+params+`}}`)
				},
			}
			has := func(what, list, tools, cursor string) {
				t.Helper()
				for _, name := range []string{"tool--0", "tool--1", "tool--2"} {
					if strings.Contains(list, name) != strings.Contains(tools, name) {
						t.Errorf("%s, %s: %s", era, what, list)
					}
				}
				if strings.Contains(list, "nextCursor") != (cursor != "") || cursor != "" && !strings.Contains(list, `"nextCursor":"`+cursor+`"`) || !strings.Contains(list, `"tools":[`) {
					t.Errorf("%s, %s: pages: %s", era, what, list)
				}
			}
			for name, list := range ask {
				has(name+", first page", list("limited", "tools/list", ""), "", "1")
				has(name+", second page", list("limited", "tools/list", `"cursor":"1"`), "tool--1", "2")
				has(name+", last page", list("limited", "tools/list", `"cursor":"2"`), "", "")
				if got := list("limited", "prompts/list", ""); !strings.Contains(got, "prompt--0") {
					t.Errorf("%s: prompts: %s", name, got)
				}
			}
			has("somebody else, first page", modernPost(s, "alice", "tools/list", ""), "tool--0", "1")
			synctest.Wait()
			time.Sleep(time.Minute)
			s.stop(t)

			begin() // with nothing but what the disk has
			has("cold, modern", modernPost(s, "limited", "tools/list", ""), "tool--1", "")
			synctest.Wait()
			time.Sleep(time.Minute)
			h.kill()
			synctest.Wait()
			has("cold, legacy", ask["legacy"]("limited", "tools/list", ""), "tool--1", "")
			synctest.Wait()
			time.Sleep(time.Minute)
			h.kill()
			synctest.Wait()
			has("cold, somebody else", modernPost(s, "alice", "tools/list", ""), "tool--0 tool--1 tool--2", "")
			synctest.Wait()
			s.stop(t)
		})
	}
}

// TestToolAt reads what a tool says of itself, however it says it.
func TestToolAt(t *testing.T) {
	for text, want := range map[string]Tool{
		`{"name":"a","annotations":{"readOnlyHint":true}}`:   {"a", true},
		`{"annotations":{"readOnlyHint":"true"},"name":"a"}`: {"a", false},
		`{"name":"a\u0062"}`:                 {"ab", false},
		`{"name":7,"annotations":null}`:      {"", false},
		`"name"`:                             {},
		`{"name":"a","annotations":{"x":1}}`: {"a", false},
	} {
		if got := toolAt([]byte(text), span{0, len(text)}); got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
}
