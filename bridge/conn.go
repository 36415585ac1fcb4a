package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Conn is one worker's connection: many calls at once over one pair of pipes.
// It is safe for concurrent use and ends when the worker's output does.
type Conn struct {
	s       *Server
	rwc     io.ReadWriteCloser
	serial  uint64                 // unlike any other's of the Server; set once
	lent    atomic.Pointer[string] // the key it serves, nil until somebody says
	opened  atomic.Bool            // the handshake is over: asked and ident stand
	asked   asks                   // questions the worker was told it may ask
	modern  atomic.Bool            // set by the handshake, while the reader runs
	ident   *identity
	calls   pending
	in      lines                 // the reader's
	done    chan struct{}         // closed when the reader has ended
	why     atomic.Pointer[error] // why the bridge itself ended the connection, if it did
	noise   atomic.Uint64         // lines that were no message
	silent  atomic.Int32          // checks in a row that had no answer
	control sync.WaitGroup

	omu      sync.Mutex // guards the next three
	outbox   [][]byte   // lines of post
	flushing bool
	closed   bool

	wmu   sync.Mutex // guards stdin: whole lines only
	until time.Time  // the write deadline that is set
	spare []byte     // the array of joined that was written last

	jmu     sync.Mutex // guards the next two
	writers int        // who wait for wmu, and will take joined along
	joined  []byte     // lines that somebody else writes with theirs

	level atomic.Uint32 // the log level a legacy worker was told, 0 for none
	subs  subscriptions
	turns turns // where the worker serves everyone

	changes  changes
	mirrors  atomic.Pointer[mirrors]
	listing  sync.Mutex // guards unlisted: one reader of the list of tools at a time
	unlisted time.Time  // after a failure, not again before this
}

// keyed may be implemented by the pipes: the key the worker was started for,
// or false if it is a spare that has none yet. A worker without one is told of
// no client capability and speaks the newest generation it knows.
type keyed interface {
	Key() (key string, owned bool)
}

type writeDeadliner interface{ SetWriteDeadline(time.Time) error }

// Open performs the handshake on a fresh worker's pipes: it settles the
// protocol generation, introduces mcpd and starts the reader. The pipes are
// closed when it returns an error, whose text is for people. The reader ends
// when rwc.Read returns an error, which becomes the reason every waiting call
// is given.
func (s *Server) Open(ctx context.Context, rwc io.ReadWriteCloser) (*Conn, error) {
	c := &Conn{s: s, rwc: rwc, done: make(chan struct{})}
	c.in.r, c.in.pool, c.in.limit = rwc, &s.bufs, s.o.Config.Limits.Line
	c.calls.calls = map[uint64]*waiter{}
	var p profile
	if k, ok := rwc.(keyed); ok {
		if key, owned := k.Key(); owned {
			c.lentFor(key)
			p = s.profileOf(key)
		}
	}
	modern, err := s.era.choose(ctx, p)
	if err != nil {
		rwc.Close()
		return nil, err
	}
	if !s.adopt(c) {
		rwc.Close()
		return nil, errStopping
	}
	go c.read() // ends at the error of rwc.Read; waited for by Close of the Server
	if err := c.greet(ctx, modern, p); err != nil {
		if dead := c.calls.reason(); dead != nil { // before the pipes are closed, which is a reason too
			err = dead
		}
		rwc.Close()
		return nil, err
	}
	s.learn(c.ident)
	c.watchLists(ctx)
	c.opened.Store(true)
	return c, nil
}

// lentFor notes whom the worker serves; the first word stands.
func (c *Conn) lentFor(key string) {
	if c.lent.Load() == nil {
		first := key // so that only it is allocated
		c.lent.CompareAndSwap(nil, &first)
	}
}

// Close asks the worker's owner to stop it. Waiting calls fail with its reason.
func (c *Conn) Close() error { return c.rwc.Close() }

// Done is closed when the worker's output has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is why the connection ended, nil while it lives.
func (c *Conn) Err() error { return c.calls.reason() }

// maxJoined bounds the lines that wait to be written with another: about what a
// pipe holds. Beyond it everyone waits for the worker to read.
const maxJoined = 64 << 10

// write sends one line, which ends with a line break. Where somebody is about to
// write already, the line goes along with theirs: that is one system call and one
// wake-up of the worker for all. If it is lost with theirs the connection is too,
// and the reader tells every call.
func (c *Conn) write(line []byte) error {
	c.jmu.Lock()
	if c.writers > 0 && len(c.joined)+len(line) <= maxJoined {
		c.joined = append(c.joined, line...)
		c.jmu.Unlock()
		return nil
	}
	c.writers++
	c.jmu.Unlock()
	if c.calls.many.Load() {
		runtime.Gosched() // calls that are ready to be made come along
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.jmu.Lock()
	c.writers--
	if others := c.joined; len(others) > 0 {
		c.joined = c.spare[:0]
		line = append(others, line...)
		if c.spare = nil; cap(line) <= 2*maxJoined {
			c.spare = line
		}
	}
	c.jmu.Unlock()
	return c.writeLines(line)
}

// writeLines writes whole lines, under wmu. A worker that does not read its input
// within the deadline is broken: half a line may be in its pipe.
func (c *Conn) writeLines(lines []byte) error {
	if err := c.calls.reason(); err != nil {
		return err
	}
	if !c.bounded() {
		// Pipes without deadlines: closing them is what ends a write.
		t := time.AfterFunc(c.s.writeTimeout, func() { c.fail(c.s.deaf()) })
		defer t.Stop()
	}
	_, err := c.rwc.Write(lines)
	if err == nil {
		return nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = c.s.deaf()
	}
	if closed(err) {
		err = errors.New("the server closed its input")
	}
	c.fail(err)
	return err
}

func (s *Server) deaf() error {
	return fmt.Errorf("the server does not read its input (waited %v)", s.writeTimeout)
}

// closed reports whether an error only says that a pipe is.
func closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}

