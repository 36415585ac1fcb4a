package bridge

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A session's own worker ends with the session, and a restart of the daemon is a loss that is said once.
func TestOwnWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.Isolation, cfg.Era = "session", "legacy"
		life := func() *Server {
			s := testServer(t, cfg, nil, func(key string) io.ReadWriteCloser { return pipeTo(mirror(key, false)) })
			t.Cleanup(func() { _ = s.Close(t.Context()) })
			return s
		}
		do := func(s *Server, method, id, body string) (*http.Response, string) {
			r := httptest.NewRequest(method, "/mcp", strings.NewReader(body))
			if id != "" {
				r.Header.Set("Mcp-Session-Id", id)
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			return w.Result(), w.Body.String()
		}
		const initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`
		const list = `{"jsonrpc":"2.0","id":1,"method":"prompts/list"}`
		first := life()
		res, _ := do(first, "POST", "", initialize)
		id := res.Header.Get("Mcp-Session-Id")
		var workers []*Conn
		first.mu.Lock()
		for c := range first.conns {
			workers = append(workers, c)
		}
		first.mu.Unlock()
		if len(workers) != 1 {
			t.Fatalf("%d workers after initialize, want the session's own", len(workers))
		}
		time.Sleep(2 * time.Second)
		second := life()
		for i, lost := range []bool{true, false, false} {
			c, release, err := second.acquire(t.Context(), sessionProfile(t, second, id), "")
			if (err == errLostState) != lost || (err != nil && !lost) {
				t.Errorf("call %d after a restart: %v", i, err)
			}
			if err == nil {
				release()
				_ = c
			}
		}
		if res, body := do(first, "DELETE", id, ""); res.StatusCode != http.StatusNoContent {
			t.Fatal(res.Status, body)
		}
		<-workers[0].Done()
		if res, _ := do(first, "POST", id, list); res.StatusCode != http.StatusNotFound {
			t.Error(res.Status)
		}
	})
}

func sessionProfile(t *testing.T, s *Server, id string) profile {
	t.Helper()
	var v session
	if err := s.openSession(id, "", &v); err != nil {
		t.Fatal(err)
	}
	return s.ownWorker(profile{}, &Client{session: v.id, opened: v.created})
}

// What is remembered is bounded, and what falls out of it is not taken for new.
func TestOwnersAreBounded(t *testing.T) {
	var o owners
	old := newSID()
	if o.lost(old, 100, 1) {
		t.Error("the first worker of a session is no loss")
	}
	for i := range maxOwners + 10 {
		o.lost(newSID(), 200, uint64(i)+2)
	}
	if len(o.at) > maxOwners || len(o.order) > maxOwners {
		t.Errorf("%d sessions are remembered", len(o.at))
	}
	if !o.lost(old, 100, 99999) {
		t.Error("a forgotten session seems to go on")
	}
}
