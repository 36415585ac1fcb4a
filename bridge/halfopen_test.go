package bridge

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A client whose connection is half open takes nothing and says nothing: the keep-alive comments fill what is
// between, a write meets its deadline, and the stream is given up.
func TestHalfOpenClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.Era = "legacy"
		s := testServer(t, cfg, nil, func(key string) io.ReadWriteCloser { return pipeTo(mirror(key, false)) })
		defer func() { _ = s.Close(t.Context()) }()
		doors := make(chan net.Conn, 1)
		web := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
		served := make(chan error, 1)
		go func() { served <- web.Serve(oneDoor{doors}) }() // ends with web.Close
		near, far := net.Pipe()
		doors <- far
		v := &session{id: newSID(), created: time.Now(), version: "2025-11-25"}
		if _, err := io.WriteString(near, "GET /mcp HTTP/1.1\r\nHost: localhost\r\nMcp-Session-Id: "+s.sealSession(v)+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		first := make([]byte, 4096)
		if n, err := near.Read(first); err != nil || !strings.HasPrefix(string(first[:n]), "HTTP/1.1 200") {
			t.Fatalf("%v %s", err, first[:n])
		}
		synctest.Wait()
		if got := s.Stats().Streams; got != 1 {
			t.Fatalf("%d streams are open, want 1", got)
		}
		time.Sleep(s.keepAlive + s.writeTimeout + time.Second) // nothing is read from here on
		synctest.Wait()
		if n := s.active.Load(); n != 0 {
			t.Errorf("%d requests still run for a client that takes nothing", n)
		}
		time.Sleep(s.replays.age + time.Second)
		synctest.Wait()
		if got := s.Stats().Streams; got != 0 {
			t.Errorf("%d streams are kept for it", got)
		}
		web.Close()
		near.Close()
		<-served
	})
}

// oneDoor is a listener for connections that are handed in.
type oneDoor struct{ c chan net.Conn }

func (d oneDoor) Accept() (net.Conn, error) {
	c, ok := <-d.c
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (d oneDoor) Close() error   { close(d.c); return nil }
func (d oneDoor) Addr() net.Addr { return &net.TCPAddr{} }
