package bridge

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// mirror is a worker that answers out of order, with progress, a log line and
// now and then a death. Every frame it writes names whom it is for.
func mirror(key string, shared bool) func(net.Conn) {
	return func(c net.Conn) {
		rng := rand.New(rand.NewPCG(1, uint64(len(key))))
		var mu sync.Mutex
		var late []string
		out := make(chan string, 4096)
		var wg sync.WaitGroup
		wg.Go(func() { // ends when out is closed
			for l := range out {
				_, _ = io.WriteString(c, l+"\n")
			}
		})
		calls := 0
		eachLine(c, func(line []byte) {
			var e envelope
			if e.scan(line) != nil || e.kind != kindRequest {
				return
			}
			id := string(e.id.of(line))
			m := string(text(e.method.of(line)))
			switch m {
			case "initialize":
				out <- `{"jsonrpc":"2.0","id":` + id + `,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"logging":{}},"serverInfo":{"name":"w","version":"1"}}}`
				return
			case "tools/list", "logging/setLevel":
				out <- `{"jsonrpc":"2.0","id":` + id + `,"result":{"tools":[]}}`
				return
			}
			calls++
			who := string(text(memberOf(line, e.args, "who").of(line)))
			if !shared && calls == 200 {
				c.Close()
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if e.progress.ok() {
				out <- `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":` + string(e.progress.of(line)) + `,"progress":1,"message":"for ` + who + `"}}`
			}
			out <- `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"for ` + strings.SplitN(who, "/", 2)[0] + `/"}}`
			late = append(late, `{"jsonrpc":"2.0","id":`+id+`,"result":{"content":[{"type":"text","text":"for `+who+`"}]}}`)
			for len(late) > 0 && rng.IntN(3) > 0 {
				i := rng.IntN(len(late))
				out <- late[i]
				late = append(late[:i], late[i+1:]...)
			}
			if len(late) > 1 { // nobody waits for ever
				out <- late[0]
				late = late[1:]
			}
			if calls%7 == 0 || len(late) == 1 {
				for _, l := range late {
					out <- l
				}
				late = nil
			}
		})
		close(out)
		wg.Wait()
	}
}

// TestCrosstalk: many people with equal ids and tokens; whatever arrives is
// theirs, and every call gets exactly one answer.
func TestCrosstalk(t *testing.T) {
	for _, isolation := range []string{"user", "shared"} {
		t.Run(isolation, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Isolation, cfg.Era = isolation, "legacy"
			shared := isolation == "shared"
			s := testServer(t, cfg, func(r *http.Request) string { return r.Header.Get("X-User") },
				func(key string) io.ReadWriteCloser { return pipeTo(mirror(key, shared)) })
			defer func() { _ = s.Close(t.Context()) }()
			var wg sync.WaitGroup
			for u := range 8 {
				for c := range 4 {
					wg.Go(func() { caller(t, s, fmt.Sprintf("u%d", u), c) })
				}
			}
			wg.Wait()
		})
	}
}

func caller(t *testing.T, s *Server, user string, c int) {
	modern := c%2 == 0
	session := ""
	post := func(body, method string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/mcp", strings.NewReader(body))
		r.Header.Set("X-User", user)
		r.Header.Set("Accept", "application/json, text/event-stream")
		if modern {
			r.Header.Set("Mcp-Protocol-Version", modernVersion)
			r.Header.Set("Mcp-Method", method)
			r.Header.Set("Mcp-Name", "echo")
		} else if session != "" {
			r.Header.Set("Mcp-Session-Id", session)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w
	}
	meta := ""
	if modern {
		meta = `,"` + metaVersion + `":"` + modernVersion + `","` + metaCaps + `":{},"` + metaLevel + `":"debug"`
	} else {
		w := post(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`, "")
		session = w.Header().Get("Mcp-Session-Id")
	}
	for i := range 40 {
		who := fmt.Sprintf("%s/%d/%d", user, c, i)
		w := post(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"who":"`+who+`"},"_meta":{"progressToken":"t"`+meta+`}}}`, "tools/call")
		body := w.Body.Bytes()
		if n := bytes.Count(body, []byte(`"id":1,`)); n != 1 {
			t.Errorf("%s: %d answers in %q", who, n, body)
		}
		if bytes.Contains(body, []byte(`"error":{`)) {
			continue // the worker died
		}
		for rest := body; ; {
			_, after, ok := bytes.Cut(rest, []byte(`for `))
			if !ok {
				break
			}
			rest = after
			to, _, _ := bytes.Cut(after, []byte(`"`))
			if got := string(to); got != who && got != user+"/" {
				t.Errorf("%s was told what was for %s", who, got)
			}
			if shared := !s.private(); shared && string(to) != who {
				t.Errorf("%s saw a log line on a shared worker", who)
			}
		}
	}
}
