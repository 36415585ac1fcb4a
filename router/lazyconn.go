package router

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// glance is how long a request lasts before anybody looks whether its client has left. It may take twice as long.
const glance = 20 * time.Millisecond

// lazyConn puts off what net/http asks of a connection with every request until it matters. Six times it sets or lifts a
// deadline for reading, which counts only when a read has to wait, and once it lifts one for writing. And as soon as a request
// is read it has a goroutine read one byte more, to learn that the client has left: a system call for nothing, a wait for the
// network, and one more deadline to end both when the answer is there, a fraction of a millisecond later. (In Go 1.26 see
// connReader and conn.serve in net/http/server.go.) That read is told that there was nothing, and after a glance is done here.
//
// As with every net.Conn, deadlines may be set at any time, and one goroutine reads at a time.
type lazyConn struct {
	net.Conn
	leave context.CancelFunc // of connContext; nil: nobody heeds it

	mu      sync.Mutex
	over    bool      // nothing more is read
	limited bool      // writes have a deadline
	asked   time.Time // the deadline for reads, zero for none
	set     time.Time // the one that Conn has; while it reads it is not later than asked
	reading bool      // Conn does

	watching bool        // a request is under way, and nobody reads
	requests uint64      // counts those
	timer    *time.Timer // for the glance; nil before the first
	timed    uint64      // the request that it runs for; 0: it does not run
	ahead    chan ahead  // what is read ahead comes here; nil: nothing is
}

// ahead is how a read for one byte ended; nothing at all: by a deadline.
type ahead struct {
	n   int
	b   [1]byte
	err error
}

// lazyDoor has its connections lazy.
type lazyDoor struct{ net.Listener }

func (l lazyDoor) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &lazyConn{Conn: c}, nil
}

type connKey struct{}

// connContext is an http.Server.ConnContext. What is asked on a connection ends with it, or when its client is found gone.
func connContext(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if l, ok := c.(*lazyConn); ok {
		ctx, l.leave = context.WithCancel(context.WithValue(ctx, connKey{}, l))
	}
	return ctx
}

// connOf is the connection that a request came by, nil where it is none of ours. A nil lazyConn has no guest, and nobody
// to hang up on.
func connOf(ctx context.Context) *lazyConn {
	c, _ := ctx.Value(connKey{}).(*lazyConn)
	return c
}

// guest returns nil where the client is on this machine, or a trusted proxy, or nothing limits it.
func (c *lazyConn) guest() *guest {
	if c == nil {
		return nil
	}
	if g, ok := c.Conn.(*guest); ok && g.chatter != nil {
		return g
	}
	return nil
}

// hangUp ends what is asked on the connection. Nothing more is read.
func (c *lazyConn) hangUp() {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	if c.leave != nil {
		c.leave()
	}
}

// SetReadDeadline is done at once for a read that waits, and for others when they begin.
func (c *lazyConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = t
	if c.reading {
		return c.setDeadline()
	}
	return nil
}

// SetWriteDeadline has nothing to do where there is no deadline to lift.
func (c *lazyConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.IsZero() && !c.limited {
		return nil
	}
	c.limited = !t.IsZero()
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline sets that for reads and that for writes.
func (c *lazyConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Close ends what is asked on the connection, and a read ahead.
func (c *lazyConn) Close() error {
	c.hangUp()
	return c.Conn.Close()
}

// CloseWrite has the client read an answer to its end before it learns that the connection is broken.
func (c *lazyConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Read takes one for a single byte as net/http's watch, for everything else is read into buffers. It gets the answer that
// there was nothing, which says neither that more comes nor that nothing does (io.Reader).
func (c *lazyConn) Read(p []byte) (int, error) {
	if len(p) == 1 && c.watch() {
		return 0, nil
	}
	c.mu.Lock()
	c.watching = false
	first := c.ahead
	c.mu.Unlock()
	if first == nil {
		return c.readNow(p)
	}
	a := <-first
	c.mu.Lock()
	c.ahead = nil
	c.mu.Unlock()
	if a.n == 0 && a.err == nil {
		return c.readNow(p)
	}
	return copy(p, a.b[:a.n]), a.err
}

// readNow reads until a deadline that is asked for.
func (c *lazyConn) readNow(p []byte) (int, error) {
	for {
		if err := c.begin(); err != nil {
			return 0, err
		}
		n, err := c.Conn.Read(p)
		if !c.end(err) {
			return n, err
		}
	}
}

// begin sees to it that the read ends in time. A deadline that is too early is left alone: there will most likely be
// something to read before it.
func (c *lazyConn) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return net.ErrClosed
	}
	if !c.asked.IsZero() && (c.set.IsZero() || c.asked.Before(c.set)) {
		if !c.asked.After(time.Now()) {
			return os.ErrDeadlineExceeded
		}
		if err := c.setDeadline(); err != nil {
			return err
		}
	}
	c.reading = true
	return nil
}

// end tells whether to read again: what ended was a deadline too early.
func (c *lazyConn) end(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading = false
	return errors.Is(err, os.ErrDeadlineExceeded) && !c.set.Equal(c.asked) && c.setDeadline() == nil
}

func (c *lazyConn) setDeadline() error {
	c.set = c.asked
	return c.Conn.SetReadDeadline(c.asked)
}

// watch takes on to tell when the client leaves. It does not where nobody would heed it, where the read has a deadline, which
// a watch has not, or where it is asked again before anything was read: then who asks wants to wait.
func (c *lazyConn) watch() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leave == nil || c.watching || !c.asked.IsZero() {
		return false
	}
	if c.ahead != nil { // of the request before, for this one was read along with it
		return true
	}
	c.watching = true
	c.requests++
	if c.timed == 0 { // a timer that runs for a request before will do, and is started anew once instead of every time
		c.glanceLater()
	}
	return true
}

func (c *lazyConn) glanceLater() {
	c.timed = c.requests
	if c.timer == nil {
		c.timer = time.AfterFunc(glance, c.glance)
	} else {
		c.timer.Reset(glance)
	}
}

// glance reads ahead for a request that has lasted for one. Where there is a deadline meanwhile it is over: net/http has set
// one to end the watch, or for the next request.
func (c *lazyConn) glance() {
	c.mu.Lock()
	timed := c.timed
	c.timed = 0
	if c.watching && timed != c.requests {
		c.glanceLater()
	}
	if !c.watching || timed != c.requests || !c.asked.IsZero() {
		c.mu.Unlock()
		return
	}
	c.watching = false
	to := make(chan ahead, 1)
	c.ahead = to
	c.mu.Unlock()
	var a ahead
	switch a.n, a.err = c.readNow(a.b[:]); {
	case errors.Is(a.err, os.ErrDeadlineExceeded):
		a.err = nil // whom it is meant for will read, too
	case a.err != nil:
		c.leave()
	}
	to <- a
}
