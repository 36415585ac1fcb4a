package bridge

import (
	"net/http"
	"time"
)

// stream turns the response into an event stream. The headers go out at once.
func (x *exchange) stream() {
	if x.streaming {
		return
	}
	x.streaming = true
	h := x.w.Header()
	h["Content-Type"] = []string{"text/event-stream"}
	h["Cache-Control"] = []string{"no-cache, no-transform"}
	h["X-Accel-Buffering"] = []string{"no"} // nginx would hold events back
	x.w.WriteHeader(http.StatusOK)
	x.prime()
}

var (
	eventHead = []byte("event: message\ndata: ")
	eventTail = []byte("\n\n")
	comment   = []byte(": keep-alive\n\n")
)

// event writes one message to the stream, at once.
func (x *exchange) event(p *pieces) {
	if x.track != nil {
		x.record(p)
		return
	}
	out := x.s.bufs.get()
	out.b = append(out.b, eventHead...)
	out.b = p.join(out.b)
	out.b = append(out.b, eventTail...)
	x.push(out.b)
	x.s.bufs.put(out)
}

// push writes and flushes under a deadline of its own: the stream may live for
// hours, a reader that takes nothing may not.
func (x *exchange) push(b []byte) {
	if x.gone {
		return
	}
	rc := http.NewResponseController(x.w)
	_ = rc.SetWriteDeadline(time.Now().Add(x.s.writeTimeout))
	if _, err := x.w.Write(b); err != nil {
		x.lose()
		return
	}
	if err := rc.Flush(); err != nil {
		x.lose()
	}
}

// endStream lifts the deadline: the connection serves other requests next.
func (x *exchange) endStream() {
	x.finishTrack()
	_ = http.NewResponseController(x.w).SetWriteDeadline(time.Time{})
}

// note passes a notification on; the first one makes the response a stream.
func (x *exchange) note(f *frame, call *Call) {
	if (x.gone && x.track == nil) || !x.events || x.collect != nil {
		return
	}
	out := x.s.bufs.get()
	defer x.s.bufs.put(out)
	switch {
	case call.Modern && string(text(f.env.method.of(f.line.b))) == "notifications/elicitation/complete":
		return // no such thing any more: the client asks by calling again
	case !f.env.token.ok():
		out.b = append(out.b, f.line.b...)
	case call.Progress == nil:
		return // progress nobody asked for
	default:
		out.b = f.progressOf(out.b, call.Progress)
	}
	var p pieces
	p.add(out.b)
	x.stream()
	x.event(&p)
}

// keepAlive keeps proxies from closing a silent response. A client that takes
// no stream waits in silence; a stream of many calls is kept by itself.
func (x *exchange) keepAlive() {
	if x.gone || !x.events || x.collect != nil || x.channel != nil {
		return
	}
	fresh := !x.streaming
	x.stream()
	if !fresh || x.track == nil { // a priming event is sign enough
		x.push(comment)
	}
}
