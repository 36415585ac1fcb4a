package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A client with a short patience never waits for a slow start: after a restart of mcpd, what a server
// is and what it lists is known before its first worker has started.
func TestColdAnswers(t *testing.T) {
	d := startDaemon(t, "[servers.lazy]\ncommand = \"peer\"\nargs = [\"-tag=lazy\", \"-delay=3s\"]\n")
	d.addUser()
	token := d.token("lazy")
	post := func(session, body string) (string, string, time.Duration) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.url("lazy"), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		if session != "" {
			r.Header.Set("Mcp-Session-Id", session)
		}
		start := time.Now()
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text), resp.Header.Get("Mcp-Session-Id"), time.Since(start)
	}
	const hello = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}`
	const list = `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`
	first, session, _ := post("", hello)
	tools, _, _ := post(session, list)
	if !strings.Contains(tools, `"name":"echo"`) {
		t.Fatalf("tools/list: %s", tools)
	}
	eventually(t, 10*time.Second, "both are on disk", func() (bool, string) {
		files, err := filepath.Glob(d.path("state/known/lazy/*"))
		return len(files) == 2, fmt.Sprint(files, err)
	})
	d.restart()
	if n := len(d.server("lazy").Workers); n != 0 {
		t.Fatalf("%d workers run before anybody asked", n)
	}
	again, fresh, helloTook := post("", hello)
	cold, _, listTook := post(fresh, list)
	if again != first || toolsIn(t, cold) != toolsIn(t, tools) {
		t.Errorf("after the restart:\n%s\n%s\nbefore it:\n%s\n%s", again, cold, first, tools)
	}
	t.Logf("initialize %v, tools/list %v, with a child that takes 3 s to start", helloTook, listTook)
	if helloTook > time.Second || listTook > time.Second {
		t.Errorf("a client waited for the child: initialize %v, tools/list %v", helloTook, listTook)
	}
	if old, _, _ := post(session, list); old != cold {
		t.Errorf("the session from before: %s", old)
	}
	eventually(t, 20*time.Second, "a worker was started behind the answer", func() (bool, string) {
		return len(d.pids("lazy")) == 1, ""
	})
	d.must("user", "remove", d.user)
	eventually(t, 10*time.Second, "what was known for the person is forgotten", func() (bool, string) {
		files, err := filepath.Glob(d.path("state/known/lazy/*"))
		return len(files) == 1, fmt.Sprint(files, err)
	})
}

// toolsIn is the array as the server wrote it.
func toolsIn(t *testing.T, answer string) string {
	t.Helper()
	var a struct {
		Result struct {
			Tools json.RawMessage `json:"tools"`
		} `json:"result"`
	}
	if err := json.Unmarshal([]byte(answer), &a); err != nil || len(a.Result.Tools) == 0 {
		t.Fatalf("not a list of tools: %s (%v)", answer, err)
	}
	return string(a.Result.Tools)
}
