package bridge

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What is kept is bounded for a session, a person and the server, and never at the cost of another person.
func TestReplayIsBounded(t *testing.T) {
	h := &replays{age: time.Hour, gone: func(*watcher) {}}
	defer h.close()
	fill := func(v *session, streams, size int) (last *track) {
		for range streams {
			tr := newTrack(ofCall, v, []byte("1"))
			r := h.open(tr)
			if r == nil {
				t.Fatal("no room for a stream although others are at rest")
			}
			var p pieces
			p.add(bytes.Repeat([]byte("x"), size))
			h.add(tr, r, &p)
			h.end(tr, r)
			last = tr
		}
		return last
	}
	mine := fill(&session{id: newSID(), who: "alice"}, 1, 1000)
	for range 10 {
		fill(&session{id: newSID(), who: "bob"}, 20, 200<<10)
	}
	if got, _ := h.take(&session{id: mine.id, who: "alice"}, mine.name); got == nil {
		t.Error("one person's streams pushed out another's")
	}
	if p := h.people["bob"]; p.tracks > maxPersonTracks || p.bytes > maxPersonReplay {
		t.Errorf("a person keeps %+v", *p)
	}
	for id, s := range h.sessions {
		if s.tracks > maxSessionTracks || s.bytes > maxSessionReplay {
			t.Errorf("session %x keeps %+v", id, *s)
		}
	}
	for i := range 20 {
		fill(&session{id: newSID(), who: fmt.Sprint(i)}, 5, 300<<10)
	}
	if h.all.bytes > maxServerReplay || h.all.tracks > maxServerTracks {
		t.Errorf("the server keeps %+v", h.all)
	}
	sum := 0
	for _, tr := range h.tracks {
		sum += tr.size
	}
	if sum != h.all.bytes || len(h.tracks) != h.all.tracks {
		t.Errorf("%d bytes and %d streams are there, %+v are accounted for", sum, len(h.tracks), h.all)
	}
}

// An answer that cannot be kept is not silently missing.
func TestReplayOfTooMuch(t *testing.T) {
	h := &replays{age: time.Hour, gone: func(*watcher) {}}
	defer h.close()
	v := &session{id: newSID(), who: "alice"}
	tr := newTrack(ofCall, v, []byte("1"))
	r := h.open(tr)
	var p pieces
	p.add(make([]byte, maxSessionReplay+1))
	if b, mine := h.add(tr, r, &p); !mine || len(b) < maxSessionReplay {
		t.Error("the client at the other end does not get it")
	}
	h.end(tr, r)
	if b, _, over, torn := h.after(tr, 0); b != nil || !over || !torn {
		t.Errorf("%d bytes, over %v, torn %v", len(b), over, torn)
	}
}

// Sessions cost nothing by themselves, and an open stream little.
func TestSessionMemory(t *testing.T) {
	s := testServer(t, DefaultConfig(), func(r *http.Request) string { return r.Header.Get("X-User") }, func(key string) io.ReadWriteCloser { return pipeTo(mirror(key, false)) })
	defer s.Close(t.Context())
	web := httptest.NewServer(s)
	defer web.Close()
	open := func(who string) string {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":0,"method":"initialize",`+
			`"params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`))
		r.Header.Set("X-User", who)
		s.ServeHTTP(w, r)
		return w.Header().Get("Mcp-Session-Id")
	}
	open("")
	before := heap()
	for range 10_000 {
		open("")
	}
	idle := heap() - before
	t.Logf("10,000 idle sessions: %d bytes in all", idle)
	if idle > 2<<20 {
		t.Errorf("10,000 idle sessions take %d bytes", idle)
	}
	const streams = 500
	before = heap()
	first := make([]byte, 4096)
	for i := range streams {
		who := strconv.Itoa(i / maxStreams)
		c, err := net.Dial("tcp", strings.TrimPrefix(web.URL, "http://")) // a bare socket: only the server's side is measured
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "GET /mcp HTTP/1.1\r\nHost: localhost\r\nX-User: %s\r\nMcp-Session-Id: %s\r\n\r\n", who, open(who))
		if n, err := c.Read(first); err != nil || !strings.HasPrefix(string(first[:n]), "HTTP/1.1 200") {
			t.Fatalf("%v %s", err, first[:n])
		}
	}
	each := (heap() - before) / streams
	t.Logf("an open stream: %d bytes", each)
	if each > 48<<10 { // of which net/http has 20 KiB; the race detector adds its own
		t.Errorf("an open stream takes %d bytes", each)
	}
}

func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}
