package bridge

import (
	"context"
	"net/http"
)

// The legacy front: MCP 2025-11-25, 2025-06-18 and 2025-03-26, Streamable HTTP
// with sessions. The session is in the id; what needs a reachable client asks
// it over the response of the call in question.

// legacyFront is the session's side of one exchange.
type legacyFront struct {
	x       *exchange
	session session
	open    []*question // asked and not yet answered
}

// session opens the request's session and makes the call.
func (x *exchange) session(version string) {
	if f := x.acceptable(); f != nil {
		x.refuse(f)
		return
	}
	if f := x.openSession(version); f != nil {
		x.refuse(f)
		return
	}
	x.sessionCall(x.r.Context())
}

// openSession checks version and session of any message but initialize.
func (x *exchange) openSession(version string) *fault {
	if version != "" && !legacyVersion(version) {
		return &fault{http.StatusBadRequest, codeInvalidRequest, "unsupported MCP-Protocol-Version", nil}
	}
	ids := x.r.Header["Mcp-Session-Id"]
	if len(ids) > 1 {
		return &fault{http.StatusBadRequest, codeInvalidRequest, "the Mcp-Session-Id header is there more than once", nil}
	}
	if len(ids) == 0 {
		return &fault{http.StatusBadRequest, codeInvalidRequest, "the Mcp-Session-Id header is missing; initialize first", nil}
	}
	v := &x.legacy.session
	if x.s.openSession(ids[0], x.call.Principal, v) != nil {
		return &fault{http.StatusNotFound, codeInvalidRequest, "no such session; initialize again", nil}
	}
	x.legacy.x = x
	x.call.Client = v.client()
	return nil
}

// client is who opened the session.
func (v *session) client() Client {
	return Client{Version: v.version, Name: v.name, Info: v.info, Caps: v.caps, asks: v.asks, extensions: v.extensions, session: v.id, opened: v.created}
}

// sessionCall answers one request of an open session.
func (x *exchange) sessionCall(ctx context.Context) {
	if x.call.method.name == "" {
		if f := x.unknown(); f != nil {
			x.refuse(f)
			return
		}
	}
	if f := x.permitted(ctx); f != nil {
		x.refuse(f)
		return
	}
	m := x.call.method
	switch {
	case m.era&inLegacy == 0:
		x.refuse(&fault{http.StatusOK, codeNoMethod, "no such method: " + string(text(x.env.method.of(x.call.body))), nil})
	case m.name == "initialize" && x.channel != nil:
		x.initialize()
	case m.name == "initialize":
		x.refuse(&fault{http.StatusOK, codeInvalidRequest, "initialize cannot be part of a session or batch", nil})
	case m.name == "ping":
		x.result(nothing)
	case m.name == "logging/setLevel":
		x.setLevel(ctx)
	case m.name == "resources/subscribe":
		x.subscribe(ctx)
	case m.name == "resources/unsubscribe":
		x.unsubscribe()
	default:
		if m.task || m.name == "tasks/list" {
			if f := x.taskMethod(); f != nil {
				x.refuse(f)
				return
			}
		}
		if x.cold() {
			return
		}
		x.front = &x.legacy
		x.call.Logs = x.s.live.enter(x.legacy.session.id, x)
		r := x.legacy.converse(ctx)
		x.s.live.leave(x.legacy.session.id, x)
		x.legacy.settle()
		x.finishLegacy(&r)
		r.free()
	}
}

// result answers with a result of the bridge's own.
func (x *exchange) result(raw []byte) {
	var p pieces
	p.add(responseHead)
	p.add(x.id)
	p.add(resultHead)
	p.add(raw)
	p.add(closing)
	x.finalPieces(http.StatusOK, &p)
}

