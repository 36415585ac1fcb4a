package supervisor

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// worker is one child process with what was opened on its pipes. Its machine and what is not said
// to be otherwise belong to the owner of the server.
type worker[C any] struct {
	machine
	generation int       // of the server's configuration that it runs
	born       time.Time // when its start was ordered
	readyAt    time.Time // when its handshake was done; zero: not yet
	halt       chan struct{}

	// wanted is closed by want.
	wanted  chan struct{}
	wanting sync.Once

	// pid is written once, when the process is there, by the goroutine that lives with it.
	pid atomic.Int64
	// farewell is why it was told to end; written before halt is closed.
	farewell atomic.Pointer[string]

	// Guarded by the pool's lock.
	key       string // whom it serves, for ever once owned
	owned     bool   // false: a spare
	conn      C
	admitted  bool // conn is there and the owner lets calls in
	withdrawn bool // takes no calls any more
	active    int  // calls on it
	calls     uint64
	used      time.Time // the end of the last call, or the beginning of the first of those on it
}

// occurrence is an event with the worker it happened to. The worker itself is the generation: an
// event of one that is gone finds it in the state gone, where everything is ignored.
type occurrence[C any] struct {
	worker *worker[C]
	event  event
	reason string // why, for the events of an end
}

// child is one running process, as a worker sees it. The real one is *process.
type child interface {
	// Read reads its standard output, Write writes its standard input. When it has ended, both
	// return an error whose text is the reason, Read after what was left in the pipe.
	io.ReadWriter
	pid() int
	closeInput()
	signal(sig syscall.Signal)  // to its whole process group
	favour(ctx context.Context) // it was started ahead, and that is over
	ended() <-chan struct{}
	reason() string // why it ended; only after ended
	lastWords() string
}

// order is what a system needs to start a process.
type order struct {
	spec Spec
	path string
	ring *ring
	mask *masker
	// trial: the server is in a crash loop. It starts alone among its kind and at a lower priority, so
	// that what fails again and again takes nothing from those that serve.
	trial bool
	// ahead: nobody waits for it. Until it is ready, or somebody does, it takes what those who serve leave of the
	// processor, but for some seconds only: it shall be ready in time on a machine that is busy for long.
	ahead bool
}

// live is the life of one worker: start the process, let open do the handshake on it, wait for its
// end or bring it about, report. It returns when the process and its group are gone.
func (s *server[C]) live(w *worker[C], o order, handshake openFunc[C]) {
	o, begun, err := s.prepare(w, o)
	var c child
	if err == nil {
		if c, err = s.o.system.start(o); err != nil {
			begun()
		}
	}
	if err != nil {
		s.tell(occurrence[C]{worker: w, event: exited, reason: err.Error()})
		return
	}
	w.pid.Store(int64(c.pid()))
	ctx, cancel := context.WithCancelCause(context.Background())
	s.running.Go(func() { // ends with ctx, if not before
		defer begun()
		s.open(ctx, w, c, handshake)
		w.want()
	})
	if o.ahead {
		s.running.Go(func() { w.catchUp(ctx, c) }) // likewise
	}

	select {
	case <-c.ended():
	case <-w.halt:
		end(c, o.spec.Timeouts)
	}
	s.pool.withdraw(w) // before anybody can learn of the end: the next call must not get this worker
	cancel(errors.New(c.reason()))
	s.tell(occurrence[C]{worker: w, event: exited, reason: c.reason()})
}

// open does the handshake and reports how it went, unless the end of the process says it better.
func (s *server[C]) open(ctx context.Context, w *worker[C], c child, handshake openFunc[C]) {
	conn, err := handshake(ctx, &stream[C]{server: s, worker: w, child: c})
	if err == nil {
		s.pool.connect(w, conn)
		s.tell(occurrence[C]{worker: w, event: opened})
		return
	}
	select {
	case <-c.ended():
	default:
		s.tell(occurrence[C]{worker: w, event: openFailed, reason: withWords("handshake: "+err.Error(), c.lastWords())})
	}
}

// catchUp lets a process that was started ahead go on as others do when the time has come.
func (w *worker[C]) catchUp(ctx context.Context, c child) {
	timer := time.NewTimer(eager)
	defer timer.Stop()
	select {
	case <-w.wanted:
	case <-timer.C:
	case <-ctx.Done():
		return
	}
	c.favour(ctx)
}

// want tells that the worker is ready or that somebody waits for it.
func (w *worker[C]) want() { w.wanting.Do(func() { close(w.wanted) }) }

// dismiss ends the worker: the goroutine that lives with it begins the five steps.
func (w *worker[C]) dismiss(why string) {
	w.farewell.Store(&why)
	close(w.halt)
}

func (w *worker[C]) processID() int { return int(w.pid.Load()) }

// stream is what Open gets: the pipes of one child.
type stream[C any] struct {
	server *server[C]
	worker *worker[C]
	child  child
}

// Read reads the child's standard output.
func (st *stream[C]) Read(b []byte) (int, error) {
	n, err := st.child.Read(b)
	return n, st.check(err)
}

// Write writes to the child's standard input.
func (st *stream[C]) Write(b []byte) (int, error) {
	n, err := st.child.Write(b)
	return n, st.check(err)
}

// Key tells whom the worker serves; false for a spare, which serves nobody yet.
func (st *stream[C]) Key() (key string, owned bool) { return st.server.pool.keyOf(st.worker) }

// SetWriteDeadline bounds the writes to a child that does not read. After a write that was cut
// off the stream is of no more use: close it.
func (st *stream[C]) SetWriteDeadline(t time.Time) error {
	if d, ok := st.child.(interface{ SetWriteDeadline(time.Time) error }); ok {
		return d.SetWriteDeadline(t)
	}
	return os.ErrNoDeadline
}

// Close asks for the end of the worker and does not wait for it.
func (st *stream[C]) Close() error {
	st.server.pool.withdraw(st.worker)
	select {
	case <-st.child.ended(): // by itself, which is about to be reported; whoever read of it may close before
	default:
		st.server.tell(occurrence[C]{worker: st.worker, event: stopAsked, reason: "its connection was closed"})
	}
	return nil
}

// check makes the worker unavailable before the caller learns that it is, so that whoever sees a
// call fail and tries again gets another worker.
func (st *stream[C]) check(err error) error {
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	st.server.pool.withdraw(st.worker)
	if why := st.worker.farewell.Load(); why != nil {
		return errors.New("worker was stopped: " + *why)
	}
	select {
	case <-st.child.ended():
	default:
		st.server.tell(occurrence[C]{worker: st.worker, event: broken, reason: withWords(err.Error(), st.child.lastWords())})
	}
	return err
}

func withWords(reason, words string) string {
	if words == "" {
		return reason
	}
	return reason + ": " + words
}
