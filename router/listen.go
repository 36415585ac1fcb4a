package router

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Listener owns the sockets and the HTTP server on them.
type Listener struct {
	front    []net.Listener // answered by the handler; with TLS where there is any
	beside   []net.Listener // plain ones beside TLS, answered by the plain handler
	server   *http.Server
	secure   bool // the front has TLS; net/http writes to server.TLSConfig, which tells nothing
	handler  atomic.Pointer[http.Handler]
	plain    atomic.Pointer[http.Handler]
	accepted accepted
	ending   chan struct{} // closed by Shutdown
	once     sync.Once
	running  sync.WaitGroup
}

// ListenOptions are what a Listener is made of.
type ListenOptions struct {
	Config  Config         // without "auto": as from Config.For
	TLS     *tls.Config    // how the HTTPS listener proves who it is; nil: there is none
	Handler http.Handler   // nil: comes by Handle
	Logger  *zap.Logger    // nil: silent
	Passed  []net.Listener // open already, each for an address of Config; they belong to the Listener from now on
}

// Listen opens the sockets; nothing is answered before Serve. The handlers may come
// later: with port 0, who needs the address to be built needs the sockets first.
func Listen(o ListenOptions) (*Listener, error) {
	l := &Listener{secure: o.TLS != nil, ending: make(chan struct{})}
	if err := l.open(o); err != nil {
		for _, s := range slices.Concat(l.front, l.beside, o.Passed) {
			_ = s.Close() // nothing was accepted on it
		}
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Handler != nil {
		l.Handle(o.Handler)
	}
	conns := newTally[netip.Addr](o.Config.Limits.Connections, 0)
	all := newCrowd(o.Config.Limits.Total, o.Logger)
	chatter := newChatter(o.Config.Limits.Chatter)
	for _, sockets := range [...][]net.Listener{l.front, l.beside} {
		for i, s := range behindDoor(o.Config, sockets, conns, chatter, all) {
			sockets[i] = lazyDoor{s}
		}
	}
	l.server = &http.Server{
		Handler:           l,
		ReadHeaderTimeout: o.Config.HeaderTimeout,
		IdleTimeout:       o.Config.IdleTimeout,
		MaxHeaderBytes:    o.Config.MaxHeader,
		TLSConfig:         o.TLS,
		HTTP2:             http2Limits(),
		ErrorLog:          errorLog(o.Logger),
		ConnState:         l.accepted.note,
		ConnContext:       connContext,
		// OPTIONS * would be answered past the table and the access record.
		DisableGeneralOptionsHandler: true,
	}
	return l, nil
}

// http2Limits bound what one HTTP/2 connection takes. Of resets (CVE-2023-44487),
// CONTINUATION frames (CVE-2023-45288) and frames that ask for an answer net/http has
// its own bounds, which go by these: as many handlers as streams, queued frames and
// header bytes by MaxHeaderBytes.
func http2Limits() *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams:          128,       // a browser needs some six, a busy client some tens
		MaxReceiveBufferPerConnection: 1 << 20,   // bytes of bodies that nobody has read yet
		MaxReceiveBufferPerStream:     256 << 10, // a call is read at once
		MaxDecoderHeaderTableSize:     4 << 10,
		MaxEncoderHeaderTableSize:     4 << 10,
		SendPingTimeout:               time.Minute, // finds clients that are gone, also below a silent stream
		PingTimeout:                   15 * time.Second,
		WriteByteTimeout:              30 * time.Second, // a client that reads nothing
	}
}

// open opens what Config names.
func (l *Listener) open(o ListenOptions) error {
	c := o.Config
	switch err := c.Validate(); {
	case err != nil:
		return fmt.Errorf("cannot listen: %w", err)
	case c.HTTPS == auto || c.HTTP == auto:
		return errors.New("cannot listen: an address is \"auto\"")
	case (c.HTTPS == none) != (o.TLS == nil):
		return fmt.Errorf("cannot listen: https is %q, and certificates: %v", c.HTTPS, o.TLS != nil)
	}
	in := inherited{left: o.Passed}
	var err error
	if c.HTTPS != none {
		if l.front, err = in.open(c.HTTPS); err != nil {
			return err
		}
	}
	if c.HTTP != none {
		plain, err := in.open(c.HTTP)
		if err != nil {
			return err
		}
		if l.front == nil {
			l.front = plain
		} else {
			l.beside = plain
		}
	}
	return in.unused()
}

// Handle sets what answers. It may be called at any time.
func (l *Listener) Handle(h http.Handler) { l.handler.Store(&h) }

// HandlePlain sets what answers on the plain listener beside one with TLS. It may be
// called at any time.
func (l *Listener) HandlePlain(h http.Handler) { l.plain.Store(&h) }

// ServeHTTP passes to the handler; it makes the Listener the server's handler.
func (l *Listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := l.handler.Load()
	if r.TLS == nil && l.TLS() {
		h = l.plain.Load()
	}
	if h == nil {
		http.Error(w, "starting", http.StatusServiceUnavailable)
		return
	}
	(*h).ServeHTTP(w, r)
}

// Addr is the address of the front door that was really opened, also for port 0. Of
// several it is the first: they have the same port.
func (l *Listener) Addr() net.Addr { return l.front[0].Addr() }

// TLS reports whether the front door is behind TLS.
func (l *Listener) TLS() bool { return l.secure }

// PlainAddr is the same of the plain listener beside TLS, nil where there is none.
func (l *Listener) PlainAddr() net.Addr {
	if len(l.beside) == 0 {
		return nil
	}
	return l.beside[0].Addr()
}

// Serve answers until Shutdown is called, ctx ends or a socket breaks; only the
// last is an error. When ctx ends no connection is accepted any more, and what is
// under way goes on: Shutdown decides how long. Serve may be called once.
func (l *Listener) Serve(ctx context.Context) error {
	broken := make(chan error, len(l.front)+len(l.beside))
	front := l.server.Serve
	if l.TLS() {
		front = func(s net.Listener) error { return l.server.ServeTLS(s, "", "") }
	}
	// Each ends when its socket is closed, at the latest below; waited for there.
	for _, s := range l.front {
		l.running.Go(func() { broken <- front(s) })
	}
	for _, s := range l.beside {
		l.running.Go(func() { broken <- l.server.Serve(s) })
	}
	var err error
	select {
	case err = <-broken:
	case <-ctx.Done():
	case <-l.ending:
	}
	l.close()
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

// close closes the sockets; no connection is lost by it.
func (l *Listener) close() {
	for _, s := range slices.Concat(l.front, l.beside) {
		_ = s.Close()
	}
}

// StopAccepting closes the sockets and returns once every request on its way to them
// has begun. Who is to refuse new work must do so after it, and before Shutdown.
func (l *Listener) StopAccepting(ctx context.Context) {
	l.once.Do(func() { close(l.ending) })
	l.close()        // where Serve was never called nobody else does
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
