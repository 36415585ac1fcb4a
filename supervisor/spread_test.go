package supervisor

import (
	"testing"
	"testing/synctest"
	"time"
)

// spreading applies one server whose keys may have several workers.
func (f *fakes) spreading(s Spec) {
	f.t.Helper()
	if _, err := f.Apply(f.t.Context(), []Entry[*fakeConn]{{Spec: s, Open: openFake, Spread: true}}); err != nil {
		f.t.Fatal(err)
	}
}

func TestSlowWorkerGetsCompany(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, func(order, int) behaviour { return behaviour{readyAfter: time.Second} })
		defer f.close()
		f.spreading(spec(t, "a", func(c *Config) { c.Workers.Max = 2 }))
		_, release := f.acquire("a", "")
		release()
		time.Sleep(time.Minute)
		first, release := f.acquire("a", "")
		defer release()

		quick, done := f.acquire("a", "")
		done()
		if quick != first || len(f.status("a").Workers) != 1 {
			t.Fatal("a second call at the same time starts a second worker")
		}
		time.Sleep(2 * slow)
		busy, done := f.acquire("a", "")
		defer done()
		if busy != first {
			t.Fatal("a call waits for a worker to start although there is one")
		}
		synctest.Wait()
		if n := len(f.status("a").Workers); n != 2 {
			t.Fatalf("%d workers: the slow one gets no company", n)
		}
		time.Sleep(2 * time.Second)
		free, giveBack := f.acquire("a", "")
		if free == first {
			t.Error("a call goes to the worker that is busy, not to the free one")
		}
		giveBack()
		again, giveBack := f.acquire("a", "")
		defer giveBack()
		if again != free {
			t.Error("a call goes to the worker that is busy, not to the one that became free")
		}
		time.Sleep(2 * slow)
		_, third := f.acquire("a", "")
		defer third()
		synctest.Wait()
		if n := len(f.status("a").Workers); n != 2 {
			t.Errorf("%d workers, at most 2", n)
		}
	})
}

func TestCompanyLeavesWhenIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, nil)
		defer f.close()
		f.spreading(spec(t, "a", func(c *Config) { c.Workers = WorkersConfig{Min: 1, Max: 4, Idle: time.Minute, Queue: 1} }))
		_, release := f.acquire("a", "")
		time.Sleep(2 * slow)
		_, second := f.acquire("a", "")
		synctest.Wait()
		if n := len(f.status("a").Workers); n != 2 {
			t.Fatalf("%d workers", n)
		}
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
