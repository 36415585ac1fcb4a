package idp_test

import (
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestLoad signs many people in at once, each in a browser of their own, and then has all their clients refresh for some
// seconds. Nothing may fail; how fast it was is for people to read. It loads the machine, so MCPD_TEST_LOAD asks for it.
func TestLoad(t *testing.T) {
	if os.Getenv("MCPD_TEST_LOAD") == "" {
		t.Skip("loads the machine; set MCPD_TEST_LOAD=10s for ten seconds of refreshes")
	}
	span, err := time.ParseDuration(os.Getenv("MCPD_TEST_LOAD"))
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t)
	a := h.registered(loopback)
	const many = 200
	people := make([]*person, many)
	for n := range people {
		people[n] = h.user("user" + string(rune('a'+n%26)) + time.Duration(n).String())
	}
	begin := time.Now()
	got := make([]tokens, many)
	var all sync.WaitGroup
	for n, p := range people {
		all.Go(func() { // ends with the sign-in
			p.signIn()
			got[n] = a.redeem(a.code(p, nil), nil).wants(h, 200, "")
		})
	}
	all.Wait()
	t.Logf("%d sign-ins at once: %s", many, time.Since(begin).Round(time.Millisecond))
	if t.Failed() {
		return
	}
	var count atomic.Int64
	h.programs = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: many}}
	begin = time.Now()
	for n := range got {
		all.Go(func() { // ends when the time is over
			for time.Since(begin) < span {
				next := a.refresh(got[n].Refresh, nil)
				if next.status != 200 {
					t.Errorf("refresh: %d %s %s", next.status, next.Error, next.Text)
					return
				}
				got[n] = next
				count.Add(1)
			}
		})
	}
	all.Wait()
	t.Logf("%d refreshes by %d clients in %s: %.0f/s", count.Load(), many, span, float64(count.Load())/time.Since(begin).Seconds())
}
