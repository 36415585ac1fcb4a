package router

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// flooder is an HTTP/2 client that writes frames as it likes.
type flooder struct {
	conn  *tls.Conn
	frame *http2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
	ended chan error // what ended the connection, by its reader
}

func flood(t *testing.T, d *door) *flooder {
	t.Helper()
	f := dialFlooder(t, d)
	go func() { // ends with the connection
		for {
			if _, err := f.frame.ReadFrame(); err != nil {
				f.ended <- err
				return
			}
		}
	}()
	return f
}

// dialFlooder leaves the reading to the test.
func dialFlooder(t *testing.T, d *door) *flooder {
	t.Helper()
	c, err := tls.Dial("tcp", d.l.Addr().String(), d.tls("a.mcp.example", "h2"))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	f := &flooder{conn: c, frame: http2.NewFramer(c, c), ended: make(chan error, 1)}
	f.enc = hpack.NewEncoder(&f.block)
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := f.frame.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return f
}

func (f *flooder) headers(extra ...hpack.HeaderField) []byte {
	f.block.Reset()
	for _, h := range append([]hpack.HeaderField{
		{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "a.mcp.example"}, {Name: ":path", Value: "/mcp"},
	}, extra...) {
		_ = f.enc.WriteField(h)
	}
	return f.block.Bytes()
}

// Each is written for as long as the connection takes it, at most the given times. Meanwhile and afterwards others are
// served, and no memory stays behind.
func TestFloodsOfFrames(t *testing.T) {
	t.Parallel()
	floods := map[string]struct {
		times int
		write func(f *flooder, i int) error
		cut   bool // the connection does not outlive it
	}{
		"rapid reset": {6_000, func(f *flooder, i int) error {
			id := uint32(2*i + 1)
			if err := f.frame.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: f.headers(), EndStream: true, EndHeaders: true}); err != nil {
				return err
			}
			return f.frame.WriteRSTStream(id, http2.ErrCodeCancel)
		}, false},
		"CONTINUATION without end": {5_000, func(f *flooder, i int) error {
			if i == 0 {
				return f.frame.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.headers()})
			}
			f.block.Reset()
			_ = f.enc.WriteField(hpack.HeaderField{Name: fmt.Sprintf("x-%d", i), Value: string(bytes.Repeat([]byte("y"), 1000)), Sensitive: true})
			return f.frame.WriteContinuation(1, false, f.block.Bytes())
		}, true},
		"pings":    {20_000, func(f *flooder, _ int) error { return f.frame.WritePing(false, [8]byte{}) }, false},
		"settings": {20_000, func(f *flooder, _ int) error { return f.frame.WriteSettings() }, false},
		"more streams than allowed": {2_000, func(f *flooder, i int) error {
			return f.frame.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: f.headers(hpack.HeaderField{Name: "content-length", Value: "9"}), EndHeaders: true})
		}, false},
		"a header list that is too long": {1, func(f *flooder, i int) error {
			fields := make([]hpack.HeaderField, 30)
			for n := range fields {
				fields[n] = hpack.HeaderField{Name: fmt.Sprintf("x-%d", n), Value: string(bytes.Repeat([]byte("y"), 10_000))}
			}
			block := f.headers(fields...)
			if err := f.frame.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:10_000], EndStream: true}); err != nil {
				return err
			}
			for block = block[10_000:]; len(block) > 0; {
				n := min(len(block), 16_000)
				if err := f.frame.WriteContinuation(1, n == len(block), block[:n]); err != nil {
					return err
				}
				block = block[n:]
			}
			return nil
		}, false},
	}
	d := newDoor(t, nil)
	other := d.client(t, "a.mcp.example", true)
	served := func(when string) {
		t.Helper()
		res, err := other.Get("https://a.mcp.example/")
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s another client: %v %v", when, res, err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
	served("before")
	before := heap()
	for name, fl := range floods {
		f := flood(t, d)
		var err error
		n := 0
		for ; n < fl.times && err == nil; n++ {
			if err = fl.write(f, n); n == fl.times/2 {
				served("during " + name)
			}
		}
		if fl.cut {
			select {
			case <-f.ended:
			case <-time.After(20 * time.Second):
				t.Errorf("%s: the connection lives after %d times", name, n)
			}
		}
		_ = f.conn.Close()
		served("after " + name)
	}
	if grown := heap() - before; grown > 32<<20 {
		t.Errorf("%d MiB stayed behind", grown>>20)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}
