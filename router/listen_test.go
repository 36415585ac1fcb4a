package router

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func start(t *testing.T, cfg Config, h http.Handler) (*Listener, chan error) {
	t.Helper()
	l, err := Listen(ListenOptions{Config: cfg.For(false), Handler: h})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- l.Serve(t.Context()) }() // ends with Shutdown, which every test calls
	t.Cleanup(func() { _ = l.Shutdown(context.Background()) })
	return l, done
}

func onPort0() Config { return at("localhost:0") }

func at(addr string) Config {
	c := DefaultConfig().For(false)
	c.HTTP = addr
	return c
}

func TestListenerServesBothLoopbackAddresses(t *testing.T) {
	t.Parallel()
	l, done := start(t, onPort0(), nil)
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil || port == "0" {
		t.Fatalf("%v %v", l.Addr(), err)
	}
	if res, err := http.Get("http://127.0.0.1:" + port); err != nil || res.StatusCode != 503 {
		t.Fatalf("before Handle: %v %v", res, err)
	}
	l.Handle(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) }))
	for _, host := range []string{"127.0.0.1:" + port, "[::1]:" + port}[:len(l.front)] {
		res, err := http.Get("http://" + host)
		if err != nil {
			t.Fatal(err)
		}
		if text(t, res) != host {
			t.Error("wrong answer")
		}
	}
	if _, err := Listen(ListenOptions{Config: at("localhost:" + port)}); err == nil || !strings.Contains(err.Error(), "cannot listen on") {
		t.Errorf("a taken port: %v", err)
	}
	if err := l.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestShutdownWaitsThenCuts(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	l, done := start(t, onPort0(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		if r.URL.Path == "/call" {
			<-release
			_, _ = io.WriteString(w, "finished")
			return
		}
		<-r.Context().Done()
	}))
	call := make(chan string, 1)
	get := func(path string) {
		res, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			call <- "cut"
			return
		}
		b, _ := io.ReadAll(res.Body)
		call <- string(b)
	}
	go get("/call") // ends with the answer
	<-entered
	ended := make(chan error, 1)
	go func() { ended <- l.Shutdown(context.Background()) }() // ends when the call has
	if err := <-done; err != nil {                            // Serve is over, the call is not
		t.Error(err)
	}
	close(release)
	if got := <-call; got != "finished" {
		t.Errorf("the call under way was %s", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}

	l, _ = start(t, onPort0(), l.server.Handler.(*Listener).current())
	go get("/stream") // ends when it is cut
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := l.Shutdown(ctx); err == nil {
		t.Error("a cut stream was not told")
	}
	if got := <-call; got != "cut" {
		t.Errorf("the stream was %s", got)
	}
}

func (l *Listener) current() http.Handler { return *l.handler.Load() }

func TestServeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	l, err := Listen(ListenOptions{Config: onPort0(), Handler: http.NotFoundHandler()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Serve(ctx); err != nil {
		t.Error(err)
	}
	if err := l.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	// Never served at all: the port is free again.
	l, err = Listen(ListenOptions{Config: onPort0()})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	again, err := Listen(ListenOptions{Config: at(l.Addr().String())})
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Shutdown(t.Context())
}

func TestConfig(t *testing.T) {
	t.Parallel()
	tests := []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) {}, ""},
		{func(c *Config) { c.HTTP = "8080" }, "http: "},
		{func(c *Config) { c.HTTPS = "443" }, "https: "},
		{func(c *Config) { c.HTTP, c.HTTPS = "none", "none" }, "http: "},
		{func(c *Config) { c.HTTP, c.HTTPS = "none", ":443" }, ""},
		{func(c *Config) { c.PublicPort = 70000 }, "public_port: "},
		{func(c *Config) { c.ProxyProtocol = true }, "proxy_protocol: "},
		{func(c *Config) { c.ProxyProtocol, c.TrustedProxies = true, []string{"10.0.0.0/8", "::1"} }, ""},
		{func(c *Config) { c.TrustedProxies = []string{"10.0.0.0/33"} }, "trusted_proxies[0]: "},
		{func(c *Config) { c.Limits.Requests = -1 }, "limits.requests: "},
		{func(c *Config) { c.Limits.Total = -1 }, "limits.total: "},
		{func(c *Config) { c.HTTP = "localhost:http" }, "http: "},
		{func(c *Config) { c.HTTP = "localhost:99999" }, "http: "},
		{func(c *Config) { c.Origins = []string{"https://ok.example", "example.com"} }, "origins[1]: "},
		{func(c *Config) { c.Origins = []string{"https://ok.example/"} }, "origins[0]: "},
		{func(c *Config) { c.Origins = []string{"*", "null", "https://*.x:*"} }, ""},
		{func(c *Config) { c.IdleTimeout = -1 }, "idle_timeout: "},
		{func(c *Config) { c.MaxHeader = 10 }, "max_header: "},
		{func(c *Config) { c.HeaderTimeout = 0 }, "header_timeout: "},
		{func(c *Config) { c.BodyTimeout = 0 }, ""},
	}
	for _, tt := range tests {
		c := DefaultConfig()
		tt.change(&c)
		err := c.Validate()
		if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for addr, want := range map[string]bool{
		"localhost:0": true, "127.0.0.1:1": true, "[::1]:1": true, "127.9.9.9:1": true,
		":8080": false, "0.0.0.0:1": false, "10.0.0.1:1": false, "example.com:1": false, "nonsense": false,
	} {
		if got := (Config{HTTP: addr, HTTPS: "none"}).Loopback(); got != want {
			t.Errorf("Loopback of %q is %v", addr, got)
		}
	}
}

