package router

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

const (
	lastWords  = 5 * time.Second // for the end of a stream to be taken
	maxPrattle = 16 << 10        // bytes that a client may send while it is answered
)

// detached is an answer on a connection that was taken from net/http. A stream of events lasts for hours and says little,
// but its handler's goroutine has the stack that finding the way to it took, another one waits for the client to leave, and
// the buffers that the next request will need are there all the time: that is half of what an open stream costs.
type detached struct {
	net.Conn
	header http.Header
	head   []byte // the status line and the headers, until they are sent
	begun  bool
	broken bool // what comes next would not be understood
}

// Header is what WriteHeader sends.
func (d *detached) Header() http.Header { return d.header }

// WriteHeader words the head, which goes out with what is written first.
func (d *detached) WriteHeader(status int) {
	if d.begun {
		return
	}
	d.begun = true
	d.header["Date"] = []string{time.Now().UTC().Format(http.TimeFormat)}
	d.header["Connection"] = []string{"close"}
	d.header["Transfer-Encoding"] = []string{"chunked"}
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 " + strconv.Itoa(status) + " " + http.StatusText(status) + "\r\n")
	_ = d.header.Write(&b) // a buffer takes everything
	b.WriteString("\r\n")
	d.head, d.header = b.Bytes(), http.Header{}
}

// Write sends p at once, as one chunk (RFC 9112 §7.1).
func (d *detached) Write(p []byte) (int, error) {
	d.WriteHeader(http.StatusOK)
	b := d.head
	if len(p) > 0 { // a chunk of nothing would be the end
		b = append(strconv.AppendInt(b, int64(len(p)), 16), "\r\n"...)
		b = append(append(b, p...), "\r\n"...)
	}
	if err := d.send(b); err != nil {
		return 0, err
	}
	return len(p), nil
}

// FlushError sends the head if nothing was written yet.
func (d *detached) FlushError() error { return d.send(d.head) }

func (d *detached) send(b []byte) error {
	d.head = nil
	if len(b) == 0 {
		return nil
	}
	_, err := d.Conn.Write(b)
	d.broken = d.broken || err != nil
	return err
}

// end closes the connection, after the word that this is all if it is.
func (d *detached) end(whole bool) {
	if whole && !d.broken {
		d.WriteHeader(http.StatusOK)
		_ = d.SetWriteDeadline(time.Now().Add(lastWords))
		_ = d.send(append(d.head, "0\r\n\r\n"...)) // who has left needs no word
	}
	_ = d.Close() // there is nobody to tell
}

// watch returns when the client has left, or goes on about other things: an answer is not over, and it knows that the
// connection will be closed with it.
func (d *detached) watch() {
	b := make([]byte, 64)
	for prattle := 0; prattle < maxPrattle; {
		n, err := d.Read(b)
		if err != nil {
			return
		}
		prattle += n
	}
}

// Detach has serve write the answer on a goroutine of its own, once the handler has returned, and with less memory than a
// handler has. After it the handler must neither write nor keep the request. serve gets the context that
// ends when the client leaves; the ResponseWriter is the same as before. The connection is closed afterwards.
//
// It does nothing and returns false where that cannot be: the answer has begun, or the connection is of HTTP/2, where many
// requests share it, or of HTTP/1.0, which has no chunks.
func (x *exchange) Detach(serve func(context.Context)) bool {
	if x.rec.Status != 0 || !x.chunks {
		return false
	}
	header := x.Header()
	conn, _, err := http.NewResponseController(x.ResponseWriter).Hijack()
	if err != nil {
		return false
	}
	x.serve = serve
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.late != nil {
		x.late.Stop()
	}
	x.late, x.body = nil, nil
	if x.router.present.move(x, &detached{Conn: conn, header: header}) {
		_ = conn.SetDeadline(time.Unix(1, 0)) // that was done before, but is undone by taking the connection
	}
	return true
}

// stay is what goes on after the handler.
func (x *exchange) stay(d *detached) {
	ctx, leave := context.WithCancel(context.WithoutCancel(x))
	watched := make(chan struct{})
	go func() { // ends when the connection is closed; waited for below
		defer close(watched)
		d.watch()
		leave()
	}()
	whole := false
	defer func() {
		if !whole {
			x.router.reportPanic(x, recover())
		}
		gone := ctx.Err() != nil
		d.end(whole && !gone)
		<-watched
		if gone && x.rec.Status == 0 { // the request's own context may not have ended yet
			x.rec.Status = statusGone
		}
		x.finish()
	}()
	x.serve(ctx)
	whole = true
}

// Wait returns when the last words of all detached answers are sent, or ctx ends. It is for when their handlers have ended
// them and no request comes any more; a Listener's Shutdown knows nothing of them.
func (r *Router) Wait(ctx context.Context) error {
	sent := make(chan struct{})
	go func() { // ends with the answers, each of which has a deadline
		r.away.Wait()
		close(sent)
	}()
	select {
	case <-sent:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cannot wait for the end of streams: %w", context.Cause(ctx))
	}
}
