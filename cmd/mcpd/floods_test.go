//go:build !race

// Foreign tools measure here what mcpd costs and how long it takes; the race detector changes both.

package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// floods are what one HTTP/2 connection can be filled with. Each goes on while more does, or until the other end has had enough.
var floods = map[string]func(fr *http2.Framer, more func() bool) error{
	"rapid reset": func(fr *http2.Framer, more func() bool) error { // CVE-2023-44487
		var block bytes.Buffer
		enc := hpack.NewEncoder(&block)
		for id := uint32(1); more(); id += 2 {
			block.Reset()
			for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", probedHost}, {":path", "/mcp"}} {
				_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
			}
			if err := fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
				return err
			}
			if err := fr.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
				return err
			}
		}
		return nil
	},
	"continuation": func(fr *http2.Framer, more func() bool) error { // CVE-2023-45288
		var block bytes.Buffer
		enc := hpack.NewEncoder(&block)
		_ = enc.WriteField(hpack.HeaderField{Name: ":method", Value: "GET"})
		if err := fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes()}); err != nil {
			return err
		}
		for i := 0; more(); i++ {
			block.Reset()
			_ = enc.WriteField(hpack.HeaderField{Name: "x-" + strconv.Itoa(i), Value: "0123456789abcdef0123456789abcdef", Sensitive: true})
			if err := fr.WriteContinuation(1, false, block.Bytes()); err != nil {
				return err
			}
		}
		return nil
	},
	"ping": func(fr *http2.Framer, more func() bool) error { // CVE-2019-9512
		for more() {
			if err := fr.WritePing(false, [8]byte{1}); err != nil {
				return err
			}
		}
		return nil
	},
	"settings": func(fr *http2.Framer, more func() bool) error { // CVE-2019-9515
		for more() {
			if err := fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 16}); err != nil {
				return err
			}
		}
		return nil
	},
}

// A flood costs no memory that stays or grows, and others are served while it goes on. How much slower is in the log:
// here the flood is made on the same processors.
func TestProbeFloods(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("memory is read from /proc")
	}
	d := probed(t)
	addr := d.status().Listen.HTTPS
	other := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{ServerName: probedHost, InsecureSkipVerify: true},
	}}
	defer other.CloseIdleConnections()
	_, usual := d.ask(other, addr, time.After(time.Second))
	before := d.resident()
	for _, name := range sortedKeys(floods) {
		t.Run(name, func(t *testing.T) {
			end := time.Now().Add(2 * time.Second)
			var all sync.WaitGroup
			var mu sync.Mutex
			var frames, conns int
			for i := range 4 {
				all.Go(func() {
					for time.Now().Before(end) {
						n, err := flood(addr, end, i%2 == 0, floods[name])
						mu.Lock()
						frames, conns = frames+n, conns+1
						mu.Unlock()
						if n == 0 {
							t.Errorf("the flood does not begin: %v", err)
							return
						}
					}
				})
			}
			most, p99 := d.ask(other, addr, time.After(time.Until(end)))
			all.Wait()
			t.Logf("%d frames on %d connections; resident %d MB, %d before; p99 of another client %v, usually %v (%.1f times)",
				frames, conns, most>>20, before>>20, p99, usual, float64(p99)/float64(usual))
			if most > before+64<<20 {
				t.Errorf("%d MB are resident, %d before", most>>20, before>>20)
			}
		})
	}
}

// flood opens a connection and floods it until end. One that reads answers leaves the server no reason to wait for it.
func flood(addr string, end time.Time, reads bool, run func(*http2.Framer, func() bool) error) (frames int, err error) {
	c, err := tls.Dial("tcp", addr, &tls.Config{ServerName: probedHost, NextProtos: []string{"h2"}, InsecureSkipVerify: true})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_ = c.SetDeadline(end)
	out := bufio.NewWriterSize(c, 16<<10)
	if _, err := io.WriteString(out, http2.ClientPreface); err != nil {
		return 0, err
	}
	fr := http2.NewFramer(out, c)
	if err := fr.WriteSettings(); err != nil {
		return 0, err
	}
	var reading sync.WaitGroup
	if reads {
		reading.Go(func() { _, _ = io.Copy(io.Discard, c) }) // ends with the connection
	}
	err = run(fr, func() bool { frames++; return frames%64 != 0 || time.Now().Before(end) })
	_ = out.Flush()
	_ = c.Close()
	reading.Wait()
	return frames, err
}

// ask requests something small again and again until stop, and returns the most memory that the daemon had and the 99th percentile.
func (d *instance) ask(c *http.Client, addr string, stop <-chan time.Time) (most int64, p99 time.Duration) {
	d.t.Helper()
	var took []time.Duration
	for {
		req, err := http.NewRequest(http.MethodGet, "https://"+addr+"/.well-known/oauth-protected-resource/mcp", nil)
		if err != nil {
			d.t.Fatal(err)
		}
		req.Host = probedHost
		begun := time.Now()
		resp, err := c.Do(req)
		if err != nil {
			d.t.Fatalf("another client is not served: %v", err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
			d.t.Fatalf("another client gets %s %s", resp.Proto, resp.Status)
		}
		took = append(took, time.Since(begun))
		most = max(most, d.resident())
		select {
		case <-stop:
			slices.Sort(took)
			return most, took[len(took)*99/100]
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// resident is the memory of the daemon itself, in bytes.
func (d *instance) resident() int64 {
	d.t.Helper()
	n := memoryOf(d.cmd.Process.Pid, "VmRSS")
	if n == 0 {
		d.t.Fatal("the memory of mcpd cannot be read")
	}
	return n
}