// finishLegacy words the reply for a session's client.
func (x *exchange) finishLegacy(r *Reply) {
	switch {
	case r.gone:
		// A cancelled request gets no answer (MCP 2025-11-25, cancellation).
		if x.streaming {
			x.endStream()
		} else if !x.gone {
			x.plain(http.StatusAccepted)
		}
	case r.fault != nil:
		x.refuse(r.fault)
	case r.frame.env.kind == kindError:
		b, e := r.frame.line.b, &r.frame.env
		code, to := string(e.fCode.of(b)), ""
		if r.conn.modern.Load() && (code == "-32021" || code == "-32022" || code == "-32020") {
			to = "-32603" // codes older clients do not know
		}
		if code == "-32042" && x.legacy.session.version < "2025-11-25" {
			to = "-32603" // nor do these know of addresses to open
		}
		x.rec.Code = number(code)
		var p pieces
		x.errorPieces(&p, b, e, to)
		x.finalPieces(http.StatusOK, &p)
	default:
		x.legacyResult(r)
	}
}

// legacyResult passes a result on without resultType, which strict clients of
// these revisions do not expect.
func (x *exchange) legacyResult(r *Reply) {
	b, e := r.frame.line.b, &r.frame.env
	x.rec.Failed = e.failed
	var p pieces
	p.add(responseHead)
	p.add(x.id)
	p.add(resultHead)
	if e.rType.ok() {
		cut := e.rType.cut(b)
		p.add(b[e.result.s:cut.s])
		p.add(b[cut.e:e.result.e])
	} else {
		p.add(e.result.of(b))
	}
	p.add(closing)
	x.finalPieces(http.StatusOK, &p)
}

// cut is the member with the one comma that goes with it.
func (m member) cut(b []byte) span {
	p := span{m.key, m.value.e}
	i := p.e
	for b[i] == ' ' || b[i] == '\t' {
		i++
	}
	if b[i] == ',' {
		p.e = i + 1
		return p
	}
	i = p.s - 1
	for b[i] == ' ' || b[i] == '\t' {
		i--
	}
	if b[i] == ',' {
		p.s = i
	}
	return p
}

// setLevel keeps the session's log level. The worker is told before the next
// call, whichever worker that is.
func (x *exchange) setLevel(ctx context.Context) {
	l := levelOf(text(x.env.level.of(x.call.body)))
	if l == 0 {
		x.refuse(&fault{http.StatusOK, codeParams, "no such log level", nil})
		return
	}
	id, err := x.s.identity(ctx, x.call.profile(x.s), x.call.Principal)
	if err != nil {
		x.refuse(refusal(err))
		return
	}
	if id.has&hasLogging == 0 || !x.s.private() {
		x.refuse(&fault{http.StatusOK, codeNoMethod, "this server does not offer logging", nil})
		return
	}
	x.s.live.setLevel(x.legacy.session.id, l)
	x.result(nothing)
}

// subscribe watches a resource for the session, on a worker held for it.
func (x *exchange) subscribe(ctx context.Context) {
	uri := string(text(x.env.uri.of(x.call.body)))
	if uri == "" {
		x.refuse(&fault{http.StatusOK, codeParams, "params.uri is missing", nil})
		return
	}
	who := &x.legacy.session
	ctx, cancel := context.WithTimeout(ctx, x.s.o.Config.Limits.Call)
	defer cancel()
	s, err := x.s.holdOne(ctx, x.call.profile(x.s), x.call.Principal, uri)
	if err != nil {
		x.refuse(refusal(err))
		return
	}
	if old, ok := x.s.live.keep(who.id, s); !ok {
		s.release()
		x.refuse(internal("too many subscriptions in this session"))
		return
	} else if old != nil {
		end(old)
	}
	x.s.watch.interested(who.id, uri, true)
	x.s.napSoon()
	x.result(nothing)
}

func (x *exchange) unsubscribe() {
	uri := string(text(x.env.uri.of(x.call.body)))
	x.s.watch.interested(x.legacy.session.id, uri, false)
	if s := x.s.live.take(x.legacy.session.id, uri); s != nil {
		s.release()
	}
	x.result(nothing)
}

// sessionNotification takes a notification; those that concern one call or the
// session act, the others are accepted.
func (x *exchange) sessionNotification(version string) {
	if f := x.openSession(version); f != nil {
		x.refuse(f)
		return
	}
	x.notified()
	x.plain(http.StatusAccepted)
}

