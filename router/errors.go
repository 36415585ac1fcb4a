package router

import (
	"errors"
	"net/http"
	"strconv"

	"go.uber.org/zap"
)

// Verify returns these, wrapped or bare. Any other error of Verify means that the
// token could not be checked, and is answered with 503.
var (
	// ErrInvalidToken: unknown, expired, revoked, or made for another server.
	ErrInvalidToken = errors.New("the token is not valid here")
	// ErrInsufficientScope: a good token that may not do this.
	ErrInsufficientScope = errors.New("the token lacks a scope")
)

// Error is what a handler of this package returns. Message goes to the client,
// Cause goes to the log; neither ever stands in for the other.
type Error struct {
	Status  int    // HTTP status
	Message string // plain text, one or two sentences
	Cause   error  // nil: nothing worth a log line of its own
}

func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Message
	}
	return e.Message + ": " + e.Cause.Error()
}

func (e *Error) Unwrap() error { return e.Cause }

// refuse makes an Error without a cause.
func refuse(status int, message string) *Error { return &Error{Status: status, Message: message} }

// writeError writes err as plain text, whatever the client asked for: no HTML, so
// nothing from the request can become markup.
func (r *Router) writeError(x *exchange, req *http.Request, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Status: http.StatusInternalServerError, Message: "internal error", Cause: err}
	}
	if e.Cause != nil {
		r.log.Warn("request refused", zap.String("request", x.rec.RequestID), zap.Int("status", e.Status),
			zap.String("host", clip(req.Host)), zap.String("path", clip(req.URL.Path)), zap.Error(e.Cause))
	}
	if x.rec.Status != 0 {
		return // the answer has begun; nothing can be taken back
	}
	r.limitUnread(x, req)
	body := e.Message + "\n"
	if e.Status >= http.StatusInternalServerError {
		body = e.Message + " (request " + x.rec.RequestID + ")\n"
	}
	h := x.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.WriteHeader(e.Status)
	if req.Method != http.MethodHead {
		_, _ = x.Write([]byte(body)) // a client that left is no news
	}
}