// fail ends the connection for a reason that the reader does not know. The
// first one stands.
func (c *Conn) fail(why error) {
	c.why.CompareAndSwap(nil, &why)
	c.rwc.Close()
}

// stalled ends a connection whose worker stopped in the middle of a line: nothing
// that it may say after that would be understood.
func (c *Conn) stalled() {
	if since := c.in.waits.Load(); since != 0 && time.Since(time.Unix(0, since)) > c.s.writeTimeout {
		c.fail(errors.New("the server stopped in the middle of a line"))
	}
}

// bounded sets the write deadline, if the pipes have one. It is moved only when
// a quarter of it is gone: that costs a timer.
func (c *Conn) bounded() bool {
	d, ok := c.rwc.(writeDeadliner)
	if !ok {
		return false
	}
	now := time.Now()
	if c.until.Sub(now) >= c.s.writeTimeout*3/4 {
		return true
	}
	c.until = now.Add(c.s.writeTimeout)
	if d.SetWriteDeadline(c.until) != nil {
		c.until = time.Time{}
		return false
	}
	return true
}

// send writes a call's line. When the pipe is gone the reader knows the better
// reason in a moment.
func (c *Conn) send(line []byte) error {
	err := c.write(line)
	if err == nil {
		return nil
	}
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-c.done:
		return c.calls.reason()
	case <-t.C:
		return err
	}
}

// maxPosts bounds the bridge's own lines to a worker that are not yet written.
const maxPosts = 256

// post writes a line, in the order of the calls, without making the caller
// wait for stdin: the reader must not, for a worker that is blocked on its
// output would block us both.
func (c *Conn) post(line []byte) {
	c.omu.Lock()
	defer c.omu.Unlock()
	if len(c.outbox) >= maxPosts || c.closed {
		return
	}
	c.outbox = append(c.outbox, line)
	if !c.flushing {
		c.flushing = true
		c.control.Go(c.flush) // ends when the box is empty; waited for by the reader's end
	}
}

func (c *Conn) flush() {
	for {
		c.omu.Lock()
		if len(c.outbox) == 0 {
			c.flushing = false
			last := c.closed
			c.omu.Unlock()
			if last {
				c.rwc.Close()
			}
			return
		}
		line := c.outbox[0]
		c.outbox = c.outbox[1:]
		c.omu.Unlock()
		_ = c.write(line)
	}
}

// finish closes the connection after the lines of post are written.
func (c *Conn) finish() {
	c.omu.Lock()
	busy := c.flushing
	c.closed = true
	c.omu.Unlock()
	if !busy {
		c.rwc.Close()
	}
}

// cancel tells the worker that nobody waits for a call any more.
func (c *Conn) cancel(id uint64, reason string) {
	b := append([]byte(nil), `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`...)
	b = strconv.AppendUint(b, id, 10)
	if reason != "" {
		b = append(b, `,"reason":`...)
		b = quote(b, reason)
	}
	if c.modern.Load() {
		b = append(b, `,"_meta":`...)
		b = c.s.ownMeta(b)
	}
	c.post(append(b, "}}\n"...))
}

// request makes a call of the bridge's own and waits for its result. params is
// the inside of the params object, without braces.
func (c *Conn) request(ctx context.Context, method, params string) (*frame, error) {
	w := c.calls.waiter()
	if err := c.calls.add(w); err != nil {
		return nil, err
	}
	defer c.calls.free(c, w)
	defer c.calls.remove(w)
	b := append([]byte(nil), `{"jsonrpc":"2.0","id":`...)
	b = strconv.AppendUint(b, w.id, 10)
	b = append(b, `,"method":"`...)
	b = append(b, method...)
	b = append(b, `","params":{`...)
	b = append(b, params...)
	if c.modern.Load() {
		if params != "" {
			b = append(b, ',')
		}
		b = append(b, `"_meta":`...)
		b = c.s.ownMeta(b)
	}
	if err := c.send(append(b, "}}\n"...)); err != nil {
		return nil, err
	}
	return c.wait(ctx, w)
}

// drop returns what a frame holds to the pools.
func (c *Conn) drop(f *frame) {
	if f == nil || f.kind == frameDead {
		return
	}
	c.s.bufs.put(f.line)
	f.line, f.err = nil, nil
	c.calls.notes.Put(f)
}

// read is the one reader of a connection. It never waits for a client.
func (c *Conn) read() {
	in := &c.in
	var err error
	for err == nil {
		var line *buffer
		var cut bool
		switch line, cut, err = in.next(); {
		case err != nil:
		case cut:
			err = c.overlong(line)
		default:
			c.receive(line)
		}
	}
	if why := c.why.Load(); why != nil {
		err = *why
	} else if closed(err) {
		err = errors.New("the server closed its output")
	}
	c.calls.kill(err)
	c.rwc.Close()
	c.omu.Lock()
	c.closed = true
	c.omu.Unlock()
	c.control.Wait()
	c.s.log.Debug("worker connection ended", zap.Error(err), zap.Uint64("noise", c.noise.Load()))
	c.s.forget(c)
	c.s.resubscribe(c)
	close(c.done)
}