func (x *exchange) notified() {
	b, e := x.call.body, &x.env
	switch string(text(e.method.of(b))) {
	case "notifications/cancelled":
		if e.request.ok() {
			reason := memberOf(b, e.params, "reason")
			x.s.live.abort(x.legacy.session.id, e.request.of(b), string(text(reason.of(b))))
		}
	case "notifications/roots/list_changed":
		// Only a worker that was told of roots, and that runs: none is started for it.
		if p := x.call.profile(x.s); p.asks&askRoots != 0 {
			if c := x.s.running(p.keyOf(x.call.Principal)); c != nil && c.asked&askRoots != 0 {
				c.post([]byte(`{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}` + "\n"))
			}
		}
	}
}

// get opens the session's own stream: announcements and what belongs to no call. Where it cannot be detached it stays for
// hours on the request's goroutine, so what only the beginning needs is in functions that have returned by then: half of the
// stack is saved.
func (x *exchange) get() {
	if !x.mayStream() {
		return
	}
	if last := x.r.Header.Get("Last-Event-Id"); last != "" && x.primed() && x.resume(last) {
		return
	}
	w, reader := x.newWatcher()
	switch {
	case w == nil: // and answered
	case reader != nil:
		x.detach(func() { x.own(w, reader) }) // the watcher stays until the track is forgotten
	default:
		x.detach(func() { x.tell(w) })
	}
}

// mayStream says whether there is a session that can have a stream here. Otherwise it has answered.
func (x *exchange) mayStream() bool {
	x.accept()
	x.json = true
	if !x.events {
		x.refuse(&fault{http.StatusNotAcceptable, codeInvalidRequest, "a stream is text/event-stream", nil})
		return false
	}
	if len(x.r.Header["Mcp-Session-Id"]) == 0 {
		// Not 400: clients of 2024-11-05 and probes ask like this, and take 405
		// for "no stream here" (MCP 2025-11-25, transports).
		x.w.Header().Set("Allow", "POST, GET, DELETE")
		x.plain(http.StatusMethodNotAllowed)
		return false
	}
	if f := x.openSession(x.r.Header.Get("Mcp-Protocol-Version")); f != nil {
		x.refuse(f)
		return false
	}
	return true
}

// newWatcher has the session told of what happens, by the reader if there is one. Where it cannot it has answered and returns nil.
func (x *exchange) newWatcher() (*watcher, *reader) {
	id, able := x.legacy.session.id, x.legacy.session.asks
	x.s.awake(id)
	s := x.s // the watcher may outlive the exchange
	w := &watcher{
		who: x.call.Principal, id: id, lists: listTools | listPrompts | listResources,
		asks:  func() asks { return able },
		level: func() level { return max(s.live.level(id), 1) },
		uris:  s.live.uris(id),
		over:  make(chan struct{}),
	}
	reader := x.stand(w)
	if err := s.watch.add(w); err != nil {
		s.replays.forget(w.track)
		status := http.StatusTooManyRequests
		if err == errOneStream {
			status = http.StatusConflict
		}
		x.refuse(&fault{status, codeInvalidRequest, err.Error(), nil})
		return nil, nil
	}
	return w, reader
}

// tell writes a stream that cannot be resumed.
func (x *exchange) tell(w *watcher) {
	defer x.s.watch.remove(w)
	x.rec.Status = http.StatusOK
	x.stream()
	x.push(comment)
	x.follow(x.r.Context(), w, w.over, x.announced)
	x.endStream()
}

// announced tells a session.
func (x *exchange) announced(a announcement) {
	p := a.words()
	x.event(&p)
}

// delete ends a session: its id is no session from now on.
func (x *exchange) delete() {
	x.json = true
	if f := x.openSession(x.r.Header.Get("Mcp-Protocol-Version")); f != nil {
		x.refuse(f)
		return
	}
	v := &x.legacy.session
	x.s.deny(v)
	x.s.live.end(v.id)
	x.s.replays.drop(v.id)
	x.s.watch.end(v.id)
	x.s.releaseOwn(&x.call)
	x.plain(http.StatusNoContent)
}
