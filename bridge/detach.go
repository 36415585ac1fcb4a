package bridge

import (
	"context"
	"net/http"
)

// detacher is a response that can do without its request's goroutine.
type detacher interface {
	// Detach has serve write the response after the handler has returned, under a context that ends when the client
	// leaves. It returns false, and does nothing, where the handler has to do it.
	Detach(serve func(context.Context)) bool
}

// detach writes a stream that may last for hours: on a goroutine of its own, if the response offers one, with nothing left of
// the request but its context. Nothing may be written before it, nor anything done after it.
func (x *exchange) detach(write func()) {
	w, ok := x.w.(detacher)
	x.detached = ok && w.Detach(func(ctx context.Context) {
		defer x.s.leave() // also if it panics
		x.r = new(http.Request).WithContext(ctx)
		write()
		x.end()
	})
	if !x.detached {
		write()
	}
}
