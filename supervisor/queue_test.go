package supervisor

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// A flood of one key fills the queue; another key gets its place in it all the same, and loses it to nobody.
func TestQueueIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, nil)
		defer f.close()
		f.apply(spec(t, "a", func(c *Config) { c.Workers.Max, c.Workers.Queue = 1, 20 }))
		_, release := f.acquire("a", "first")
		var wg sync.WaitGroup
		var busy, served atomic.Int64
		call := func(key string) error {
			_, r, err := f.pool("a").Acquire(t.Context(), key)
			if err == nil {
				r()
			}
			return err
		}
		for range 200 {
			wg.Go(func() {
				switch err := call("flood"); {
				case err == nil:
					served.Add(1)
				case errors.Is(err, ErrBusy):
					busy.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if busy.Load() != 180 {
			t.Errorf("%d calls of the flood were refused, want 180", busy.Load())
		}
		for _, key := range []string{"alice", "alice", "bob"} {
			wg.Go(func() {
				if err := call(key); err != nil {
					t.Errorf("%s: %v", key, err)
				}
			})
			synctest.Wait()
		}
		if st := f.status("a"); st.Queue != 20 || busy.Load() != 183 {
			t.Errorf("%d wait and %d of the flood were refused, want 20 and 183", st.Queue, busy.Load())
		}
		release()
		wg.Wait()
		if served.Load() != 17 {
			t.Errorf("%d calls of the flood were served, want 17", served.Load())
		}
	})
}
