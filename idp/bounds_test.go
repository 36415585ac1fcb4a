package idp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestThrottle(t *testing.T) {
	now := at(1_000_000)
	h := newThrottle(time.Second, 3)
	h.limit = 64
	for range 3 {
		if h.wait("a", now) != 0 || !h.take("a", now) {
			t.Fatal("refused before the limit")
		}
	}
	if h.take("a", now) || h.wait("a", now) != time.Second {
		t.Fatalf("not refused at the limit: wait %v", h.wait("a", now))
	}
	if !h.take("b", now) {
		t.Fatal("b pays for a")
	}
	if h.take("a", now.Add(500*time.Millisecond)) || !h.take("a", now.Add(time.Second)) {
		t.Fatal("the time is wrong")
	}
	h.forget("a")
	if !h.take("a", now) {
		t.Fatal("not forgotten")
	}
	for n := range 10_000 {
		h.take(fmt.Sprint(n), now)
	}
	if len(h.buckets) > h.limit {
		t.Fatalf("%d buckets", len(h.buckets))
	}
}

func TestAddressOf(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:1234": "192.0.2.7", "[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::/64", "[::ffff:192.0.2.7]:1": "192.0.2.7",
		"[fe80::1%eth0]:1": "fe80::/64", "@": "@", "": "",
	} {
		if got := addressOf(remote); got != want {
			t.Errorf("%q: %q, want %q", remote, got, want)
		}
	}
}

func TestPassword(t *testing.T) {
	h := newHasher(1)
	encoded, err := h.hash(t.Context(), "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(encoded, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Error(encoded)
	}
	for password, want := range map[string]bool{"correct horse": true, "correct hors": false, "": false, strings.Repeat("x", 600): false} {
		if got, err := h.check(t.Context(), encoded, password); err != nil || got != want {
			t.Errorf("%q: %v %v", password, got, err)
		}
	}
	if ok, err := h.check(t.Context(), "", ""); ok || err != nil {
		t.Error("no password is a password", err)
	}
	for _, bad := range []string{"x", "$argon2i$v=19$m=19456,t=2,p=1$AAAA$AAAA", strings.Replace(encoded, "m=19456", "m=999999999", 1), strings.Replace(encoded, "p=1", "p=0", 1)} {
		if ok, err := h.check(t.Context(), bad, "correct horse"); ok || err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

// A crowd at the door waits its turn, and is told so when that takes too long.
func TestPasswordCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHasher(1)
		if err := h.acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := h.acquire(t.Context()); !errors.Is(err, errBusy) {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		h.release()
		if err := h.acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestCache(t *testing.T) {
	c := newCache()
	one := func(n int) *held { return &held{hash: DigestOf(fmt.Sprint(n)), family: fmt.Sprint(n % 10)} }
	for n := range cacheShards * shardSize * 2 {
		c.put(one(n), 0)
	}
	total := 0
	for n := range c.shards {
		total += len(c.shards[n].tokens)
	}
	if total > cacheShards*shardSize {
		t.Fatalf("%d tokens", total)
	}
	epoch := c.epoch()
	c.drop(func(h *held) bool { return h.family == "3" })
	for n := range 1000 {
		if h := c.get(&one(n).hash); h != nil && h.family == "3" {
			t.Fatal("not dropped")
		}
	}
	late := one(3)
	c.put(late, epoch) // read before the drop, kept after it
	if c.get(&late.hash) != nil {
		t.Fatal("a revoked token came back")
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for n := range 2000 {
				h := one(n*8 + g)
				c.put(h, c.epoch())
				c.get(&h.hash)
				if n%500 == 0 {
					c.drop(func(h *held) bool { return h.family == "1" })
				}
			}
		})
	}
	wg.Wait()
}

func TestSeal(t *testing.T) {
	old, err := newSealer(randomBytes(32))
	if err != nil {
		t.Fatal(err)
	}
	young, err := newSealer(randomBytes(32))
	if err != nil {
		t.Fatal(err)
	}
	k := &keyring{}
	k.current.Store(&keys{seal: []sealer{young, old}})
	text := old.seal("a", []byte("hello"))
	if b, err := k.open("a", text); err != nil || string(b) != "hello" {
		t.Fatal(string(b), err)
	}
	for _, bad := range []string{"", "x", text[1:], text[:len(text)-2], text + "AA", strings.ToUpper(text)} {
		if _, err := k.open("a", bad); !errors.Is(err, errSeal) {
			t.Errorf("%q opened", bad)
		}
	}
	if _, err := k.open("b", text); !errors.Is(err, errSeal) {
		t.Error("opened for another purpose")
	}
	if old.tag("a", "bc") == old.tag("ab", "c") || old.tag("a") == young.tag("a") {
		t.Error("form tokens collide")
	}
}

func TestSucceed(t *testing.T) {
	a := succeed("mcpd_rt_x", []byte("salt"))
	if a != succeed("mcpd_rt_x", []byte("salt")) || a == succeed("mcpd_rt_x", []byte("pepper")) || a == succeed("mcpd_rt_y", []byte("salt")) || len(a) != 40 {
		t.Error(a)
	}
}
