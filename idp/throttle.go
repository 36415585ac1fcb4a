package idp

import (
	"math"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// throttle is a token bucket for each of a bounded number of keys: accounts, or addresses.
type throttle struct {
	every time.Duration // one more is allowed after
	burst int
	limit int // keys remembered

	mu      sync.Mutex
	buckets map[string]*rate.Limiter
}

func newThrottle(every time.Duration, burst int) *throttle {
	return &throttle{every: every, burst: burst, limit: 16_384, buckets: make(map[string]*rate.Limiter)}
}

// wait returns how long until the key may do it again; 0 when it may now. It takes nothing.
func (t *throttle) wait(key string, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	b, ok := t.buckets[key]
	if !ok {
		return 0
	}
	have := b.TokensAt(now)
	if have >= 1 {
		return 0
	}
	return time.Duration(math.Ceil((1 - have) * float64(t.every)))
}

// take uses one up, going into no debt, and reports whether there was one.
func (t *throttle) take(key string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	b, ok := t.buckets[key]
	if !ok {
		t.room(now)
		b = rate.NewLimiter(rate.Every(t.every), t.burst)
		t.buckets[key] = b
	}
	return b.AllowN(now, 1)
}

// forget gives a key all its tries back.
func (t *throttle) forget(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.buckets, key)
}

// room keeps the map bounded: buckets that are full again say nothing, and if all
// do, some go anyway; forgetting lets one more try through, remembering without bound would let all memory go.
func (t *throttle) room(now time.Time) {
	if len(t.buckets) < t.limit {
		return
	}
	for k, b := range t.buckets {
		if b.TokensAt(now) >= float64(t.burst) {
			delete(t.buckets, k)
		}
	}
	for k := range t.buckets {
		if len(t.buckets) < t.limit*15/16 {
			return
		}
		delete(t.buckets, k)
	}
}

// addressOf is what a peer is counted by: the IPv4 address, or the IPv6 /64 that one subscriber has.
// Only the connection's own address counts; headers can be written by anyone.
func addressOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a.String()
	}
	return p.String()
}
