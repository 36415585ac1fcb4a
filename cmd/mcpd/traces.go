package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/mcpd/mcpd/router"
)

// tracer sends to an OTLP collector how long requests took, and the calls in them: OTLP over HTTP, as JSON. A caller's
// traceparent is gone on from; one that says that it is not sampled makes no span. What a collector does not take is lost.
// That is all mcpd needs of OpenTelemetry, and a tenth of what its SDK would add to the program.
type tracer struct {
	url     string
	headers map[string]string
	log     *zap.Logger
	client  *http.Client
	spans   chan otlpSpan
}

// Bounds of what waits to be sent, and of one sending.
const (
	maxSpans    = 4096
	spansAtOnce = 512
	spansEvery  = 5 * time.Second
	spansLimit  = 10 * time.Second // for the collector to answer
	spansLast   = 2 * time.Second  // likewise, when mcpd ends
)

// newTracer is nil without an address.
func newTracer(c AdminConfig, log *zap.Logger) *tracer {
	if c.Traces == "" {
		return nil
	}
	u, _ := url.Parse(c.Traces) // checked with the configuration
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	return &tracer{url: u.String(), headers: c.TracesHeaders, log: log, spans: make(chan otlpSpan, maxSpans), client: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the headers are for this address
	}}
}

// checkTraces tells what is wrong with an address, "" if nothing is.
func checkTraces(addr string) string {
	if u, err := url.Parse(addr); addr != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "") {
		return `must be a URL such as "http://localhost:4318/v1/traces", or "" for none`
	}
	return ""
}

// The parts of OTLP's ExportTraceServiceRequest that are used, in its JSON form.
type (
	otlpSpan struct {
		TraceID    string     `json:"traceId"`
		SpanID     string     `json:"spanId"`
		Parent     string     `json:"parentSpanId,omitempty"`
		Name       string     `json:"name"`
		Kind       int        `json:"kind"`
		Start      string     `json:"startTimeUnixNano"`
		End        string     `json:"endTimeUnixNano"`
		Attributes []otlpAttr `json:"attributes"`
		Status     otlpStatus `json:"status"`
	}
	otlpAttr struct {
		Key   string    `json:"key"`
		Value otlpValue `json:"value"`
	}
	otlpValue struct {
		Text string `json:"stringValue,omitempty"`
		Int  string `json:"intValue,omitempty"`
	}
	otlpStatus struct {
		Code int `json:"code,omitempty"`
	}
)

// Values of SpanKind and StatusCode.
const (
	spanServer  = 2
	spanClient  = 3
	statusError = 2
)

// record makes the spans of a request: one of the request and, where there was a call, one of that. It does not wait.
func (t *tracer) record(a *router.AccessRecord) {
	if t == nil || a.Untraced {
		return
	}
	trace, span := a.Trace, spanID()
	if trace == "" {
		trace = spanID() + spanID()
	}
	request := otlpSpan{
		TraceID: trace, SpanID: span, Parent: a.Parent, Name: a.Method + " " + a.Host, Kind: spanServer, Start: nanos(a.Time), End: nanos(a.Time.Add(a.Duration)),
		Attributes: attributes("http.request.method", a.Method, "url.path", a.Path, "server.address", a.Host, "client.address", a.Addr,
			"mcpd.server", a.Server, "mcpd.request", a.RequestID, "enduser.id", a.Principal),
	}
	request.Attributes = append(request.Attributes, otlpAttr{"http.response.status_code", otlpValue{Int: strconv.Itoa(a.Status)}})
	if a.Status >= http.StatusInternalServerError {
		request.Status.Code = statusError
	}
	t.send(request)
	if a.RPCBegun.IsZero() {
		return
	}
	call := otlpSpan{
		TraceID: trace, SpanID: spanID(), Parent: span, Name: a.RPCMethod, Kind: spanClient, Start: nanos(a.RPCBegun), End: nanos(a.RPCBegun.Add(a.RPCTook)),
		Attributes: attributes("mcp.method.name", a.RPCMethod, "gen_ai.tool.name", a.Tool, "mcpd.server", a.Server, "mcpd.client", a.RPCClient),
	}
	if a.Tool != "" {
		call.Name += " " + a.Tool
	}
	if a.RPCStatus != "ok" {
		call.Status.Code = statusError
		call.Attributes = append(call.Attributes, attributes("rpc.response.status_code", a.RPCStatus)...)
	}
	t.send(call)
}

func (t *tracer) send(s otlpSpan) {
	select {
	case t.spans <- s:
	default: // the collector is too slow; calls are more important
	}
}

// attributes are those of the pairs that have a value.
func attributes(pairs ...string) (all []otlpAttr) {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			all = append(all, otlpAttr{pairs[i], otlpValue{Text: pairs[i+1]}})
		}
	}
	return all
}

func nanos(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }

// spanID need not be secret, only different.
func spanID() string { return fmt.Sprintf("%016x", rand.Uint64()|1) }

// run sends what has come every few seconds, until ctx ends, and then the rest.
func (t *tracer) run(ctx context.Context) {
	if t == nil {
		return
	}
	tick := time.NewTicker(spansEvery)
	defer tick.Stop()
	var told time.Time
	for done := false; !done; {
		limit := spansLimit
		select {
		case <-tick.C:
		case <-ctx.Done():
			done, limit = true, spansLast
		}
		sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		if err := t.flush(sending); err != nil && time.Since(told) > time.Minute {
			told = time.Now()
			t.log.Warn("traces are lost", zap.Error(err))
		}
		cancel()
	}
}

// flush sends all that waits.
func (t *tracer) flush(ctx context.Context) error {
	for len(t.spans) > 0 {
		batch := make([]otlpSpan, 0, spansAtOnce)
		for len(batch) < spansAtOnce && len(t.spans) > 0 {
			batch = append(batch, <-t.spans)
		}
		if err := t.export(ctx, batch); err != nil {
			return fmt.Errorf("cannot send traces: %w", err)
		}
	}
	return nil
}

func (t *tracer) export(ctx context.Context, batch []otlpSpan) error {
	type scope struct {
		Name string `json:"name"`
	}
	type scopeSpans struct {
		Scope scope      `json:"scope"`
		Spans []otlpSpan `json:"spans"`
	}
	type resourceSpans struct {
		Resource struct {
			Attributes []otlpAttr `json:"attributes"`
		} `json:"resource"`
		ScopeSpans []scopeSpans `json:"scopeSpans"`
	}
	one := resourceSpans{ScopeSpans: []scopeSpans{{scope{"mcpd"}, batch}}}
	one.Resource.Attributes = attributes("service.name", "mcpd", "service.version", readBuild().Version)
	body, err := json.Marshal(map[string][]resourceSpans{"resourceSpans": {one}})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	for name, value := range t.headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := t.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("the collector answers %s", res.Status)
	}
	return nil
}
