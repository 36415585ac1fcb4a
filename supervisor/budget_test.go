package supervisor

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The worker that has been idle longest makes room, whosever it is; what is kept ready and what is busy stays.
func TestBudgetOfWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{Budget: BudgetConfig{Workers: 4}}, nil)
		defer f.close()
		f.apply(spec(t, "a"), spec(t, "b"), spec(t, "kept", func(c *Config) { c.Workers.Min = 1 }), spec(t, "c"), spec(t, "d"))
		synctest.Wait()
		_, busy := f.acquire("c", "alice")
		older, release := f.acquire("b", "alice")
		release()
		time.Sleep(time.Second)
		newer, release := f.acquire("a", "alice")
		release()
		began := time.Now()
		_, release = f.acquire("d", "alice")
		if older.child.isAlive() || !newer.child.isAlive() || time.Since(began) > time.Second {
			t.Errorf("the older lives: %v; the newer: %v; it took %v", older.child.isAlive(), newer.child.isAlive(), time.Since(began))
		}
		_, second := f.acquire("b", "alice") // in the place of a's
		began = time.Now()
		if err := f.refused("a", "alice"); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "4 worker processes") || time.Since(began) != time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		time.AfterFunc(5*time.Second, busy)
		_, third := f.acquire("a", "alice")
		for _, r := range []func(){release, second, third} {
			r()
		}
		if st := f.status("kept"); st.State != StateReady {
			t.Errorf("kept is %s", st.State)
		}
	})
}

func TestBudgetOfStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{Budget: BudgetConfig{Workers: 100, Starts: 2}}, nil)
		defer f.close()
		f.apply(spec(t, "a"), spec(t, "b"), spec(t, "c"), spec(t, "d"), spec(t, "e"), spec(t, "f"))
		began := time.Now()
		var all sync.WaitGroup
		for name := range f.list() {
			all.Go(func() {
				_, release, err := f.pool(name).Acquire(context.Background(), "alice")
				if err != nil {
					t.Error(err)
					return
				}
				release()
			})
		}
		all.Wait()
		if took := time.Since(began); took < 1900*time.Millisecond || took > 3*time.Second {
			t.Errorf("six starts of two a second took %v", took)
		}
	})
}

func TestBudgetOfMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{Budget: BudgetConfig{Workers: 100, Memory: 250}}, nil)
		f.system.weigh(100)
		defer f.close()
		f.apply(spec(t, "a"), spec(t, "b"), spec(t, "c"), spec(t, "d"))
		a, release := f.acquire("a", "alice")
		release()
		time.Sleep(time.Second)
		b, keep := f.acquire("b", "alice")
		c, release := f.acquire("c", "alice")
		release()
		time.Sleep(2 * lookAtMemory)
		if a.child.isAlive() || !b.child.isAlive() || !c.child.isAlive() {
			t.Errorf("alive: %v %v %v, want only the longest idle gone", a.child.isAlive(), b.child.isAlive(), c.child.isAlive())
		}
		f.system.weigh(200)
		_, hold := f.acquire("c", "alice")
		time.Sleep(2 * lookAtMemory)
		if err := f.refused("d", "alice"); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "memory") {
			t.Error(err)
		}
		if !b.child.isAlive() || !c.child.isAlive() {
			t.Error("a busy worker was ended")
		}
		keep()
		hold()
	})
}

func TestBudgetConfig(t *testing.T) {
	err := BudgetConfig{Memory: -1, Starts: -1}.Validate()
	if err == nil || strings.Count(err.Error(), "\n") != 2 || DefaultBudget().Validate() != nil {
		t.Error(err)
	}
}
