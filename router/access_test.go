package router

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestRecord(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "mcp.example")
	var late context.Context
	table, err := NewTable([]Route{{Name: "a", Host: "a.mcp.example", Resource: urlA,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			late = r.Context()
			ctx, cancel := context.WithTimeout(r.Context(), time.Hour)
			defer cancel()
			h.Note(ctx, Facts{RPCMethod: "tools/call", Tool: "echo"})
			h.Note(ctx, Facts{RPCStatus: "ok"})
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, "12345")
		})}})
	if err != nil {
		t.Fatal(err)
	}
	h.Swap(table)
	h.ask("POST", urlA+"?token=secret", "Authorization: Bearer good-a", "X-Request-Id: forged")
	a := h.last(t)
	if a.Duration < 0 || a.Time.IsZero() || a.RequestID == "" || a.RequestID == "forged" || a.Addr == "" {
		t.Errorf("%+v", a)
	}
	a.Time, a.Duration, a.RequestID, a.Addr = time.Time{}, 0, "", ""
	want := AccessRecord{Host: "a.mcp.example", Server: "a", Principal: "usr_1", User: "alice", Client: "inspector", Method: "POST",
		Path: "/mcp", Status: 202, Bytes: 5, Facts: Facts{RPCMethod: "tools/call", Tool: "echo", RPCStatus: "ok"}}
	if a != want {
		t.Errorf("got  %+v\nwant %+v", a, want)
	}
	h.Note(late, Facts{Tool: "too late"})
	h.Note(context.Background(), Facts{Tool: "nobody's"})
	if who, ok := PrincipalOf(late); !ok || who.Name != "alice" {
		t.Error("a context that outlives its request lost its principal")
	}
	if _, ok := PrincipalOf(context.Background()); ok {
		t.Error("a principal out of nothing")
	}
}

func TestRecordOfStrangers(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "mcp.example")
	h.ask("GET", "https://evil.example/"+strings.Repeat("x", 5000))
	if a := h.last(t); a.Status != 421 || a.Host != "evil.example" || a.Server != "" || len(a.Path) != 256 {
		t.Errorf("%+v", a)
	}
	h.ask("POST", urlA)
	if a := h.last(t); a.Status != 401 || a.Principal != "" || a.Server != "a" {
		t.Errorf("%+v", a)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	table, err := NewTable([]Route{{Host: "a.mcp.example", Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}})
	if err != nil {
		t.Fatal(err)
	}
	h.Swap(table)
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "https://a.mcp.example/", nil).WithContext(gone))
	if a := h.last(t); a.Status != statusGone {
		t.Errorf("a client that left is recorded as %d", a.Status)
	}
	h.ask("GET", "https://a.mcp.example/")
	if a := h.last(t); a.Status != 200 {
		t.Errorf("a silent handler is recorded as %d", a.Status)
	}
}

func TestLogAccess(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.InfoLevel)
	LogAccess(zap.New(core))(&AccessRecord{Host: "h", Method: "GET", Path: "/p", Status: 200, Facts: Facts{Tool: "echo"}})
	all := logs.All()
	if len(all) != 1 || all[0].Message != "request" {
		t.Fatalf("%v", all)
	}
	m := all[0].ContextMap()
	if m["tool"] != "echo" || m["status"] != int64(200) || m["path"] != "/p" {
		t.Errorf("%v", m)
	}
	if _, ok := m["principal"]; ok {
		t.Error("an empty field is logged")
	}
}

func TestWriterIsStillAWriter(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "mcp.example")
	table, err := NewTable([]Route{{Host: "127.0.0.1", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		if err := c.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusEarlyHints)
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		} else {
			t.Error("no Flusher")
		}
		if err := c.Flush(); err != nil {
			t.Error(err)
		}
		_, _ = io.Copy(w, strings.NewReader("abc"))
	})}})
	if err != nil {
		t.Fatal(err)
	}
	h.Swap(table)
	srv := httptest.NewServer(h)
	res, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	if text(t, res) != "abc" {
		t.Error("wrong body")
	}
	srv.Close() // waits for the handler, so the record is there
	if a := h.last(t); a.Status != 200 || a.Bytes != 3 {
		t.Errorf("%+v", a)
	}
}
