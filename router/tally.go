package router

import (
	"hash/maphash"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// tally bounds what each of many keys does: how much at once, and how often. The keys
// are spread over shards, so that requests of different clients seldom meet at a lock.
type tally[K comparable] struct {
	most int        // at once; 0: no limit
	rate rate.Limit // per second; 0: no limit
	once int        // in one go
	keep int        // keys remembered per shard
	seed maphash.Seed
	part [32]shard[K]
}

type shard[K comparable] struct {
	mu   sync.Mutex
	keys map[K]*account
}

// account is what is known of one key, guarded by its shard's mutex.
type account struct {
	open   int
	bucket *rate.Limiter // nil: the rate has no limit
}

// newTally returns nil where nothing is limited: a nil tally lets everything through.
func newTally[K comparable](most, perSecond int) *tally[K] {
	if most == 0 && perSecond == 0 {
		return nil
	}
	t := &tally[K]{most: most, rate: rate.Limit(perSecond), once: perSecond, keep: 1024, seed: maphash.MakeSeed()}
	for i := range t.part {
		t.part[i].keys = make(map[K]*account)
	}
	return t
}

// enter takes one up. Where the key has had its share it returns the time after which
// it is worth trying again, and nothing was taken; otherwise leave must follow.
func (t *tally[K]) enter(key K, now time.Time) (wait time.Duration, ok bool) {
	if t == nil {
		return 0, true
	}
	p := t.shard(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	a := t.account(p, key, now)
	if t.most > 0 && a.open >= t.most {
		return time.Second, false // nobody knows when one of them ends
	}
	if a.bucket != nil && !a.bucket.AllowN(now, 1) {
		missing := 1 - a.bucket.TokensAt(now)
		return time.Duration(missing / float64(t.rate) * float64(time.Second)), false
	}
	if t.most > 0 {
		a.open++
	}
	return 0, true
}

// account finds what is known of a key, or begins with it. The shard is locked.
func (t *tally[K]) account(p *shard[K], key K, now time.Time) *account {
	a := p.keys[key]
	if a == nil {
		t.room(p, now)
		a = &account{}
		if t.rate > 0 {
			a.bucket = rate.NewLimiter(t.rate, t.once)
		}
		p.keys[key] = a
	}
	return a
}

// leave gives back what enter took.
func (t *tally[K]) leave(key K) {
	if t == nil || t.most == 0 {
		return
	}
	p := t.shard(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.keys[key]; a != nil && a.open > 0 {
		if a.open--; a.open == 0 && a.bucket == nil {
			delete(p.keys, key)
		}
	}
}

func (t *tally[K]) shard(key K) *shard[K] {
	return &t.part[maphash.Comparable(t.seed, key)%uint64(len(t.part))]
}

// room bounds the map. Who has nothing open and its whole share again is as good as
// unknown and goes first. If that is not enough some others with nothing open go:
// forgetting gives them a new share, remembering without bound would take all memory.
// What is open is bounded by the connections there are.
func (t *tally[K]) room(p *shard[K], now time.Time) {
	if len(p.keys) < t.keep {
		return
	}
	for k, a := range p.keys {
		if a.open == 0 && (a.bucket == nil || a.bucket.TokensAt(now) >= float64(t.once)) {
			delete(p.keys, k)
		}
	}
	for k, a := range p.keys {
		if len(p.keys) < t.keep*15/16 {
			return
		}
		if a.open == 0 {
			delete(p.keys, k)
		}
	}
}

// subscriber is what an address is counted by: the address of IPv4, or the /64 of IPv6
// that one subscriber has. ok is false for the loopback interface, which has no limits:
// there are this machine's own programs, or all the clients of a proxy that
// trusted_proxies does not name.
func subscriber(a netip.Addr) (key netip.Addr, ok bool) {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || a.IsLoopback() {
		return netip.Addr{}, false
	}
	if a.Is6() {
		a = netip.PrefixFrom(a, 64).Masked().Addr()
	}
	return a, true
}

// admitAddress counts a request for the address it came from.
func (r *Router) admitAddress(x *exchange) error {
	if r.addresses == nil || !x.client.remote {
		return nil
	}
	wait, ok := r.addresses.enter(x.client.key, x.rec.Time)
	if !ok {
		return tooMany(x, wait, "too many requests from your address")
	}
	x.client.counted = true
	return nil
}

// admitPerson does so for who has signed in.
func (r *Router) admitPerson(x *exchange) error {
	if r.people == nil || !x.client.remote {
		return nil
	}
	if wait, ok := r.people.enter(x.held.ID, x.rec.Time); !ok {
		return tooMany(x, wait, "too many requests of yours")
	}
	return nil
}

// tooMany is 429 with the time after which to come back (RFC 6585 §4).
func tooMany(x *exchange, wait time.Duration, what string) error {
	seconds := strconv.Itoa(max(1, int(math.Ceil(wait.Seconds()))))
	x.Header().Set("Retry-After", seconds)
	return refuse(http.StatusTooManyRequests, what+": try again in "+seconds+" s")
}
