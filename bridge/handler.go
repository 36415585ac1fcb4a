package bridge

import (
	"net/http"
	"strings"
	"time"
)

// ServeHTTP serves the MCP endpoint at /mcp: POST for both generations, GET
// and DELETE for sessions. With Config.SSE it also serves /sse and /messages.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	serve := s.entry(r.URL.Path)
	if serve == nil {
		http.NotFound(w, r)
		return
	}
	start := time.Now()
	if r.Method == http.MethodPost && s.o.Neighbours.beside(s.member, start) {
		defer s.lanes.leave(s.lanes.enter(r.Context()))
	}
	x := s.exchange(w, r)
	x.start, x.call.Principal = start, s.o.Principal(r)
	if s.enter() {
		s.inside(x, serve)
		if x.detached {
			return
		}
	} else {
		x.rec.Method = r.Method
		x.json = true
		if r.Method == http.MethodPost && x.read() == nil && !isArray(x.body.b) {
			_ = x.scan() // for the id: also this answer names its request
		}
		x.refuse(errStopping)
	}
	x.end()
}

// inside serves a request that is counted. A panic counts it out, too: a server that closes would wait for it.
func (s *Server) inside(x *exchange, serve func(*exchange)) {
	defer func() {
		if !x.detached {
			s.leave()
		}
	}()
	serve(x)
}

// end has x observed; nobody may know it any more.
func (x *exchange) end() {
	if x.s.o.Observe != nil {
		x.observe()
	}
	x.free()
}

// entry is who serves a path, nil if nobody does.
func (s *Server) entry(path string) func(*exchange) {
	switch {
	case path == "/mcp":
		return (*exchange).serve
	case path == "/sse" && s.o.Config.SSE:
		return (*exchange).channelStream
	case path == "/messages" && s.o.Config.SSE:
		return (*exchange).channelMessage
	}
	return nil
}

func (x *exchange) serve() {
	switch x.r.Method {
	case http.MethodPost:
		x.post()
	case http.MethodGet:
		x.rec.Method = "GET"
		x.get()
	case http.MethodDelete:
		x.rec.Method = "DELETE"
		x.delete()
	default:
		x.rec.Method = x.r.Method
		x.w.Header().Set("Allow", "POST, GET, DELETE")
		x.plain(http.StatusMethodNotAllowed)
	}
}

func (x *exchange) observe() {
	rec := x.rec
	rec.Context = x.r.Context()
	rec.Principal = x.call.Principal
	rec.Version = x.call.Client.Version
	rec.Ended = time.Now()
	rec.Duration = rec.Ended.Sub(x.start)
	if rec.Method == "" {
		rec.Method = x.call.method.name
	}
	if x.call.method.tool {
		rec.Tool = string(text(x.env.name.of(x.bodyBytes())))
	}
	rec.Client = x.call.Client.Name
	x.s.o.Observe(rec)
}

// nameOf is what a client calls itself, "" if it does not say.
func nameOf(info []byte) string {
	if p := memberOf(info, span{0, len(info)}, "name"); p.isStr(info) {
		return string(text(p.of(info)))
	}
	return ""
}

func (x *exchange) bodyBytes() []byte {
	if x.body == nil {
		return nil
	}
	return x.body.b
}

// post reads the message and finds its front (MCP 2026-07-28, transports:
// backward compatibility). The body decides: neither a header nor a session id
// makes a legacy message modern.
func (x *exchange) post() {
	x.accept()
	if f := x.read(); f != nil {
		x.refuse(f)
		return
	}
	if isArray(x.body.b) {
		x.rec.Method = "batch"
		x.batch()
		return
	}
	if f := x.scan(); f != nil {
		x.refuse(f)
		return
	}
	x.message()
}

