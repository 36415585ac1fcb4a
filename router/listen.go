package router

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
)

// Listener owns the sockets and the HTTP server on them.
type Listener struct {
	sockets  []net.Listener // wrapped in TLS here, once there are certificates
	server   *http.Server
	handler  atomic.Pointer[http.Handler]
	accepted accepted
	ending   chan struct{} // closed by Shutdown
	once     sync.Once
	running  sync.WaitGroup
}

// Listen opens the sockets; nothing is answered before Serve. h may be nil, and
// then comes by Handle: with port 0, who needs the address to be built needs the
// sockets first. What was passed is open already, and each must be for an address
// of cfg; it belongs to the Listener from now on.
func Listen(cfg Config, h http.Handler, log *zap.Logger, passed ...net.Listener) (*Listener, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("cannot listen: %w", err)
	}
	in := inherited{left: passed}
	sockets, err := in.open(cfg.HTTP)
	if err == nil {
		err = in.unused()
	}
	if err != nil {
		for _, s := range append(sockets, passed...) {
			_ = s.Close() // nothing was accepted on it
		}
		return nil, err
	}
	if log == nil {
		log = zap.NewNop()
	}
	l := &Listener{sockets: sockets, ending: make(chan struct{})}
	if h != nil {
		l.Handle(h)
	}
	l.server = &http.Server{
		Handler:           l,
		ReadHeaderTimeout: cfg.HeaderTimeout,
		IdleTimeout:       cfg.IdleTimeout,
		MaxHeaderBytes:    cfg.MaxHeader,
		ErrorLog:          errorLog(log),
		ConnState:         l.accepted.note,
		// OPTIONS * would be answered past the table and the access record.
		DisableGeneralOptionsHandler: true,
	}
	return l, nil
}

// Handle sets what answers. It may be called at any time.
func (l *Listener) Handle(h http.Handler) { l.handler.Store(&h) }

// ServeHTTP passes to the handler; it makes the Listener the server's handler.
func (l *Listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := l.handler.Load()
	if h == nil {
		http.Error(w, "starting", http.StatusServiceUnavailable)
		return
	}
	(*h).ServeHTTP(w, r)
}

// Addr is the address that was really opened, also for port 0. Of several it is
// the first: they have the same port.
func (l *Listener) Addr() net.Addr { return l.sockets[0].Addr() }

// Serve answers until Shutdown is called, ctx ends or a socket breaks; only the
// last is an error. When ctx ends no connection is accepted any more, and what is
// under way goes on: Shutdown decides how long. Serve may be called once.
func (l *Listener) Serve(ctx context.Context) error {
	broken := make(chan error, len(l.sockets))
	for _, s := range l.sockets {
		// Ends when its socket is closed, at the latest below; waited for there.
		l.running.Go(func() { broken <- l.server.Serve(s) })
	}
	var err error
	select {
	case err = <-broken:
	case <-ctx.Done():
	case <-l.ending:
	}
	for _, s := range l.sockets {
		_ = s.Close() // no connection is lost by it
	}
	l.running.Wait()
	select {
	case <-l.ending:
		return nil
	default:
	}
	if err == nil || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("cannot accept connections: %w", err)
}

// StopAccepting closes the sockets and returns once every request on its way to them
// has begun. Who is to refuse new work must do so after it, and before Shutdown.
func (l *Listener) StopAccepting(ctx context.Context) {
	l.once.Do(func() { close(l.ending) })
	for _, s := range l.sockets {
		_ = s.Close() // where Serve was never called nobody else does
	}
	l.running.Wait() // from here on nothing is accepted
	l.accepted.settle(ctx)
}

// Shutdown stops accepting, waits for the requests under way and then, or when ctx
// ends, closes every connection. The error tells that some were cut.
func (l *Listener) Shutdown(ctx context.Context) error {
	l.StopAccepting(ctx)
	err := l.server.Shutdown(ctx)
	if err == nil {
		return nil
	}
	_ = l.server.Close() // what is left is cut; there is nobody to tell
	return fmt.Errorf("cannot wait for the last requests: %w", err)
}

// socket may be closed by Serve, by Shutdown and by http.Server, in any order.
type socket struct {
	net.Listener
	once sync.Once
	err  error
}

func (s *socket) Close() error {
	s.once.Do(func() { s.err = s.Listener.Close() })
	return s.err
}

// open opens one socket, or for "localhost" one per loopback address on the same
// port. Both belong to us or neither is used: clients differ in which of the two
// they try first, and a stranger on the other would get their tokens.
func open(addr string) ([]net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %q: %w", addr, err)
	}
	if host != loopbackHost {
		s, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("cannot listen on %q: %w", addr, err)
		}
		return []net.Listener{&socket{Listener: s}}, nil
	}
	// A free port on one address may be taken on the other: then try another one.
	for tries := 1; ; tries++ {
		sockets, err := openBoth(port)
		if err == nil {
			return sockets, nil
		}
		if port != "0" || tries == 8 {
			return nil, fmt.Errorf("cannot listen on %q: %w", addr, err)
		}
	}
}

func openBoth(port string) ([]net.Listener, error) {
	v4, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return nil, err
	}
	if tcp, ok := v4.Addr().(*net.TCPAddr); ok {
		port = strconv.Itoa(tcp.Port)
	}
	v6, err := net.Listen("tcp6", net.JoinHostPort("::1", port))
	if err == nil {
		return []net.Listener{&socket{Listener: v4}, &socket{Listener: v6}}, nil
	}
	if isInUse(err) {
		_ = v4.Close() // nothing was accepted on it
		return nil, err
	}
	return []net.Listener{&socket{Listener: v4}}, nil // this machine has no IPv6: then nobody else can listen there
}
