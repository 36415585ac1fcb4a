package router

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// What a client sends besides calls costs us time and it nothing: handshakes, requests
// that are refused, frames of HTTP/2 that ask for an answer, or for something that is
// taken back at once (CVE-2019-9512, CVE-2019-9515, CVE-2023-44487). net/http bounds the
// memory of that. Here an address has an allowance of such bytes per second. Beyond it
// nothing is refused: it is read later, and TCP makes the sender wait.
const (
	patience = time.Second // the longest wait before one read
	morsel   = 1 << 10     // bytes that are read at once where no call is known to come
	maxDebt  = 4 * patience
	inOneGo  = 8 // the part of a second's allowance that can be used at once is one of so many

	perCall  = 2 << 10 // bytes of headers and frames that a call may take
	perOther = 256     // bytes of allowance that any other request costs besides its own
	perByte  = 64      // bytes of an answer that a byte of its acknowledgement goes with
	maxDue   = 1 << 20 // what one connection can have in hand: as much as HTTP/2 takes in before a handler reads
)

// guest is a connection from elsewhere: it is counted until it is closed, and what it
// sends besides calls is bounded.
type guest struct {
	net.Conn
	key     netip.Addr
	chatter *tally[netip.Addr] // nil: no limit
	next    time.Time          // when to read again; the reader's
	due     atomic.Int64       // bytes that are no chatter
	gone    chan struct{}      // closed by Close
	left    func()
}

// newChatter returns nil where it has no limit.
func newChatter(perSecond int) *tally[netip.Addr] {
	t := newTally[netip.Addr](0, perSecond)
	if t != nil {
		t.once = max(1, perSecond/inOneGo)
	}
	return t
}

func newGuest(c net.Conn, key netip.Addr, chatter *tally[netip.Addr], left func()) *guest {
	g := &guest{Conn: c, key: key, chatter: chatter, gone: make(chan struct{})}
	g.left = sync.OnceFunc(func() { close(g.gone); left() })
	return g
}

func (g *guest) Close() error {
	g.left()
	return g.Conn.Close()
}

// Read waits where the address has used up its allowance.
func (g *guest) Read(p []byte) (int, error) {
	if !g.next.IsZero() {
		select {
		case <-time.After(min(time.Until(g.next), patience)):
		case <-g.gone:
			return 0, net.ErrClosed
		}
		g.next = time.Time{}
	}
	if g.chatter == nil {
		return g.Conn.Read(p)
	}
	if g.due.Load() <= 0 {
		p = p[:min(len(p), morsel)]
	}
	n, err := g.Conn.Read(p)
	if n <= 0 {
		return n, err
	}
	known := min(int64(n), g.due.Load()) // others only add
	g.due.Add(-known)
	if rest := n - int(known); rest > 0 {
		now := time.Now()
		if wait := g.chatter.owe(g.key, now, rest); wait > 0 {
			g.next = now.Add(wait)
		}
	}
	return n, err
}

// Write lets the client acknowledge what it is sent.
func (g *guest) Write(p []byte) (int, error) {
	n, err := g.Conn.Write(p)
	g.expect(n / perByte)
	return n, err
}

// expect tells that so many bytes from the client are no chatter. It may be called at
// any time, also on a nil guest.
func (g *guest) expect(n int) {
	if g != nil && n > 0 && g.due.Load() < maxDue {
		g.due.Add(int64(n))
	}
}

// charge is for a request that is no call: what it costs has little to do with its size.
// It may be called at any time, also on a nil guest.
func (g *guest) charge() {
	if g != nil {
		g.chatter.owe(g.key, time.Now(), perOther) // the next read waits
	}
}

// owe takes n from what a key may have per second, and returns how long it takes until
// that is made up for.
func (t *tally[K]) owe(key K, now time.Time, n int) time.Duration {
	p := t.shard(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	bucket := t.account(p, key, now).bucket
	for {
		part := min(n, t.once)
		r := bucket.ReserveN(now, part)
		wait := r.DelayFrom(now)
		if wait > maxDebt { // who is forgiven has a bound; who is not would wait for ever after a flood
			r.CancelAt(now)
			return wait
		}
		if n -= part; n == 0 {
			return wait
		}
	}
}
