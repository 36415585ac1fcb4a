package bridge

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
)

// TestExtensions: a server of the older generations is told at its start of its client's extensions, for what it lists
// may depend on them (as with MCP Apps), and clients with other ones have other workers.
func TestExtensions(t *testing.T) {
	const (
		caps  = `{"extensions":{"example.com/ui":{"mimeTypes":["text/html"]},` + "\n" + `"` + taskExtension + `":{}},"roots":{}}`
		told  = `{"roots":{"listChanged":true},"extensions":{"example.com/ui":{"mimeTypes":["text/html"]}}}`
		other = `{"extensions":{"example.com/ui":{}}}`
		list  = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	)
	synctest.Test(t, func(t *testing.T) {
		h, n := &shop{version: "1"}, &notebook{}
		s := lived(t, inIsolation("user", "legacy"), n, h.start)
		seen := map[string]string{}
		for who, caps := range map[string]string{"alice": caps, "bob": other, "carol": `{}`} {
			seen[who] = sessionPost(s, who, openWith(s, who, caps), list)
		}
		if one := sessionPost(s, "alice", openWith(s, "alice", other), list); one == seen["alice"] {
			t.Errorf("a client with other extensions was given the same list: %s", one)
		}
		r := httptest.NewRequest("POST", "/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"`+
			metaVersion+`":"`+modernVersion+`","`+metaCaps+`":`+caps+`}}}`))
		r.Header.Set("X-User", "alice")
		r.Header.Set("Mcp-Protocol-Version", modernVersion)
		r.Header.Set("Mcp-Method", "tools/list")
		s.ServeHTTP(httptest.NewRecorder(), r)

		got := map[string]string{}
		for key, c := range h.told {
			p, who := splitKey(key)
			got[who+" "+p.extensions] = c
			if strings.Contains(p.extensions, "\n") {
				t.Errorf("a line breaks in %q", p.extensions)
			}
		}
		for who, want := range map[string]string{
			"alice " + told[len(`{"roots":{"listChanged":true},"extensions":{`):len(told)-2]: told,
			`alice "example.com/ui":{}`: `{"extensions":{"example.com/ui":{}}}`,
			`bob "example.com/ui":{}`:   `{"extensions":{"example.com/ui":{}}}`,
			"carol ":                    `{}`,
		} {
			if got[who] != want {
				t.Errorf("the worker of %s was told %s, want %s", who, got[who], want)
			}
		}
		if h.started.Load() != 4 {
			t.Errorf("%d workers were started, want 4: %v", h.started.Load(), got)
		}
		s.Forget("alice")
		for name := range s.catalogue.shelves {
			if p, who := splitKey(name); who == "alice" && p.extensions != "" && s.catalogue.shelves[name].lists[toolListing] != nil {
				t.Errorf("%q is kept of somebody who was forgotten", name)
			}
		}
		s.stop(t)
	})
	synctest.Test(t, func(t *testing.T) {
		h := &shop{version: "1"}
		s := lived(t, inIsolation("shared", "legacy"), &notebook{}, h.start)
		sessionPost(s, "alice", openWith(s, "alice", caps), list)
		if got := h.told[""]; got != `{}` {
			t.Errorf("the worker of everyone was told %s", got)
		}
		s.stop(t)
	})
}
