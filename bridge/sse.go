package bridge

import (
	"context"
	"encoding/hex"
	"net/http"
)

// The front of HTTP+SSE, the transport of MCP 2024-11-05. A session is one event
// stream, which begins with the address for what the client says. Everything the
// server says comes over the stream, whatever it belongs to; the rest is as in
// any other session.

var (
	errNoChannel   = &fault{http.StatusNotFound, codeInvalidRequest, "no such session; open its stream anew", nil}
	errChannelBusy = &fault{http.StatusTooManyRequests, codeInternal, "too many calls at once in this session", []byte(`{"retryAfter":1}`)}
)

// channelStream answers GET /sse. A POST gets 405: clients of later revisions
// that were given this URL try that first, and then know what it is (MCP
// 2025-03-26, transports: backwards compatibility).
func (x *exchange) channelStream() {
	x.rec.Method = x.r.Method
	if x.r.Method != http.MethodGet {
		x.w.Header().Set("Allow", "GET")
		x.plain(http.StatusMethodNotAllowed)
		return
	}
	x.accept()
	x.json = true
	if !x.events {
		x.refuse(&fault{http.StatusNotAcceptable, codeInvalidRequest, "a stream is text/event-stream", nil})
		return
	}
	ctx, end := context.WithCancel(x.r.Context())
	defer end()
	c := &channel{
		ResponseWriter: x.w, s: x.s, id: newSID(), who: x.call.Principal,
		r: x.r.WithContext(ctx), end: end, turn: make(chan struct{}, 1),
	}
	// Until it says initialize it is a client of the oldest revision that can be
	// asked nothing. So may remain who was cut off: EventSource connects again by
	// itself, and its client goes on without a word. What it had is lost (own.go).
	c.session = session{id: c.id, version: oldestLegacy, who: c.who}
	w := &watcher{
		who: c.who, id: c.id, lists: listTools | listPrompts | listResources,
		asks:  func() asks { return c.now().asks },
		level: func() level { return max(x.s.live.level(c.id), 1) },
	}
	if err := x.s.watch.add(w); err != nil {
		x.refuse(&fault{http.StatusTooManyRequests, codeInvalidRequest, err.Error(), nil})
		return
	}
	defer x.s.watch.remove(w)
	x.s.channels.add(c)
	x.rec.Status = http.StatusOK
	x.w = c
	x.stream()
	x.push([]byte("event: endpoint\ndata: " + x.s.o.Prefix + "/messages?sessionId=" + hex.EncodeToString(c.id[:]) + "\n\n"))
	x.follow(ctx, w, nil, func(a announcement) {
		if c.greeted.Load() { // else it has no list yet that could have changed
			x.announced(a)
		}
	})
	x.channelEnd(c)
}

// channelEnd ends a session with its stream.
func (x *exchange) channelEnd(c *channel) {
	x.s.channels.remove(c)
	if x.gone {
		c.end()
	}
	c.finish()
	v := c.now()
	x.call.Client = v.client()
	x.s.live.end(c.id)
	x.s.releaseOwn(&x.call)
}

// channelMessage takes what a client says, by POST to /messages. What is wrong
// with the message itself is answered here, everything else over the stream.
func (x *exchange) channelMessage() {
	x.json = true
	if x.r.Method != http.MethodPost {
		x.rec.Method = x.r.Method
		x.w.Header().Set("Allow", "POST")
		x.plain(http.StatusMethodNotAllowed)
		return
	}
	c := x.s.channels.find(x.r.URL.Query().Get("sessionId"), x.call.Principal)
	if c == nil {
		x.refuse(errNoChannel)
		return
	}
	f := x.read()
	if f == nil {
		f = x.scan()
	}
	if f == nil && x.env.mVersion.ok() {
		f = &fault{http.StatusBadRequest, codeInvalidRequest, "not a message of this protocol version", nil}
	}
	if f == nil {
		f = x.heard(c)
	}
	if f != nil {
		x.refuse(f)
		return
	}
	x.plain(http.StatusAccepted)
}

// heard gives a message to its session.
func (x *exchange) heard(c *channel) *fault {
	v, b, e := c.now(), x.body.b, &x.env
	x.legacy = legacyFront{x: x, session: v}
	x.call.Client = v.client()
	switch e.kind {
	case kindRequest:
		x.call.method = methodOf(text(e.method.of(b)))
		if x.call.method.name != "initialize" {
			c.greeted.Store(true)
		}
		y := x.fork(c, c.r, b)
		y.channel, y.events, y.streaming = c, true, true
		if f := c.begin(y); f != nil {
			y.free()
			return f
		}
	case kindNotification:
		c.greeted.Store(true)
		x.rec.Method = string(text(e.method.of(b)))
		x.notified()
	default:
		x.rec.Method = "response"
		x.respond()
	}
	return nil
}
