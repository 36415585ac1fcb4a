package router

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// detaching is a server whose handler detaches every answer and leaves it to serve, and what became of that.
type detaching struct {
	*house
	*httptest.Server
	before  func()        // in the handler
	refused chan bool     // one word per answer that stayed with its handler
	ended   chan struct{} // one per access record
}

func newDetaching(t *testing.T, version string, serve func(context.Context, http.ResponseWriter)) *detaching {
	t.Helper()
	d := &detaching{before: func() {}, refused: make(chan bool, 8), ended: make(chan struct{}, 8)}
	d.house = newHouse(t, "localhost", func(o *Options) {
		note := o.Access
		o.Access = func(a *AccessRecord) {
			note(a)
			d.ended <- struct{}{}
		}
	})
	table, err := NewTable([]Route{{Name: "a", Host: "localhost", Prefix: "/a", Resource: "http://localhost:8080/a/mcp",
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			d.before()
			w.Header().Set("X-Test", "one\r\nX-Injected: two")
			detached := w.(interface {
				Detach(func(context.Context)) bool
			}).Detach(func(ctx context.Context) { serve(ctx, w) })
			if !detached {
				d.refused <- true
				serve(r.Context(), w)
			}
		})}})
	if err != nil {
		t.Fatal(err)
	}
	d.Swap(table)
	d.Server = httptest.NewUnstartedServer(d.house)
	d.Listener, d.Config.ConnContext = lazyDoor{d.Listener}, connContext
	d.Config.ErrorLog = errorLog(d.log)
	if d.EnableHTTP2 = version == "HTTP/2.0"; d.EnableHTTP2 {
		d.StartTLS()
		tls := d.Client().Transport.(*http.Transport).TLSClientConfig
		tls.ServerName, tls.InsecureSkipVerify = "localhost", true // its certificate is for another name
	} else {
		d.Start()
	}
	t.Cleanup(d.Server.Close)
	return d
}

func (d *detaching) get(t *testing.T, body io.Reader) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.URL+"/a/mcp", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer good-a")
	resp, err := d.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// raw sends a request word by word, and returns the connection.
func (d *detaching) raw(t *testing.T, version, more string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", d.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fmt.Fprintf(c, "GET /a/mcp %s\r\nHost: localhost\r\nAuthorization: Bearer good-a\r\n\r\n%s", version, more); err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

func (d *detaching) recorded(t *testing.T) AccessRecord {
	t.Helper()
	select {
	case <-d.ended:
	case <-time.After(time.Minute):
		t.Fatal("the request never ended")
	}
	return d.last(t)
}

// TestDetach: a detached answer is like any other, in all versions of HTTP, and the record tells of the whole of it.
func TestDetach(t *testing.T) {
	for _, version := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(version, func(t *testing.T) {
			more := make(chan string)
			d := newDetaching(t, version, func(ctx context.Context, w http.ResponseWriter) {
				w.WriteHeader(http.StatusAccepted)
				_ = http.NewResponseController(w).Flush()
				for word := range more {
					if _, err := io.WriteString(w, word); err != nil || ctx.Err() != nil {
						t.Error(err, ctx.Err())
					}
					_, _ = w.Write(nil)
					_ = http.NewResponseController(w).Flush()
				}
				if who, ok := PrincipalOf(ctx); !ok || who.Name != "alice" {
					t.Errorf("the context knows %v", who)
				}
				exchangeOf(ctx).router.Note(ctx, Facts{Tool: "echo"})
			})
			resp := d.get(t, strings.NewReader(strings.Repeat("x", 9000)))
			if resp.Proto != version || resp.StatusCode != http.StatusAccepted || resp.Close != (version == "HTTP/1.1") ||
				resp.Header.Get("X-Injected") != "" || resp.Header.Get("X-Request-Id") == "" || resp.Header.Get("Date") == "" {
				t.Errorf("%s %s, closed %v, %v", resp.Proto, resp.Status, resp.Close, resp.Header)
			}
			if len(d.refused) != map[string]int{"HTTP/1.1": 0, "HTTP/2.0": 1}[version] {
				t.Error("detached where it cannot be, or not where it can")
			}
			impatient, cancel := context.WithCancel(t.Context())
			cancel()
			if err := d.Wait(impatient); version == "HTTP/1.1" && err == nil {
				t.Error("it is over before it is over")
			}
			for _, word := range []string{"one", strings.Repeat("two", 5000)} {
				more <- word
				got := make([]byte, len(word))
				if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != word {
					t.Fatalf("%q %v", got, err)
				}
			}
			close(more)
			if err := d.Wait(t.Context()); err != nil || len(d.ended) == 0 && version == "HTTP/1.1" {
				t.Error("it was not waited for:", err)
			}
			if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
				t.Errorf("it ends with %q, %v", rest, err)
			}
			if a := d.recorded(t); a.Status != http.StatusAccepted || a.Bytes != 3+15000 || a.Principal != "usr_1" || a.Tool != "echo" || a.Duration <= 0 {
				t.Errorf("record %+v", a)
			}
		})
	}
}

