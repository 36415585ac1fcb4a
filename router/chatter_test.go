package router

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// abroad is a socket whose connections come from elsewhere, each from an address of its own.
type abroad struct {
	net.Listener
	next netip.Addr
	read sync.Map // by address: *atomic.Int64, the bytes that were read
}

// overheard counts what is read from it.
type overheard struct {
	pretender
	n *atomic.Int64
}

func (o *overheard) Read(p []byte) (int, error) {
	n, err := o.pretender.Read(p)
	o.n.Add(int64(n))
	return n, err
}

func (a *abroad) Accept() (net.Conn, error) {
	c, err := a.Listener.Accept()
	if err != nil {
		return nil, err
	}
	a.next = a.next.Next()
	n := &atomic.Int64{}
	a.read.Store(a.next, n)
	return &overheard{pretender{c, net.TCPAddrFromAddrPort(netip.AddrPortFrom(a.next, 1))}, n}, nil
}

func newDoorAbroad(t *testing.T, chatter int) (*door, *abroad) {
	t.Helper()
	s, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	from := &abroad{Listener: s, next: netip.MustParseAddr("192.0.2.0")}
	return newDoorOn(t, []net.Listener{from}, func(c *Config, o *Options) {
		c.HTTPS, c.Limits.Chatter = s.Addr().String(), chatter
	}), from
}

// A flood is read no faster than its address may chatter; others are served meanwhile.
func TestFloodsAreReadSlowly(t *testing.T) {
	t.Parallel()
	const perSecond = 64 << 10
	for name, write := range map[string]func(f *http2.Framer, block []byte, i uint32){
		"ping": func(f *http2.Framer, _ []byte, _ uint32) { _ = f.WritePing(false, [8]byte{1}) },
		"settings": func(f *http2.Framer, _ []byte, _ uint32) {
			_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 16})
		},
		"rapid reset": func(f *http2.Framer, block []byte, i uint32) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: block, EndStream: true, EndHeaders: true})
			_ = f.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, from := newDoorAbroad(t, perSecond)
			begun := time.Now()
			f := flood(t, d)
			var packed bytes.Buffer // many in one record, as a flooder would
			pack := http2.NewFramer(&packed, nil)
			_ = f.conn.SetWriteDeadline(begun.Add(2 * time.Second))
			for i := uint32(0); time.Since(begun) < 2*time.Second; {
				for packed.Reset(); packed.Len() < 8<<10; i++ {
					write(pack, f.headers(), i)
				}
				if _, err := f.conn.Write(packed.Bytes()); err != nil {
					break // it has to wait for too long
				}
			}
			res, err := d.client(t, "a.mcp.example", true).Get("https://a.mcp.example/")
			if err != nil || res.StatusCode != http.StatusOK {
				t.Fatalf("another client: %v %v", res, err)
			}
			_ = res.Body.Close()
			v, _ := from.read.Load(netip.MustParseAddr("192.0.2.1"))
			n, took := v.(*atomic.Int64).Load(), time.Since(begun)
			if most := perSecond * (2 + int64(took/time.Second)); n < 4<<10 || n > most {
				t.Errorf("%d bytes were read in %v, want at most %d", n, took, most)
			}
		})
	}
}

// What calls send is no chatter, however much it is.
func TestCallsAreNoChatter(t *testing.T) {
	t.Parallel()
	d, _ := newDoorAbroad(t, 64<<10) // 8 MB would take two minutes
	for _, h2 := range []bool{false, true} {
		req, err := http.NewRequest(http.MethodPost, "https://a.mcp.example/mcp", bytes.NewReader(make([]byte, 8<<20)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer good-a")
		res, err := d.client(t, "a.mcp.example", h2).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("HTTP/2 %v: %s %s", h2, res.Status, body)
		}
	}
}

// Who left a debt behind has it still with the next connection, and loses it in time.
func TestDebtBelongsToTheAddress(t *testing.T) {
	t.Parallel()
	owed := newTally[netip.Addr](0, 1000)
	who, now := netip.MustParseAddr("192.0.2.1"), time.Now()
	for _, tt := range []struct {
		after, want time.Duration
		n           int
	}{{0, 0, 1000}, {0, time.Second, 1000}, {0, 2 * time.Second, 1000}, {time.Second, 2 * time.Second, 1000}, {10 * time.Second, 0, 1000}, {0, 5 * time.Second, 5000}} {
		now = now.Add(tt.after)
		if got := owed.owe(who, now, tt.n); got != tt.want {
			t.Errorf("%d after %v: %v, want %v", tt.n, tt.after, got, tt.want)
		}
	}
	if got := owed.owe(who.Next(), now, 1000); got != 0 {
		t.Errorf("somebody else waits %v", got)
	}
	for range 100 {
		owed.owe(who, now, 1000)
	}
	if got := owed.owe(who, now, 1); got > maxDebt+time.Second {
		t.Errorf("a debt of %v", got)
	}
}

// A connection that waits for its turn can be closed.
func TestCloseEndsTheWait(t *testing.T) {
	t.Parallel()
	_, far := net.Pipe()
	g := newGuest(far, netip.MustParseAddr("192.0.2.1"), newTally[netip.Addr](0, 1), func() {})
	g.next = time.Now().Add(time.Hour)
	read := make(chan error, 1)
	go func() { _, err := g.Read(make([]byte, 1)); read <- err }() // ends with Close
	_ = g.Close()
	if err := <-read; err == nil {
		t.Error("it was read")
	}
}
