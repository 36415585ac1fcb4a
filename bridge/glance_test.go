package bridge

import (
	"testing"
	"testing/synctest"
	"time"
)

// A call is told to look about after one to two glances, once, unless so much waits for it that it does so anyway.
func TestGlance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pending{calls: map[uint64]*waiter{}}
		begin := func(fresh bool, waiting int) *waiter {
			w := p.waiter()
			w.fresh = fresh
			for range waiting {
				w.frames <- p.frame()
			}
			if err := p.add(w); err != nil {
				t.Fatal(err)
			}
			return w
		}
		looks := func(w *waiter) (n int) {
			for len(w.frames) > 0 {
				if f := <-w.frames; f.kind == frameLook {
					n++
				}
			}
			return n
		}
		first, full, stale := begin(true, 0), begin(true, queued-1), begin(false, 0)
		time.Sleep(glance / 2) // all of this in a bubble's time
		answered := begin(true, 0)
		time.Sleep(glance)
		synctest.Wait()
		second := begin(true, 0)
		p.remove(answered)
		if n := len(first.frames); n != 0 {
			t.Errorf("after one glance there are %d frames", n)
		}
		time.Sleep(glance)
		synctest.Wait()
		if n := len(second.frames); n != 0 {
			t.Errorf("one that has seen one glance has %d frames", n)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		for name, tt := range map[string]struct {
			w    *waiter
			want int
		}{"first": {first, 1}, "second": {second, 1}, "full": {full, 0}, "not fresh": {stale, 0}, "answered": {answered, 0}} {
			if got := looks(tt.w); got != tt.want {
				t.Errorf("%s was told %d times to look about, want %d", name, got, tt.want)
			}
		}
		if p.glancing {
			t.Error("there is another glance, for nobody")
		}
		last := begin(true, 0)
		time.Sleep(2 * glance)
		synctest.Wait()
		if looks(last) != 1 {
			t.Error("after a pause nobody is told any more")
		}
	})
}
