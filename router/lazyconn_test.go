package router

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// counted is a connection that counts what is asked of it.
type counted struct {
	net.Conn
	reads          atomic.Int64
	deadlines      atomic.Int64 // for reads
	writeDeadlines atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	c.reads.Add(1)
	return c.Conn.Read(p)
}

func (c *counted) SetReadDeadline(t time.Time) error {
	c.deadlines.Add(1)
	return c.Conn.SetReadDeadline(t)
}

func (c *counted) SetWriteDeadline(t time.Time) error {
	c.writeDeadlines.Add(1)
	return c.Conn.SetWriteDeadline(t)
}

// lazyPipe returns both ends of a connection, and what counts below the lazy one.
func lazyPipe(t *testing.T) (*lazyConn, net.Conn, *counted) {
	near, far := net.Pipe()
	below := &counted{Conn: near}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return &lazyConn{Conn: below}, far, below
}

func TestLazyDeadlines(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for _, tt := range []struct {
		name  string
		set   []time.Duration // from the beginning; 0 lifts it; each after a read that got something
		while time.Duration   // set after a second of waiting, counted from then; 0: not
		ends  time.Duration   // 0: not within an hour
		calls int64           // what the connection below was troubled with
	}{
		{"none", nil, 0, 0, 0},
		{"one", []time.Duration{9 * s}, 0, 9 * s, 1},
		{"later and later", []time.Duration{3 * s, 4 * s, 5 * s, 6 * s}, 0, 6 * s, 2},
		{"earlier", []time.Duration{9 * s, 3 * s}, 0, 3 * s, 2},
		{"lifted", []time.Duration{3 * s, 0}, 0, 0, 2},
		{"later, then earlier", []time.Duration{3 * s, 9 * s, 5 * s}, 0, 5 * s, 2},
		{"past", []time.Duration{-s}, 0, 0, 0},
		{"past after one to come", []time.Duration{9 * s, -s}, 0, 0, 1},
		{"to come after one past", []time.Duration{-s, 9 * s}, 0, 9 * s, 1},
		{"while it waits", nil, s, 2 * s, 1},
		{"past while it waits", nil, -s, s, 1},
		{"later while it waits", []time.Duration{3 * s}, 9 * s, 10 * s, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, far, below := lazyPipe(t)
				began, p := time.Now(), make([]byte, 8)
				last := time.Duration(0)
				for i, d := range tt.set {
					last = d
					if d == 0 {
						_ = c.SetReadDeadline(time.Time{})
					} else {
						_ = c.SetReadDeadline(began.Add(d))
					}
					if i == len(tt.set)-1 || d < 0 {
						continue
					}
					go func() { _, _ = far.Write([]byte("some")) }() // ends with the read
					if n, err := c.Read(p); n != 4 || err != nil {
						t.Fatalf("with something to read: %d %v", n, err)
					}
				}
				if tt.while != 0 {
					time.AfterFunc(s, func() { _ = c.SetReadDeadline(time.Now().Add(tt.while)) })
				}
				hour := time.AfterFunc(time.Hour, func() { _ = far.Close() })
				_, err := c.Read(p)
				hour.Stop()
				took := time.Since(began)
				if forever := tt.ends == 0 && last >= 0; forever != (took == time.Hour) || !forever && took != tt.ends {
					t.Errorf("ended after %v by %v", took, err)
				} else if !forever && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("ended by %v", err)
				}
				if n := below.deadlines.Load(); n != tt.calls {
					t.Errorf("%d deadlines set below, want %d", n, tt.calls)
				}
			})
		})
	}
}

