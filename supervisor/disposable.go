package supervisor

import (
	"context"
	"io"
	"sync"
	"syscall"
	"time"
)

// Spawn starts a child that belongs to no server: no worker, no back-off, no restart. It is for
// trying something out on a process that may be thrown away. Close kills it with its group and
// waits for that; so do the end of ctx and the supervisor's Close. Its standard error goes where
// that of the server's workers goes, if there is a server of that name.
func (s *Supervisor[C]) Spawn(ctx context.Context, spec Spec) (io.ReadWriteCloser, error) {
	path, err := lookup(spec)
	if err != nil {
		return nil, &Unavailable{Reason: "server cannot start: " + err.Error()}
	}
	logs := &ring{lines: s.o.LogLines, bytes: s.o.LogBytes}
	if srv, ok := s.get(spec.Name); ok {
		logs = srv.ring
	}
	if s.isClosed() {
		return nil, errClosed
	}
	if !s.o.slots.take() {
		return nil, &Busy{Reason: "no more processes may be started", RetryAfter: s.o.BusyRetry}
	}
	c, err := s.o.system.start(order{spec: spec, path: path, ring: logs, mask: newMasker(spec.Secrets)})
	if err != nil {
		s.o.slots.give()
		return nil, &Unavailable{Reason: "server " + err.Error()}
	}
	d := &disposable{child: c}
	d.forget = sync.OnceFunc(func() {
		s.o.slots.give()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.spawned, d)
	})
	d.unhook = context.AfterFunc(ctx, func() { _ = d.Close() }) // kills, and has no error to tell
	s.mu.Lock()
	late := s.closed
	s.spawned[d] = struct{}{}
	s.mu.Unlock()
	if late { // Close has not seen this one
		_ = d.Close()
		return nil, errClosed
	}
	return d, nil
}

// disposable is a child of Spawn.
type disposable struct {
	child
	unhook func() bool
	forget func()
}

// Close kills the child and its group and returns when they are gone.
func (d *disposable) Close() error {
	d.signal(syscall.SIGKILL)
	d.closeInput()
	<-d.ended()
	d.unhook()
	d.forget()
	return nil
}

// SetWriteDeadline bounds the writes to a child that does not read.
func (d *disposable) SetWriteDeadline(t time.Time) error {
	if w, ok := d.child.(interface{ SetWriteDeadline(time.Time) error }); ok {
		return w.SetWriteDeadline(t)
	}
	return nil
}
