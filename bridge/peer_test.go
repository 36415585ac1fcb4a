package bridge

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// fleet is a Workers for tests: one worker per key, started on demand.
type fleet struct {
	mu    sync.Mutex
	conns map[string]*lease
	start func(key string) io.ReadWriteCloser
	s     *Server
}

type lease struct {
	ready chan struct{}
	c     *Conn
	err   error
}

func (f *fleet) Acquire(ctx context.Context, key string) (*Conn, func(), error) {
	f.mu.Lock()
	l := f.conns[key]
	if l != nil {
		select {
		case <-l.ready:
			if l.err != nil || l.c.Err() != nil {
				l = nil
			}
		default:
		}
	}
	mine := l == nil
	if mine {
		l = &lease{ready: make(chan struct{})}
		f.conns[key] = l
	}
	f.mu.Unlock()
	if mine {
		l.c, l.err = f.s.Open(context.WithoutCancel(ctx), keyedPipe{f.start(key), key})
		close(l.ready)
	}
	select {
	case <-l.ready:
		return l.c, func() {}, l.err
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

type keyedPipe struct {
	io.ReadWriteCloser
	key string
}

func (k keyedPipe) Key() (string, bool) { return k.key, true }

// duplex joins two one-way pipes to one end.
type duplex struct {
	io.Reader
	io.Writer
	closers []io.Closer
}

func (d duplex) Close() error {
	var errs []error
	for _, c := range d.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// testServer is a Server whose workers come from start.
func testServer(t testing.TB, cfg Config, who func(*http.Request) string, start func(key string) io.ReadWriteCloser) *Server {
	t.Helper()
	sealer, err := NewSealer(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{conns: map[string]*lease{}, start: start}
	o := Options{Name: "test", Config: cfg, Workers: f, Sealer: sealer, Version: "0.0.0", Principal: who}
	o.Spawn = func(context.Context) (io.ReadWriteCloser, error) { return start("probe"), nil }
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	f.s = s
	return s
}

// pipeTo runs serve as a worker on the other end of a pipe.
func pipeTo(serve func(net.Conn)) io.ReadWriteCloser {
	near, far := net.Pipe()
	go func() { // ends when the near end is closed
		serve(far)
		far.Close()
	}()
	return near
}

// eachLine calls f for every line until the pipe ends.
func eachLine(c net.Conn, f func(line []byte)) {
	in := bufio.NewScanner(c)
	in.Buffer(nil, 64<<20)
	for in.Scan() {
		f(in.Bytes())
	}
}