// TestLazyWatch: a client that leaves is noticed from a glance on, and what is read ahead is not lost.
func TestLazyWatch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		do    func(c *lazyConn, far net.Conn)
		at    time.Duration // when
		left  time.Duration // the context ends so much later at most; -1: not
		reads int64         // below
		next  string        // what is read then
		err   error         // or this
	}{
		{"the client leaves", func(_ *lazyConn, far net.Conn) { _ = far.Close() }, glance / 2, 2 * glance, 1, "", io.EOF},
		{"the client leaves late", func(_ *lazyConn, far net.Conn) { _ = far.Close() }, time.Hour, 0, 1, "", io.EOF},
		{"the client speaks", func(_ *lazyConn, far net.Conn) { _, _ = far.Write([]byte("x")) }, glance / 2, -1, 1, "x", nil},
		{"the client speaks late", func(_ *lazyConn, far net.Conn) { _, _ = far.Write([]byte("x")) }, time.Hour, -1, 1, "x", nil},
		{"closed", func(c *lazyConn, _ net.Conn) { _ = c.Close() }, glance / 2, 0, 0, "", net.ErrClosed},
		{"closed late", func(c *lazyConn, _ net.Conn) { _ = c.Close() }, time.Hour, 0, 1, "", io.ErrClosedPipe},
		{"hung up on", func(c *lazyConn, _ net.Conn) { c.hangUp() }, glance / 2, 0, 0, "", net.ErrClosed},
		{"hung up on late", func(c *lazyConn, _ net.Conn) {
			c.hangUp()
			_ = c.SetReadDeadline(time.Unix(1, 0))
		}, time.Hour, 0, 1, "", net.ErrClosed},
		{"a deadline is past", func(c *lazyConn, _ net.Conn) { _ = c.SetDeadline(time.Unix(1, 0)) }, glance / 2, -1, 0, "", os.ErrDeadlineExceeded},
		{"a deadline is past late", func(c *lazyConn, _ net.Conn) { _ = c.SetDeadline(time.Unix(1, 0)) }, time.Hour, -1, 2, "", os.ErrDeadlineExceeded},
		{"a deadline to come, late", func(c *lazyConn, _ net.Conn) { _ = c.SetReadDeadline(time.Now().Add(time.Hour)) }, time.Hour, -1, 2, "", os.ErrDeadlineExceeded},
		{"a watch is ended late", func(c *lazyConn, far net.Conn) { // of which net/http has not noticed yet that there was nothing
			_ = c.SetReadDeadline(time.Unix(1, 0))
			time.Sleep(time.Second)
			_ = c.SetReadDeadline(time.Time{})
			time.AfterFunc(time.Hour, func() { _, _ = far.Write([]byte("x")) })
		}, glance / 2, -1, 1, "x", nil},
		{"a watch is ended later", func(c *lazyConn, far net.Conn) {
			_ = c.SetReadDeadline(time.Unix(1, 0))
			time.Sleep(time.Second)
			_ = c.SetReadDeadline(time.Time{})
			time.AfterFunc(time.Hour, func() { _, _ = far.Write([]byte("x")) })
		}, time.Hour, -1, 3, "x", nil},
		{"the request ends", func(c *lazyConn, far net.Conn) {
			go func() { _, _ = far.Write([]byte("next")) }() // ends with the read
			if n, err := c.Read(make([]byte, 8)); n != 4 || err != nil {
				t.Errorf("%d %v", n, err)
			}
			time.AfterFunc(time.Hour, func() { _, _ = far.Write([]byte("x")) })
		}, glance / 2, -1, 2, "x", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, far, below := lazyPipe(t)
				ctx := connContext(t.Context(), c)
				one := make([]byte, 1)
				for i := range int64(3) { // the timer of a request that is over belongs to nobody
					if n, err := c.Read(one); n != 0 || err != nil || below.reads.Load() != i {
						t.Fatalf("%d %v after %d reads below", n, err, below.reads.Load())
					}
					go func() { _, _ = far.Write([]byte("more")) }() // ends with the read
					if n, err := c.Read(make([]byte, 8)); n != 4 || err != nil {
						t.Fatal(n, err)
					}
					time.Sleep(glance / 4)
				}
				before := below.reads.Load()
				if _, err := c.Read(one); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				left := make(chan time.Duration, 1)
				context.AfterFunc(ctx, func() { left <- time.Since(began) })
				time.Sleep(tt.at)
				tt.do(c, far)
				time.Sleep(2 * time.Hour)
				n, err := c.Read(make([]byte, 8))
				if tt.next == "" && !errors.Is(err, tt.err) || tt.next != "" && (n != len(tt.next) || err != nil) {
					t.Errorf("read %d bytes: %v", n, err)
				}
				synctest.Wait()
				select {
				case d := <-left:
					if d < tt.at || d > tt.at+tt.left {
						t.Errorf("the context ended after %v", d)
					}
				default:
					if tt.left >= 0 {
						t.Error("the context did not end")
					}
				}
				if n := below.reads.Load() - before; n != tt.reads {
					t.Errorf("%d reads below, want %d", n, tt.reads)
				}
				_ = c.Close()
			})
		})
	}
}

