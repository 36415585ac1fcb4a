package router

import (
	"context"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// AccessRecord is what is kept of a request: no query, no header, no body.
type AccessRecord struct {
	Time      time.Time     // when it came
	Host      string        // normalised; as sent where it is not ours
	Server    string        // name of the server, "" where none was asked
	Principal string        // id of who called, "" for nobody
	User      string        // and the name
	Client    string        // program that called, as its token or its handshake says
	Method    string        // HTTP method
	Path      string        // as sent, cut at 256 bytes
	Status    int           // HTTP status; 499 when the client left before the answer
	Bytes     int64         // of the answer's body
	Duration  time.Duration // until the last byte
	RequestID string        // as in the X-Request-Id of the answer
	Addr      string        // of the client with port; the port is 0 where a trusted proxy told the address
	Trace     string        // trace id of a valid traceparent header,
	Parent    string        // its span id,
	Untraced  bool          // and that it says not to be sampled
	Facts
}

// Facts are what only the handler knows. They come by Note.
type Facts struct {
	RPCMethod string // "tools/call"
	Tool      string // name of the tool, prompt or resource
	RPCStatus string // "ok", or what went wrong in a word or a code
	RPCClient string // name and version the client gave of itself
	RPCBegun  time.Time
	RPCTook   time.Duration
}

// statusGone is nginx's number for a client that closed the connection first.
const statusGone = 499

// Note adds facts to the record of the request that ctx belongs to; empty fields
// leave what is there. It may be called from any goroutine, and does nothing once
// the request has ended or where ctx is of another origin.
func (r *Router) Note(ctx context.Context, f Facts) {
	x := exchangeOf(ctx)
	if x == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended {
		return
	}
	keep(&x.rec.Facts.RPCMethod, f.RPCMethod)
	keep(&x.rec.Facts.Tool, f.Tool)
	keep(&x.rec.Facts.RPCStatus, f.RPCStatus)
	keep(&x.rec.Facts.RPCClient, f.RPCClient)
	if !f.RPCBegun.IsZero() {
		x.rec.Facts.RPCBegun, x.rec.Facts.RPCTook = f.RPCBegun, f.RPCTook
	}
}

// LogAccess returns an Options.Access that writes each record as one info line.
func LogAccess(log *zap.Logger) func(*AccessRecord) {
	core := log.Core()
	return func(a *AccessRecord) {
		if !core.Enabled(zap.InfoLevel) {
			return
		}
		// The record knows its time; a Logger would ask the clock once more.
		e := zapcore.Entry{Level: zap.InfoLevel, Time: a.Time.Add(a.Duration), LoggerName: log.Name(), Message: "request"}
		_ = core.Write(e, []zapcore.Field{zap.Inline(a)}) // a Logger could not do more about it than complain on stderr
	}
}

// MarshalLogObject writes the record without an allocation per field, for this
// is done for every call. What is empty is left out.
func (a *AccessRecord) MarshalLogObject(e zapcore.ObjectEncoder) error {
	e.AddString("method", a.Method)
	e.AddString("host", a.Host)
	e.AddString("path", a.Path)
	e.AddInt64("status", int64(a.Status))
	e.AddInt64("bytes", a.Bytes)
	e.AddDuration("duration", a.Duration)
	e.AddString("addr", a.Addr)
	e.AddString("request", a.RequestID)
	for _, f := range [...]struct{ key, value string }{
		{"server", a.Server}, {"principal", a.Principal}, {"user", a.User}, {"client", a.Client}, {"trace", a.Trace},
		{"rpc_method", a.RPCMethod}, {"tool", a.Tool}, {"rpc_status", a.RPCStatus}, {"rpc_client", a.RPCClient},
	} {
		if f.value != "" {
			e.AddString(f.key, f.value)
		}
	}
	return nil
}

// finish hands the record over. It runs once, at the end of every request.
func (x *exchange) finish() {
	x.mu.Lock()
	x.ended = true
	x.mu.Unlock()
	x.leaveBody()
	x.router.present.leave(x)
	if x.guest == nil && x.client.remote {
		x.conn.guest().charge()
	}
	if x.client.counted {
		x.router.addresses.leave(x.client.key)
	}
	if x.router.access == nil {
		return
	}
	a := &x.rec
	a.Duration = time.Since(a.Time)
	if x.principal != nil {
		a.Principal, a.User, a.Client = x.principal.ID, x.principal.Name, x.principal.Client
	}
	if a.Status == 0 {
		a.Status = 200 // net/http sends this when a handler returns without a word
		if x.Context.Err() != nil {
			a.Status = statusGone
		}
	}
	x.router.access(a)
}

func keep(dst *string, value string) {
	if value != "" {
		*dst = clip(value)
	}
}

// clip bounds what a stranger can put into the log.
func clip(s string) string {
	const limit = 256
	if len(s) > limit {
		return s[:limit]
	}
	return s
}
