package bridge

import (
	"context"
	"encoding/hex"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// channel is a session of HTTP+SSE (MCP 2024-11-05): an event stream, and the
// address that takes what its client says. It lives as long as the stream. To
// the exchanges of the session it is the ResponseWriter, one that has begun.
type channel struct {
	http.ResponseWriter // of the stream

	s       *Server
	id      sid // random: it is in the address
	who     string
	r       *http.Request
	end     context.CancelFunc // of r's context: nobody reads the stream any more
	greeted atomic.Bool        // the client has said more than initialize

	turn   chan struct{} // holds one word while somebody writes
	broken error         // in turn

	mu      sync.Mutex
	session session
	open    int  // calls in flight
	over    bool // no call begins any more
	calls   sync.WaitGroup
}

// maxChannelCalls bounds the calls in flight on one stream: unlike those of
// other transports they hold no request of their own.
const maxChannelCalls = 64

// channelPiece is written under one deadline: a large answer may take its time.
const channelPiece = 256 << 10

// Write sends whole events, one writer at a time. A reader that takes nothing
// loses the stream, and with it the session.
func (c *channel) Write(b []byte) (int, error) {
	select {
	case c.turn <- struct{}{}:
	case <-c.r.Context().Done():
		return 0, c.r.Context().Err()
	}
	defer func() { <-c.turn }()
	rc := http.NewResponseController(c.ResponseWriter)
	for rest := b; len(rest) > 0 && c.broken == nil; {
		n := min(len(rest), channelPiece)
		_ = rc.SetWriteDeadline(time.Now().Add(c.s.writeTimeout))
		_, c.broken = c.ResponseWriter.Write(rest[:n])
		rest = rest[n:]
	}
	if c.broken == nil {
		c.broken = rc.Flush()
	}
	if c.broken != nil {
		c.end()
		return 0, c.broken
	}
	return len(b), nil
}

// FlushError has nothing to do: every Write flushes.
func (c *channel) FlushError() error { return nil }

// SetWriteDeadline has nothing to do: every Write has its own, and lifting it
// would be lifting another's.
func (c *channel) SetWriteDeadline(time.Time) error { return nil }

// introduce opens the session of a client that has said who it is.
func (c *channel) introduce(v *session) {
	v.info, v.caps = append([]byte(nil), v.info...), append([]byte(nil), v.caps...)
	v.bound()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = *v
}

func (c *channel) now() session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// begin makes a call on a goroutine of its own, which ends with the call and at
// the latest with the stream; finish waits for it.
func (c *channel) begin(y *exchange) *fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.over:
		return errNoChannel
	case c.open == maxChannelCalls:
		return errChannelBusy
	}
	c.open++
	c.calls.Go(func() {
		y.element(c.r.Context())
		y.free()
		c.mu.Lock()
		c.open--
		c.mu.Unlock()
	})
	return nil
}

// finish lets no call begin and waits for those in flight. They end at once when
// the stream is lost; when the server closes, they have the time that it gives.
func (c *channel) finish() {
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	c.calls.Wait()
	_ = http.NewResponseController(c.ResponseWriter).SetWriteDeadline(time.Time{}) // the connection serves other requests next
}

// channels are those of a server, by the id in their address. There is one per
// open stream, which watch bounds.
type channels struct {
	mu   sync.Mutex
	open map[sid]*channel
}

func (h *channels) add(c *channel) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open == nil {
		h.open = map[sid]*channel{}
	}
	h.open[c.id] = c
}

func (h *channels) remove(c *channel) {
	h.mu.Lock()
	delete(h.open, c.id)
	h.mu.Unlock()
}

// find returns the channel at an address if it is this person's, else nil.
func (h *channels) find(address, who string) *channel {
	raw, err := hex.DecodeString(address)
	if err != nil || len(raw) != len(sid{}) {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.open[sid(raw)]; c != nil && c.who == who {
		return c
	}
	return nil
}
