package supervisor

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// spreading applies one server whose keys may have several workers. held is what is said of each of its connections.
func (f *fakes) spreading(s Spec, held func(*fakeConn) (calls, held int)) {
	f.t.Helper()
	if _, err := f.Apply(f.t.Context(), []Entry[*fakeConn]{{Spec: s, Open: openFake, Held: held}}); err != nil {
		f.t.Fatal(err)
	}
}

// Three calls wait for the first: the worker gets four others, and who comes next finds a free one.
func TestHeldCallsGetCompany(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, func(order, int) behaviour { return behaviour{readyAfter: time.Second} })
		defer f.close()
		var first *fakeConn
		f.spreading(spec(t, "a", func(c *Config) { c.Workers.Max = 8 }), func(c *fakeConn) (int, int) {
			if c == first {
				return 4, 3
			}
			return 1, 0
		})
		conn, release := f.acquire("a", "")
		release()
		time.Sleep(time.Minute)
		first = conn
		for range 4 {
			c, release := f.acquire("a", "")
			defer release()
			if c != first {
				t.Fatal("a call waits for a worker to start although there is one")
			}
		}
		synctest.Wait()
		if n := len(f.status("a").Workers); n != 1 {
			t.Fatalf("%d workers before it was seen that calls wait", n)
		}
		time.Sleep(10 * patience)
		if n := len(f.status("a").Workers); n != 5 {
			t.Fatalf("%d workers, want 5", n)
		}
		time.Sleep(2 * time.Second)
		for range 4 {
			c, release := f.acquire("a", "")
			defer release()
			if c == first {
				t.Error("a call goes to the worker that is busy, not to a free one")
			}
		}
		time.Sleep(time.Minute)
		if n := len(f.status("a").Workers); n != 8 {
			t.Errorf("%d workers: nobody is free and calls wait, and there may be 8", n)
		}
	})
}

// A worker that does several things at once stays alone, and is not looked at any more when calls do not meet on it.
func TestCallsThatDoNotWaitGetNoCompany(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, nil)
		defer f.close()
		var looks atomic.Int64
		var on atomic.Int64
		f.spreading(spec(t, "a", func(c *Config) { c.Workers.Max = 8 }), func(*fakeConn) (int, int) {
			looks.Add(1)
			return int(on.Load()), 0
		})
		_, first := f.acquire("a", "")
		_, second := f.acquire("a", "")
		on.Store(2)
		time.Sleep(100 * patience)
		if n := looks.Load(); n < 50 || n > 100 {
			t.Errorf("looked at %d times in %v", n, 100*patience)
		}
		first()
		second()
		on.Store(0)
		time.Sleep(10 * patience)
		looks.Store(0)
		time.Sleep(time.Hour)
		if n := looks.Load(); n != 0 {
			t.Errorf("looked at %d times in an idle hour", n)
		}
		if n := len(f.status("a").Workers); n > 1 {
			t.Errorf("%d workers", n)
		}
	})
}

func TestCompanyLeavesWhenIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, nil)
		defer f.close()
		var held atomic.Int64
		f.spreading(spec(t, "a", func(c *Config) { c.Workers = WorkersConfig{Min: 1, Max: 4, Idle: time.Minute, Queue: 1} }), func(*fakeConn) (int, int) {
			return 2, int(held.Load())
		})
		held.Store(1)
		_, release := f.acquire("a", "")
		_, second := f.acquire("a", "")
		time.Sleep(3 * patience)
		if n := len(f.status("a").Workers); n < 2 {
			t.Fatalf("%d workers", n)
		}
		held.Store(0)
		release()
		second()
		for range 5 { // one caller keeps one worker
			time.Sleep(30 * time.Second)
			_, done := f.acquire("a", "")
			done()
		}
		synctest.Wait()
		if n := len(f.status("a").Workers); n != 1 {
			t.Errorf("%d workers, of which one is needed", n)
		}
	})
}

func TestKeyKeepsOneWorker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, nil)
		defer f.close()
		f.apply(spec(t, "a"))
		_, release := f.acquire("a", "alice")
		defer release()
		time.Sleep(time.Second)
		_, second := f.acquire("a", "alice")
		defer second()
		synctest.Wait()
		if n := len(f.status("a").Workers); n != 1 {
			t.Errorf("a person's calls meet in %d workers", n)
		}
	})
}
