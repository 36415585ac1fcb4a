package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"
)

// Spawn starts a child that belongs to no server: no worker, no back-off, no restart. It is for
// trying something out on a process that may be thrown away. Close kills it with its group and
// waits for that; so do the end of ctx and the supervisor's Close. Its standard error goes where
// that of the server's workers goes, if there is a server of that name.
func (s *Supervisor[C]) Spawn(ctx context.Context, spec Spec) (io.ReadWriteCloser, error) {
	spec, err := s.o.Resolve(ctx, spec)
	if err != nil {
		return nil, &Unavailable{Reason: "server cannot start: " + err.Error()}
	}
	path, err := lookup(spec)
	if err != nil {
		return nil, &Unavailable{Reason: "server cannot start: " + err.Error()}
	}
	logs := &ring{lines: s.o.LogLines, bytes: s.o.LogBytes}
	if srv, ok := s.get(spec.Name); ok {
		logs = srv.ring
	}
	if !s.enter() {
		return nil, errClosed
	}
	defer s.spawning.Done()
	if why := s.o.budget.take(nil, time.Time{}); why != "" {
		return nil, &Busy{Reason: why, RetryAfter: s.o.BusyRetry}
	}
	c, err := s.o.system.start(order{spec: spec, path: path, ring: logs, mask: newMasker(spec.Secrets)})
	if err != nil {
		s.o.budget.give()
		return nil, &Unavailable{Reason: "server " + err.Error()}
	}
	d := &disposable{child: c}
	s.mu.Lock()
	s.spawned[d] = struct{}{}
	s.mu.Unlock()
	unhook := context.AfterFunc(ctx, d.kill)
	s.running.Go(func() { // ends with the child
		<-c.ended()
		unhook()
		s.o.budget.give()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.spawned, d)
	})
	return d, nil
}

// enter lets a Spawn in, unless the supervisor is closed. It is over with spawning.Done.
func (s *Supervisor[C]) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.spawning.Add(1)
	}
	return !s.closed
}

// disposable is a child of Spawn.
type disposable struct{ child }

// Close kills the child and its group and returns when they are gone.
func (d *disposable) Close() error {
	d.kill()
	<-d.ended()
	return nil
}

func (d *disposable) kill() {
	d.signal(syscall.SIGKILL)
	d.closeInput()
}

// SetWriteDeadline bounds the writes to a child that does not read.
func (d *disposable) SetWriteDeadline(t time.Time) error {
	if w, ok := d.child.(interface{ SetWriteDeadline(time.Time) error }); ok {
		return w.SetWriteDeadline(t)
	}
	return nil
}

// mostOutput is how much of a program's output Run keeps.
const mostOutput = 1 << 20

// Run runs a program to its end, under the same care as everything else that Spawn starts, and returns what
// it wrote to standard output, of one that failed without the secrets of spec. Its standard input is at its end at once. The error of
// one that failed says how it ended and what it said last on standard error.
func (s *Supervisor[C]) Run(ctx context.Context, spec Spec) ([]byte, error) {
	rwc, err := s.Spawn(ctx, spec)
	if err != nil {
		return nil, err
	}
	d := rwc.(*disposable)
	defer func() { _ = d.Close() }()
	d.closeInput()
	var out []byte
	buf := make([]byte, 32<<10)
	for {
		n, err := d.Read(buf)
		if out = append(out, buf[:n]...); len(out) > mostOutput {
			return nil, fmt.Errorf("cannot keep more than %d bytes of what it writes", mostOutput)
		}
		if err != nil {
			break
		}
	}
	select {
	case <-d.ended():
	case <-ctx.Done():
		_ = d.Close() // it ends by that
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if p, ok := d.child.(interface{ succeeded() bool }); !ok || !p.succeeded() {
		return []byte(newMasker(spec.Secrets).mask(string(out))), errors.New(d.reason())
	}
	return out, nil
}