// scan reads the body as one message.
func (x *exchange) scan() *fault {
	b, e := x.body.b, &x.env
	err := e.scan(b)
	if e.id.ok() {
		x.id = e.id.of(b)
	}
	if err == errSyntax {
		x.id = nil
		return &fault{400, codeParse, "the body is not valid JSON", nil}
	}
	if err != nil {
		return &fault{400, codeInvalidRequest, "the body is not one JSON-RPC message: " + err.Error(), nil}
	}
	x.call.body, x.call.env = b, e
	return nil
}

func (x *exchange) message() {
	b, e := x.body.b, &x.env
	version := x.r.Header.Get("Mcp-Protocol-Version")
	switch e.kind {
	case kindRequest:
		x.call.method = methodOf(text(e.method.of(b)))
		x.call.Progress = e.progress.of(b)
		if !e.progress.ok() {
			x.call.Progress = nil
		}
		switch {
		case x.call.method.name == "initialize" && !x.wellFormedModern():
			x.initialize()
		case e.mVersion.ok() || modernHeader(version):
			x.modern(version)
		default:
			x.session(version)
		}
	case kindNotification:
		x.rec.Method = string(text(e.method.of(b)))
		if e.mVersion.ok() || modernHeader(version) {
			x.plain(http.StatusAccepted) // none is defined over HTTP; accepted and ignored
			return
		}
		x.sessionNotification(version)
	default:
		x.rec.Method = "response"
		x.sessionResponse(version)
	}
}

// wellFormedModern reports whether _meta is complete: only then can initialize
// be anything but a legacy handshake.
func (x *exchange) wellFormedModern() bool {
	e := &x.env
	return e.mVersion.ok() && string(text(e.mVersion.value.of(x.body.b))) >= modernVersion && e.mCaps.value.isObj(x.body.b)
}

// read takes the body. A body of another type is not ours to parse; browsers
// cannot send this one without asking first.
func (x *exchange) read() *fault {
	if ct := x.r.Header.Get("Content-Type"); ct != "" && !isJSON(ct) {
		return &fault{http.StatusUnsupportedMediaType, codeInvalidRequest, "the body must be application/json", nil}
	}
	if x.body, x.kept = x.kept, nil; x.body == nil {
		x.body = x.s.bufs.get()
	}
	x.body.b = x.body.b[:0]
	switch err := x.body.fill(x.r.Body, x.r.ContentLength, x.s.o.Config.Limits.Body); err {
	case nil:
		return nil
	case errTooLarge:
		x.w.Header().Set("Connection", "close")
		return &fault{http.StatusRequestEntityTooLarge, codeInvalidRequest, "the body is too large", nil}
	default:
		return &fault{http.StatusBadRequest, codeParse, "the body could not be read", nil}
	}
}

func isJSON(ct string) bool {
	if ct == "application/json" {
		return true
	}
	kind, _, _ := strings.Cut(ct, ";")
	return strings.EqualFold(strings.TrimSpace(kind), "application/json")
}

// accept notes what the client can read; one that says nothing can read both.
func (x *exchange) accept() {
	all := x.r.Header["Accept"]
	if len(all) == 0 {
		x.json, x.events = true, true
		return
	}
	if len(all) == 1 && all[0] == "application/json, text/event-stream" { // as the specification words it
		x.json, x.events = true, true
		return
	}
	for _, v := range all {
		x.json = x.json || strings.Contains(v, "application/json") || strings.Contains(v, "*/*") || strings.Contains(v, "application/*")
		x.events = x.events || strings.Contains(v, "text/event-stream") || strings.Contains(v, "*/*") || strings.Contains(v, "text/*")
	}
}

// acceptable refuses a client that reads neither form of answer.
func (x *exchange) acceptable() *fault {
	if x.json || x.events {
		return nil
	}
	x.json = true
	return &fault{http.StatusNotAcceptable, codeInvalidRequest, "answers are application/json or text/event-stream", nil}
}

func isArray(b []byte) bool {
	for _, c := range b {
		switch c {
		case ' ', '\t', '\n', '\r':
			continue
		case '[':
			return true
		}
		return false
	}
	return false
}
