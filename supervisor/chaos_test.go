package supervisor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Many callers of many keys, while workers are killed, servers are changed and stopped: no caller
// ever shares a worker with another key, waits for ever or gets a worker that it was told is dead;
// never are there more workers than allowed; at the end nothing is left.
func TestChaos(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { chaos(t, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

func chaos(t *testing.T, random *rand.Rand) {
	var mu sync.Mutex
	chance := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(n)
	}
	span := func(most time.Duration) time.Duration { return time.Duration(chance(int(most))) }
	f := newFakes(t, Options{}, func(order, int) behaviour {
		b := behaviour{readyAfter: span(3 * time.Second), exitAfter: span(3 * time.Second)}
		switch chance(6) {
		case 0:
			b.crashAfter = 1 + span(10*time.Second)
		case 1:
			b.deafer = true
		case 2:
			b.refuses = errors.New("no")
		}
		return b
	})
	version := 0
	apply := func() {
		f.apply(spec(t, "a", func(c *Config) {
			c.Workers = WorkersConfig{Min: chance(2), Max: 3, Idle: time.Minute, Queue: 8}
			c.Args = []string{fmt.Sprint(version)}
			c.Disabled = chance(10) == 0
		}))
	}
	apply()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	owners := sync.Map{} // *fakeConn → key
	var served, refused atomic.Int64
	var callers sync.WaitGroup
	for i := range 12 {
		key := fmt.Sprint("user", i%6)
		callers.Go(func() {
			for ctx.Err() == nil {
				patience, enough := context.WithTimeout(ctx, span(20*time.Second))
				c, release, err := f.pool("a").Acquire(patience, key)
				enough()
				if err == nil {
					if owner, _ := owners.LoadOrStore(c, key); owner != key {
						t.Errorf("%s got the worker of %s", key, owner)
					}
					served.Add(1)
					time.Sleep(span(5 * time.Second))
					release()
				} else if refused.Add(1); !errors.Is(err, ErrBusy) && !errors.Is(err, ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: %v", key, err)
				}
				time.Sleep(span(time.Second))
			}
		})
	}
	for ctx.Err() == nil {
		time.Sleep(span(10 * time.Second))
		switch chance(8) {
		case 0:
			version++
			apply()
		case 1:
			whose := fmt.Sprint("user", chance(6))
			f.StopKeys(func(_, k string) bool { return k == whose })
		case 2:
			_ = f.Stop(ctx, "a")
			_ = f.Start(ctx, "a")
		case 3:
			_ = f.Restart(ctx, "a")
		default:
			if all := f.system.all(); len(all) > 0 {
				all[chance(len(all))].exit("killed by signal 9 (killed)")
			}
		}
		checkInvariants(t, f.status("a"))
	}
	callers.Wait()
	if err := f.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if n := f.system.alive(); n != 0 {
		t.Errorf("%d children are left", n)
	}
	if n := f.o.budget.taken; n != 0 {
		t.Errorf("%d places are taken", n)
	}
	if served.Load() == 0 {
		t.Error("nobody was served")
	}
	t.Logf("%d served, %d refused, %d children", served.Load(), refused.Load(), len(f.system.all()))
}

func checkInvariants(t *testing.T, st ServerStatus) {
	t.Helper()
	running := map[string]int{}
	n := 0
	for _, w := range st.Workers {
		if w.State == StateReady || w.State == StateStarting {
			n++
			if w.Key != "" {
				running[w.Key]++
			}
		}
		if w.Active < 0 {
			t.Errorf("%d calls on a worker", w.Active)
		}
	}
	// Those of a generation before serve, while they are relieved, beside the new.
	if n > 2*st.Max || st.Queue > 8 || st.Reason == "" {
		t.Errorf("%+v", st)
	}
	for key, n := range running {
		if n > 2 {
			t.Errorf("%d workers for %s", n, key)
		}
	}
}
