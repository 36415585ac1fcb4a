package router

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// glance is how long a request lasts before anybody looks whether its client has left. It may take twice as long.
const glance = 20 * time.Millisecond

// lazyConn puts off what net/http asks of a connection with every request until it matters. Six times it sets or lifts a
// deadline for reading, which counts only when a read has to wait. And as soon as a request is read it reads one byte more, to
// learn that the client has left: a system call for nothing, a wait for the network, and one more deadline to end both when
// the answer is there, a fraction of a millisecond later. (In Go 1.26 see connReader and conn.serve in net/http/server.go.)
//
// As with every net.Conn, deadlines may be set at any time, and one goroutine reads at a time.
type lazyConn struct {
	net.Conn

	mu      sync.Mutex
	asked   time.Time // the deadline for reads, zero for none
	set     time.Time // the one that Conn has; while it reads it is not later than asked
	reading bool      // Conn does

	watching bool          // a read waits for wake
	wake     chan struct{} // gets one word for each wait
	look     *time.Timer   // ends a wait; nil before the first
	looks    bool          // it runs
	waits    uint64        // counts them
	looksAt  uint64        // the one that it runs for
}

func newLazyConn(c net.Conn) *lazyConn { return &lazyConn{Conn: c, wake: make(chan struct{}, 1)} }

// SetReadDeadline is done at once for a read that waits, and for others when they begin.
func (c *lazyConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = t
	if !t.IsZero() {
		c.stopWatch()
	}
	if c.reading {
		return c.setDeadline()
	}
	return nil
}

// SetDeadline sets that for reads and that for writes.
func (c *lazyConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Close ends a read that waits.
func (c *lazyConn) Close() error {
	c.mu.Lock()
	c.stopWatch()
	c.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite has the client read an answer to its end before it learns that the connection is broken.
func (c *lazyConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Read waits for a glance first where it is for one byte: that is net/http's watch. Everything else is read into buffers.
func (c *lazyConn) Read(p []byte) (int, error) {
	if len(p) == 1 {
		c.watch()
	}
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

// watch returns after a glance, or when there is a deadline or an end before.
func (c *lazyConn) watch() {
	c.mu.Lock()
	if !c.asked.IsZero() {
		c.mu.Unlock()
		return
	}
	c.watching = true
	c.waits++
	if !c.looks { // otherwise the timer of a wait before will do, and is started anew once instead of every time
		c.lookLater()
	}
	c.mu.Unlock()
	<-c.wake
}

func (c *lazyConn) stopWatch() {
	if c.watching {
		c.watching = false
		c.wake <- struct{}{}
	}
}

func (c *lazyConn) lookLater() {
	c.looks, c.looksAt = true, c.waits
	if c.look == nil {
		c.look = time.AfterFunc(glance, c.glance)
	} else {
		c.look.Reset(glance)
	}
}

// glance ends a wait that has lasted for one.
func (c *lazyConn) glance() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looks = false
	switch {
	case !c.watching:
	case c.looksAt == c.waits:
		c.stopWatch()
	default:
		c.lookLater()
	}
}
