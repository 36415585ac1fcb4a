package bridge

import (
	"io"
	"iter"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

type endedMap map[[16]byte]time.Time

func (m endedMap) Add(id [16]byte, until time.Time) error { m[id] = until; return nil }
func (m endedMap) All() iter.Seq2[[16]byte, time.Time]    { return maps.All(m) }

// A session goes on in the next life of the daemon, unless its client has ended it.
func TestEndedSessionStaysEnded(t *testing.T) {
	kept := endedMap{}
	life := func() *Server {
		s := testServer(t, DefaultConfig(), nil, func(key string) io.ReadWriteCloser { return pipeTo(mirror(key, false)) })
		o := s.o
		o.Ended = kept
		fresh, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		o.Workers.(*fleet).s = fresh
		t.Cleanup(func() { _ = fresh.Close(t.Context()) })
		return fresh
	}
	do := func(s *Server, method, id, body string) *http.Response {
		r := httptest.NewRequest(method, "/mcp", strings.NewReader(body))
		if id != "" {
			r.Header.Set("Mcp-Session-Id", id)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Result()
	}
	const initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`
	const ping = `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	first := life()
	stays := do(first, "POST", "", initialize).Header.Get("Mcp-Session-Id")
	ends := do(first, "POST", "", initialize).Header.Get("Mcp-Session-Id")
	if got := do(first, "DELETE", ends, "").StatusCode; got != http.StatusNoContent {
		t.Fatalf("DELETE: %d", got)
	}
	for _, s := range []*Server{first, life()} {
		if got := do(s, "POST", ends, ping).StatusCode; got != http.StatusNotFound {
			t.Errorf("an ended session: %d", got)
		}
		if got := do(s, "POST", stays, ping).StatusCode; got != http.StatusOK {
			t.Errorf("an open session: %d", got)
		}
	}
}
