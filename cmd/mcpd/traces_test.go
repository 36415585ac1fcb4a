package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/mcpd/mcpd/router"
)

// collector takes traces as an OTLP collector does.
type collector4318 struct {
	*httptest.Server
	mu     sync.Mutex
	spans  []otlpSpan
	asked  int
	status int
}

func newCollector4318(t *testing.T) *collector4318 {
	t.Helper()
	c := &collector4318{status: http.StatusOK}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var got struct {
			ResourceSpans []struct {
				Resource   struct{ Attributes []otlpAttr }
				ScopeSpans []struct{ Spans []otlpSpan }
			}
		}
		body, _ := io.ReadAll(r.Body)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.asked++
		if r.URL.Path != "/v1/traces" || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("X-Api-Key") != "k3y" || json.Unmarshal(body, &got) != nil {
			t.Errorf("%s %s %v: %s", r.Method, r.URL, r.Header, body)
		}
		if c.status == http.StatusOK {
			for _, rs := range got.ResourceSpans {
				if len(rs.Resource.Attributes) == 0 || rs.Resource.Attributes[0] != (otlpAttr{"service.name", otlpValue{Text: "mcpd"}}) {
					t.Errorf("resource: %+v", rs.Resource)
				}
				for _, ss := range rs.ScopeSpans {
					c.spans = append(c.spans, ss.Spans...)
				}
			}
		}
		w.WriteHeader(c.status)
	}))
	t.Cleanup(c.Close)
	return c
}

// A real daemon: a call goes on from its caller's trace, one that is not sampled leaves none, and the rest is sent at the end.
func TestTraces(t *testing.T) {
	t.Parallel()
	to := newCollector4318(t)
	d := startDaemon(t, "[admin]\ntraces = \""+to.URL+"\"\ntraces_headers = { x-api-key = \"k3y\" }\n[servers.demo]\ncommand = \"mcpd\"\nargs = [\"demo-server\"]\n")
	d.addUser()
	token := d.token("demo")
	const trace, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for flags, id := range map[string]string{"01": trace, "00": strings.Repeat("a", 32)} {
		req, err := http.NewRequest(http.MethodPost, d.url("demo"), strings.NewReader(
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"s3cret"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{
			"Authorization": "Bearer " + token, "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
			"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "echo", "Traceparent": "00-" + id + "-" + caller + "-" + flags,
		} {
			req.Header.Set(name, value)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", res.Status, body)
		}
	}
	d.stop()
	to.mu.Lock()
	defer to.mu.Unlock()
	var request, call *otlpSpan
	for i, s := range to.spans {
		if s.TraceID != trace {
			if s.TraceID == strings.Repeat("a", 32) {
				t.Errorf("a trace that is not sampled: %+v", s)
			}
			continue
		}
		if s.Kind == spanServer {
			request = &to.spans[i]
		} else {
			call = &to.spans[i]
		}
	}
	if request == nil || call == nil {
		t.Fatalf("spans: %+v", to.spans)
	}
	if request.Parent != caller || call.Parent != request.SpanID || call.Name != "tools/call echo" || call.Start < request.Start || call.End > request.End || call.Start >= call.End || call.Status.Code != 0 {
		t.Errorf("request: %+v\ncall: %+v", *request, *call)
	}
	if text, _ := json.Marshal(to.spans); strings.Contains(string(text), "s3cret") || strings.Contains(string(text), token) {
		t.Errorf("what was called with is in a trace: %s", text)
	}
}

// A collector that is slow or refuses costs spans, never a request.
func TestTracesThatAreLost(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.WarnLevel)
	to := newCollector4318(t)
	to.status = http.StatusServiceUnavailable
	tr := newTracer(AdminConfig{Traces: to.URL + "/", TracesHeaders: map[string]string{"x-api-key": "k3y"}}, zap.New(core))
	for range maxSpans + 10 {
		tr.record(&router.AccessRecord{Method: "GET", Host: "a.test", Status: 503, Time: time.Now()})
	}
	tr.record(&router.AccessRecord{Untraced: true})
	if len(tr.spans) != maxSpans {
		t.Errorf("%d wait", len(tr.spans))
	}
	if s := <-tr.spans; s.Name != "GET a.test" || len(s.TraceID) != 32 || len(s.SpanID) != 16 || s.Parent != "" || s.Status.Code != statusError {
		t.Errorf("%+v", s)
	}
	if err := tr.flush(t.Context()); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("flush: %v", err)
	}
	to.mu.Lock()
	to.status = http.StatusOK
	to.mu.Unlock()
	if err := tr.flush(t.Context()); err != nil || len(tr.spans) > 0 || len(to.spans) != maxSpans-1-spansAtOnce || to.asked != maxSpans/spansAtOnce {
		t.Errorf("flush: %v; %d wait, %d came in %d requests", err, len(tr.spans), len(to.spans), to.asked)
	}
	to.Close()
	tr.record(&router.AccessRecord{Method: "GET"})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if tr.run(ended); logs.FilterMessage("traces are lost").Len() != 1 {
		t.Errorf("the log has %v", logs.All())
	}
	for addr, fine := range map[string]bool{"": true, "http://localhost:4318": true, "https://x.test/v1/traces": true, "localhost:4318": false, "ftp://x": false, "https://me:pass@x.test": false, "http://x/?key=1": false} {
		if got := checkTraces(addr); (got == "") != fine {
			t.Errorf("%q: %q", addr, got)
		}
	}
	if newTracer(AdminConfig{}, nil) != nil {
		t.Error("a tracer without an address")
	}
}