// TestDetachedClientLeaves, is silent, or goes on about other things.
func TestDetachedClientLeaves(t *testing.T) {
	left := make(chan struct{})
	d := newDetaching(t, "HTTP/1.1", func(ctx context.Context, w http.ResponseWriter) {
		_, _ = io.WriteString(w, "it begins")
		<-ctx.Done()
		left <- struct{}{}
	})
	gone := func(what string) {
		t.Helper()
		select {
		case <-left:
		case <-time.After(time.Minute):
			t.Fatalf("%s: it was not noticed", what)
		}
		if a := d.recorded(t); a.Status != http.StatusOK || a.Bytes != int64(len("it begins")) {
			t.Errorf("%s: record %+v", what, a)
		}
	}
	c, r := d.raw(t, "HTTP/1.1", "")
	if head, err := r.ReadString('\n'); err != nil || head != "HTTP/1.1 200 OK\r\n" {
		t.Fatalf("%q %v", head, err)
	}
	_ = c.Close()
	gone("left")

	c, r = d.raw(t, "HTTP/1.1", "GET /a/mcp HTTP/1.1\r\nHost: localhost\r\n\r\n") // it will not be answered: the connection closes
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, strings.Repeat("x", maxPrattle+1<<10)); err != nil {
		t.Fatal(err)
	}
	gone("prattled")
	if rest, _ := io.ReadAll(r); strings.Contains(string(rest), "HTTP/1.1") {
		t.Errorf("a second answer on a connection that belongs to the first: %q", rest)
	}

	d.get(t, nil)
	d.HangUp(func(string, Principal) bool { return true })
	gone("was hung up on")
}

// TestDetachAfterHangUp: taking the connection lifts its deadlines, but not what was meant by them.
func TestDetachAfterHangUp(t *testing.T) {
	d := newDetaching(t, "HTTP/1.1", func(ctx context.Context, _ http.ResponseWriter) { <-ctx.Done() })
	d.before = func() { d.HangUp(func(string, Principal) bool { return true }) }
	d.raw(t, "HTTP/1.1", "")
	if a := d.recorded(t); a.Status != statusGone {
		t.Errorf("record %+v", a)
	}
}

// TestDetachIsForHTTP11 and for answers that have not begun.
func TestDetachIsForHTTP11(t *testing.T) {
	d := newDetaching(t, "HTTP/1.1", func(_ context.Context, w http.ResponseWriter) {
		if w.(*exchange).Detach(nil) {
			t.Error("an answer that has begun was detached")
		}
		_, _ = io.WriteString(w, "all of it")
	})
	_, r := d.raw(t, "HTTP/1.0", "")
	if all, err := io.ReadAll(r); err != nil || !strings.HasSuffix(string(all), "\r\n\r\nall of it") || len(d.refused) != 1 {
		t.Errorf("%q %v", all, err)
	}
}

// TestDetachedPanic breaks one answer and nothing else.
func TestDetachedPanic(t *testing.T) {
	d := newDetaching(t, "HTTP/1.1", func(_ context.Context, w http.ResponseWriter) {
		_, _ = io.WriteString(w, "half")
		panic("secret")
	})
	resp := d.get(t, nil)
	if all, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) || string(all) != "half" {
		t.Errorf("%q %v", all, err)
	}
	d.recorded(t)
	if n := d.logs.FilterMessage("handler panicked").Len(); n != 1 {
		t.Errorf("%d lines about it in the log", n)
	}
}

// TestDetachedThenPanic: the handler fails after it has given the answer away.
func TestDetachedThenPanic(t *testing.T) {
	h := newHouse(t, "localhost")
	table, err := NewTable([]Route{{Name: "p", Host: "127.0.0.1", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !w.(*exchange).Detach(func(context.Context) { t.Error("served although the handler failed") }) {
			t.Error("not detached")
		}
		panic("secret")
	})}})
	if err != nil {
		t.Fatal(err)
	}
	h.loopback = false
	h.Swap(table)
	srv := httptest.NewServer(h)
	defer srv.Close()
	resp, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusInternalServerError || strings.Contains(string(body), "secret") {
		t.Errorf("%s %q %v", resp.Status, body, err)
	}
	if n := h.logs.FilterMessage("handler panicked").Len(); n != 1 {
		t.Errorf("%d lines about it in the log", n)
	}
}
