package router

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// exchange is one request on its way: its context, its response writer, its body
// and its record, in one allocation. It is not pooled: a handler's goroutines may
// hold the context longer than the request lives, and must then find their own
// request, not the next one.
type exchange struct {
	context.Context
	http.ResponseWriter

	router    *Router
	number    uint64       // counts the Router's requests
	rec       AccessRecord // filled on the way; Status 0: nothing written yet
	idHeader  [1]string
	client    client
	principal *Principal // nil until the gate let it through
	held      Principal  // what principal points to
	metadata  string     // URL of the document that the gate's challenges name
	url       url.URL    // the request's, where its path was rewritten
	body      io.ReadCloser
	late      *time.Timer           // cuts body off; nil in HTTP/1, where a deadline does, and without such a limit
	conn      *lazyConn             // nil where the Listener is not ours
	alone     bool                  // it answers nothing else meanwhile: HTTP/1
	guest     *guest                // set behind the gate; nil where nothing is limited
	chunks    bool                  // the client understands an answer in chunks
	serve     func(context.Context) // writes the answer when the handler has returned; see Detach

	next, previous *exchange // in listed; guarded by its mutex
	listed         *ring     // nil: not behind the gate
	hungUp         bool      // by HangUp; guarded likewise

	mu    sync.Mutex // guards rec.Facts and ended: Note may come from any goroutine
	ended bool
}

type exchangeKey struct{}

// exchangeOf returns nil where ctx does not come from this package.
func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// begin notes what is known of a request before anything is decided. Field by field: a record on the stack, in a function
// that a stream's goroutine stays in for hours, would double the stack of each.
func (x *exchange) begin(req *http.Request) {
	rec := &x.rec
	rec.Time, rec.RequestID, rec.Addr = time.Now(), x.router.requestID(x.number), req.RemoteAddr
	rec.Host, rec.Method, rec.Path = clip(req.Host), clip(req.Method), clip(req.URL.Path)
	rec.Trace, rec.Parent, rec.Untraced = traceparent(req.Header["Traceparent"])
	x.idHeader[0] = rec.RequestID
	x.chunks, x.alone = req.ProtoAtLeast(1, 1), req.ProtoMajor == 1
	x.conn = connOf(x.Context)
}

// rewrite has those behind see another path. RawPath goes too: what was decided on is
// the decoded path, and nobody may decide on another.
func (x *exchange) rewrite(req *http.Request, path string) {
	if req.URL != &x.url {
		x.url = *req.URL
		req.URL = &x.url
	}
	x.url.Path, x.url.RawPath = path, ""
}

// Value makes the exchange findable in the contexts derived from it.
func (x *exchange) Value(key any) any {
	if _, ok := key.(exchangeKey); ok {
		return x
	}
	return x.Context.Value(key)
}

// WriteHeader notes the final status; 1xx are not final.
func (x *exchange) WriteHeader(status int) {
	if x.rec.Status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		x.rec.Status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

func (x *exchange) Write(p []byte) (int, error) {
	if x.rec.Status == 0 {
		x.rec.Status = http.StatusOK
	}
	n, err := x.ResponseWriter.Write(p)
	x.rec.Bytes += int64(n)
	return n, err
}

// Flush serves those who still look for an http.Flusher; http.ResponseController
// comes through FlushError and Unwrap.
func (x *exchange) Flush() { _ = x.FlushError() } // the next Write reports what is wrong

// FlushError flushes what was written so far to the client.
func (x *exchange) FlushError() error {
	if x.rec.Status == 0 {
		x.rec.Status = http.StatusOK
	}
	return http.NewResponseController(x.ResponseWriter).Flush()
}

// Unwrap lets http.ResponseController reach deadlines and full duplex.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// Read reads the request's body. The limit on it ends with it: afterwards the
// connection is watched for the client's departure only.
func (x *exchange) Read(p []byte) (int, error) {
	n, err := x.body.Read(p)
	x.guest.expect(n)
	if err == io.EOF && x.late != nil && !x.late.Stop() {
		_ = http.NewResponseController(x.ResponseWriter).SetReadDeadline(time.Time{}) // it was cut in the same moment; best effort
	}
	return n, err
}

// Close closes the request's body.
func (x *exchange) Close() error { return x.body.Close() }

// limitBody gives the client a deadline for sending its body, so that one byte a
// minute cannot hold a request forever. http.Server.ReadTimeout is no choice: it
// would also end every stream. In HTTP/1 net/http lifts a deadline when the body is
// read. In HTTP/2 a timer is cheaper than a deadline set and lifted: each of those
// wakes up the goroutine that the connection belongs to.
func (r *Router) limitBody(x *exchange, req *http.Request) {
	if req.Body == nil || req.Body == http.NoBody {
		return
	}
	switch by := x.rec.Time.Add(r.bodyTimeout); {
	case r.bodyTimeout <= 0:
	case x.alone:
		_ = http.NewResponseController(x.ResponseWriter).SetReadDeadline(by) // fails with a writer of a test only
	default:
		x.late = time.AfterFunc(time.Until(by), x.cutBody)
	}
	x.body, req.Body = req.Body, x
}

// cutBody ends the wait for a body that takes too long.
func (x *exchange) cutBody() {
	x.mu.Lock() // finish waits: the writer may be another request's afterwards
	defer x.mu.Unlock()
	if _, away := x.ResponseWriter.(*detached); !x.ended && !away {
		_ = http.NewResponseController(x.ResponseWriter).SetReadDeadline(time.Unix(1, 0)) // fails with a writer of a test only
	}
}

// leaveBody hands what was left of a body to net/http, which drains a little of it,
// with the time that the client still has. In HTTP/1 it has the deadline for that.
func (x *exchange) leaveBody() {
	if x.late != nil && x.late.Stop() {
		_ = http.NewResponseController(x.ResponseWriter).SetReadDeadline(x.rec.Time.Add(x.router.bodyTimeout)) // best effort
	}
}

// limitUnread is limitBody for a body that nobody will read: net/http drains a
// little of it after the answer, and would wait for it without end.
func (r *Router) limitUnread(x *exchange, req *http.Request) {
	if x.late != nil {
		x.late.Stop()
	}
	if req.ContentLength != 0 && req.Body != nil && req.Body != http.NoBody {
		_ = http.NewResponseController(x.ResponseWriter).SetReadDeadline(time.Now().Add(unreadTimeout)) // best effort
	}
}

// requestID is unique in and across runs; it is a name, not a secret.
func (r *Router) requestID(number uint64) string {
	var buf [24]byte
	b := append(buf[:0], r.run...)
	b = append(b, '-')
	return string(strconv.AppendUint(b, number, 36))
}