// TestLazyWatchTwice: who is told that there was nothing and asks again has to wait, or would never stop asking.
func TestLazyWatchTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, far, _ := lazyPipe(t)
		_ = connContext(t.Context(), c)
		time.AfterFunc(time.Hour, func() { _, _ = far.Write([]byte("x")) })
		began, one := time.Now(), make([]byte, 1)
		for asked := 1; ; asked++ {
			n, err := c.Read(one)
			if err != nil || asked > 2 {
				t.Fatalf("asked %d times: %v", asked, err)
			}
			if n == 1 {
				break
			}
		}
		if one[0] != 'x' || time.Since(began) != time.Hour {
			t.Errorf("%q after %v", one, time.Since(began))
		}
		_ = c.Close()
	})
}

// TestLazyWatchIsWithoutDeadline: a read that has one is none of a client's absence, however short.
func TestLazyWatchIsWithoutDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, far, _ := lazyPipe(t)
		_ = connContext(t.Context(), c)
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		go func() { _, _ = far.Write([]byte("x")) }() // ends with the read
		if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("%d %v", n, err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		_ = c.Close()
	})
}

func TestLazyWriteDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _, below := lazyPipe(t)
		_ = c.SetDeadline(time.Time{})
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		_, err := c.Write([]byte("x"))
		if !errors.Is(err, os.ErrDeadlineExceeded) || below.writeDeadlines.Load() != 1 {
			t.Errorf("%v after %d deadlines", err, below.writeDeadlines.Load())
		}
		_ = c.SetWriteDeadline(time.Time{})
		time.AfterFunc(time.Hour, func() { _ = c.Close() })
		if _, err := c.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("a lifted deadline: %v", err)
		}
	})
}

// TestLazyServer: net/http's watch costs nothing while requests are short, and works when they are not.
func TestLazyServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		left := make(chan time.Time, 1)
		p := &pipes{make(chan net.Conn), make(chan struct{})}
		server := &http.Server{IdleTimeout: time.Minute, ConnContext: connContext, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadAll(r.Body)
			if r.URL.Path == "/long" {
				<-r.Context().Done()
				left <- time.Now()
			}
			_, _ = io.WriteString(w, r.URL.Path)
		})}
		served := make(chan error)
		go func() { served <- server.Serve(p) }() // ends with p; waited for below
		c, far, below := lazyPipe(t)
		p.conns <- c
		answers := bufio.NewReader(far)
		say := func(s string) {
			t.Helper()
			go func() { _, _ = io.WriteString(far, s) }() // ends when it is read
		}
		hear := func(path string) {
			t.Helper()
			res, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := text(t, res); got != path {
				t.Errorf("%s, want %s", got, path)
			}
		}
		const requests = 9
		for range requests {
			say("POST /short HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
			hear("/short")
			synctest.Wait()
			time.Sleep(time.Second)
		}
		// One read for each request, and the one that waits for the next.
		if n := below.reads.Load(); n != requests+1 {
			t.Errorf("%d reads below for %d requests", n, requests)
		}
		if n := below.deadlines.Load(); n != 1 {
			t.Errorf("%d deadlines set below for %d requests", n, requests)
		}
		if n := below.writeDeadlines.Load(); n != 0 {
			t.Errorf("%d deadlines lifted that were not there", n)
		}
		say("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n") // at once
		hear("/a")
		hear("/b")
		say("GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
		time.Sleep(time.Hour) // no deadline of before ends it
		select {
		case <-left:
			t.Error("a request was ended for nothing")
		default:
		}
		gone := time.Now()
		_ = far.Close()
		if noticed := (<-left).Sub(gone); noticed > 2*glance {
			t.Errorf("that the client left was noticed after %v", noticed)
		}
		close(p.ended)
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		_ = server.Shutdown(context.Background())
	})
}

// TestLazyIdle: a connection that nothing is asked on is closed when its time is over, counted from the last answer.
func TestLazyIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{make(chan net.Conn), make(chan struct{})}
		server := &http.Server{IdleTimeout: time.Minute, ReadHeaderTimeout: 10 * time.Second, ConnContext: connContext, Handler: http.NotFoundHandler()}
		served := make(chan error)
		go func() { served <- server.Serve(p) }() // ends with p; waited for below
		c, far, _ := lazyPipe(t)
		p.conns <- c
		answers := bufio.NewReader(far)
		for i := range 5 {
			if i > 0 {
				time.Sleep(50 * time.Second) // so that deadlines of before are over now and then
			}
			_, _ = io.WriteString(far, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			res, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = text(t, res)
		}
		last := time.Now()
		if _, err := answers.ReadByte(); err != io.EOF || time.Since(last) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(last))
		}
		close(p.ended)
		<-served
		_ = server.Shutdown(context.Background())
	})
}
