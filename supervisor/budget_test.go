package supervisor

import (
	"context"
	"errors"
	"slices"
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

// Servers get what becomes free in the order in which they began to wait, whichever part of the budget is used up; a worker that is
// only to be ready for later comes after the calls of its second, and before those after.
func TestBudgetIsALine(t *testing.T) {
	for _, tt := range []struct {
		budget BudgetConfig
		min    int // of the server that nobody calls
		want   string
	}{
		{BudgetConfig{Workers: 1}, 0, "first a b c d e f g h i j"},
		{BudgetConfig{Workers: 100, Starts: 1}, 1, "first a b c d kept e f g h i j"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFakes(t, Options{Budget: tt.budget}, nil)
			defer f.close()
			specs := []Spec{spec(t, "first")}
			for i := range 10 {
				specs = append(specs, spec(t, string(rune('a'+i))))
			}
			f.apply(specs...)
			_, done := f.acquire("first", "")
			f.apply(append(slices.Clone(specs), spec(t, "kept", func(c *Config) { c.Workers.Min = tt.min }))...)
			var all sync.WaitGroup
			for _, s := range specs[1:] {
				if s.Name == "e" {
					time.Sleep(time.Second)
				}
				all.Go(func() {
					_, release, err := f.pool(s.Name).Acquire(t.Context(), "")
					if err != nil {
						t.Error(err)
						return
					}
					time.Sleep(time.Second)
					release()
				})
				time.Sleep(time.Millisecond)
			}
			done()
			all.Wait()
			var got []string
			for _, c := range f.system.all() {
				got = append(got, c.spec.Name)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("started were %s, want %s", got, tt.want)
			}
		})
	}
}

// A server that waits says so, and whoever asked for its start is told in the end.
func TestBudgetIsUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{Budget: BudgetConfig{Workers: 1}}, nil)
		defer f.close()
		f.apply(spec(t, "a"), spec(t, "b", func(c *Config) { c.Timeouts.Start = time.Minute }))
		_, done := f.acquire("a", "")
		began := time.Now()
		failed := make(chan error, 1)
		go func() { failed <- f.Start(t.Context(), "b") }() // ends below
		synctest.Wait()
		if st := f.status("b"); st.State != StateStarting || st.Reason != "waiting to start: 1 worker processes run already, the most this mcpd may have" {
			t.Errorf("it is %s: %s", st.State, st.Reason)
		}
		if err := <-failed; !errors.Is(err, ErrBusy) || time.Since(began) < time.Minute || time.Since(began) > 2*time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		done()
		if err := f.Start(t.Context(), "b"); err != nil {
			t.Error(err)
		}
	})
}

// Who gives up waiting, or is not there any more, is in nobody's way.
func TestBudgetLineIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{Budget: BudgetConfig{Workers: 1}}, nil)
		defer f.close()
		a, b, c, d := spec(t, "a"), spec(t, "b"), spec(t, "c"), spec(t, "d")
		f.apply(a, b, c, d)
		_, done := f.acquire("a", "")
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for _, name := range []string{"b", "c"} {
			all.Go(func() {
				if _, _, err := f.pool(name).Acquire(ctx, ""); err == nil {
					t.Errorf("%s got a worker", name)
				}
			})
			synctest.Wait()
		}
		all.Go(func() {
			began := time.Now()
			_, release := f.acquire("d", "")
			release()
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("it took %v", took)
			}
		})
		synctest.Wait()
		if n := len(f.o.budget.waiting); n != 3 {
			t.Errorf("%d wait", n)
		}
		f.apply(a, c, d)
		cancel()
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(f.o.budget.waiting); n != 1 {
			t.Errorf("%d still wait", n)
		}
		done()
		all.Wait()
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