func TestErrorLogKeepsNoiseDown(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.DebugLevel)
	to := errorLog(zap.New(core))
	to.Print("http: TLS handshake error from 1.2.3.4:5: EOF")
	to.Print("http: Accept error: too many open files")
	to.Print("http: panic serving 1.2.3.4:5: oh\ngoroutine 1")
	to.Print("http2: panic serving 1.2.3.4:5: EOF\ngoroutine 1")
	to.Print("http2: server connection error from 1.2.3.4:5: connection error: PROTOCOL_ERROR")
	to.Print("http2: server closing client connection: error reading frame")
	to.Print("timeout waiting for SETTINGS frames from 1.2.3.4:5")
	to.Print("http: superfluous response.WriteHeader call from x")
	want := []string{"debug", "warn", "error", "error", "debug", "debug", "debug", "warn"}
	if logs.Len() != len(want) {
		t.Fatalf("%d lines of %d", logs.Len(), len(want))
	}
	for i, line := range logs.All() {
		if line.Level.String() != want[i] {
			t.Errorf("line %d is %s", i, line.Level)
		}
	}
}

// pipes is a net.Listener over net.Pipe, for time without waiting.
type pipes struct {
	conns chan net.Conn
	ended chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.ended:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func TestSlowClients(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, "localhost", func(o *Options) { o.BodyTimeout = time.Minute })
		streamed := make(chan error, 1)
		table, err := NewTable([]Route{
			{Host: "localhost", Prefix: "/body", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, err := io.ReadAll(r.Body)
				streamed <- err
			})},
			{Host: "localhost", Prefix: "/stream", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.ReadAll(r.Body)
				for range 3 {
					time.Sleep(time.Hour)
					_, _ = io.WriteString(w, "tick\n")
					_ = http.NewResponseController(w).Flush()
				}
				streamed <- r.Context().Err()
			})},
			{Name: "a", Host: "localhost", Prefix: "/a", Resource: "http://localhost/a/mcp", Handler: http.NotFoundHandler()},
		})
		if err != nil {
			t.Fatal(err)
		}
		h.Swap(table)
		p := &pipes{make(chan net.Conn), make(chan struct{})}
		l := &Listener{front: []net.Listener{p}, ending: make(chan struct{})}
		l.server = &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, ConnContext: connContext}
		l.running.Go(func() { _ = l.server.Serve(p) }) // ends with p
		dial := func(request string) net.Conn {
			client, server := net.Pipe()
			p.conns <- &lazyConn{Conn: server}
			if _, err := io.WriteString(client, request); err != nil {
				t.Fatal(err)
			}
			return client
		}

		began := time.Now()
		c := dial("GET / HTTP/1.1\r\nHost: local") // headers that never end
		_, _ = io.ReadAll(c)
		if d := time.Since(began); d > 11*time.Second {
			t.Errorf("half a header held the connection for %v", d)
		}

		began = time.Now()
		c = dial("POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
		if err := <-streamed; err == nil || time.Since(began) > 61*time.Second {
			t.Errorf("half a body: %v after %v", err, time.Since(began))
		}
		_ = c.Close()

		began = time.Now()
		c = dial("POST /a/mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
		answer, _ := io.ReadAll(c)
		if !strings.HasPrefix(string(answer), "HTTP/1.1 401") || time.Since(began) > 7*time.Second {
			t.Errorf("a refused client held the connection for %v: %.40s", time.Since(began), answer)
		}

		began = time.Now()
		c = dial("POST /stream HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
		r := bufio.NewReader(c)
		ticks := 0
		for ticks < 3 {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatalf("the stream was cut after %v: %v", time.Since(began), err)
			}
			ticks += strings.Count(line, "tick")
		}
		if err := <-streamed; err != nil || time.Since(began) < 3*time.Hour {
			t.Errorf("stream: %v after %v", err, time.Since(began))
		}
		_ = c.Close()
		close(p.ended)
		if err := l.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func ExampleListen() {
	cfg := DefaultConfig().For(false)
	cfg.HTTP = "127.0.0.1:0"
	l, err := Listen(ListenOptions{Config: cfg})
	if err != nil {
		fmt.Println(err)
		return
	}
	l.Handle(http.NotFoundHandler()) // now that l.Addr() is known
	_ = l.Shutdown(context.Background())
	// Output:
}
