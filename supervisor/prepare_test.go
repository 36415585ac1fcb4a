package supervisor

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// What is started may take longer to find out than a worker may take to get ready.
func TestResolveHasItsOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{Resolve: func(ctx context.Context, s Spec) (Spec, error) {
			select {
			case <-time.After(5 * time.Minute):
			case <-ctx.Done():
				return s, context.Cause(ctx)
			}
			s.Args = []string{"index.js"}
			return s, nil
		}}, func(order, int) behaviour { return behaviour{readyAfter: 50 * time.Second} })
		defer f.close()
		f.apply(spec(t, "slow"), spec(t, "unwanted", func(c *Config) { c.Workers.Min = 1 }))
		synctest.Wait()
		if f.wantState("unwanted", StateStarting); f.Stop(t.Context(), "unwanted") != nil || f.status("unwanted").State != StateDisabled {
			t.Error("a server whose program is looked for cannot be stopped")
		}
		c, release := f.acquire("slow", "alice")
		defer release()
		if took := time.Since(c.child.born); took != 50*time.Second || len(c.child.spec.Args) != 1 || c.child.spec.Args[0] != "index.js" {
			t.Errorf("ready after %v, with %q", took, c.child.spec.Args)
		}
		if f.status("slow").Restarts != 0 {
			t.Error("it was not the first start")
		}
	})
}

func TestHandshakeHasItsTimeAfterResolve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{Resolve: func(_ context.Context, s Spec) (Spec, error) { time.Sleep(time.Hour); return s, nil }},
			func(order, int) behaviour { return behaviour{readyAfter: time.Hour} })
		defer f.close()
		f.apply(spec(t, "a"))
		began := time.Now()
		if err := f.refused("a", "alice"); time.Since(began) < time.Hour+time.Minute || time.Since(began) > time.Hour+2*time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestNothingToStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{Resolve: func(_ context.Context, s Spec) (Spec, error) {
			return s, errors.New("cannot trust the package")
		}}, nil)
		defer f.close()
		f.apply(spec(t, "a"))
		if err := f.refused("a", "alice"); err.Error() != "server did not start: cannot trust the package; next start in 1s" {
			t.Error(err)
		}
		if n := len(f.system.all()); n != 0 {
			t.Errorf("%d processes were started", n)
		}
	})
}

// Starts go ahead a few at a time, and one that hangs holds up the others for some seconds only.
func TestAFewStartsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{Abreast: 2}, func(o order, _ int) behaviour {
			if o.spec.Name == "hangs" {
				return behaviour{readyAfter: time.Hour}
			}
			return behaviour{readyAfter: time.Second}
		})
		defer f.close()
		warm := func(c *Config) { c.Workers.Min = 1 }
		f.apply(spec(t, "hangs", warm))
		synctest.Wait() // it is the first
		f.apply(spec(t, "hangs", warm), spec(t, "b", warm), spec(t, "c", warm), spec(t, "d", warm), spec(t, "e", warm))
		for _, want := range []int{2, 3, 4, 5} {
			synctest.Wait()
			if n := len(f.system.all()); n != want {
				t.Errorf("%d were started, want %d", n, want)
			}
			time.Sleep(time.Second)
		}
		f.apply(spec(t, "hangs", warm), spec(t, "hung", warm, func(c *Config) { c.Env = map[string]string{"A": "1"} }))
		time.Sleep(eager)
		synctest.Wait()
		if n := len(f.system.all()); n != 6 {
			t.Errorf("%d were started behind one that hangs, want 6", n)
		}
	})
}

// Many callers of one server leave room for others, and servers whose workers keep failing start one after the other.
func TestStartsLeaveRoomForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{Abreast: 4}, func(o order, _ int) behaviour {
			if o.spec.Name == "fails" || o.spec.Name == "fails-too" {
				return behaviour{readyAfter: time.Second, refuses: errors.New("no")}
			}
			return behaviour{readyAfter: time.Second}
		})
		defer f.close()
		crowd := func(c *Config) { c.Workers.Min, c.Workers.Max = 10, 10 }
		f.apply(spec(t, "crowded", crowd))
		synctest.Wait()
		if n := len(f.system.all()); n != 2 {
			t.Errorf("%d of one server are being started, want 2", n)
		}
		f.apply(spec(t, "crowded", crowd), spec(t, "b", func(c *Config) { c.Workers.Min = 1 }))
		synctest.Wait()
		if st := f.status("b"); len(f.system.all()) != 3 || st.Workers[0].PID == 0 {
			t.Errorf("%d are being started, b is %+v", len(f.system.all()), st.Workers)
		}
		time.Sleep(time.Minute)

		warm := func(c *Config) { c.Workers.Min = 1 }
		f.apply(spec(t, "fails", warm), spec(t, "fails-too", warm))
		together := 0
		for range 3000 {
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			trials := 0
			for _, c := range f.system.all() {
				if c.isAlive() && c.trial {
					trials++
				}
			}
			together = max(together, trials)
		}
		if together != 1 {
			t.Errorf("%d were on trial together, want 1", together)
		}
	})
}

// A worker that nobody waits for starts behind those that serve, until it is ready, or somebody waits, or some seconds are over.
func TestStartsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slow = 2 * time.Second
		f := newFakes(t, Options{}, func(o order, _ int) behaviour {
			if o.spec.Name == "hangs" {
				return behaviour{readyAfter: time.Hour}
			}
			return behaviour{readyAfter: slow}
		})
		defer f.close()
		look := func(name, when string, ahead, favoured bool) { // at its first worker
			t.Helper()
			synctest.Wait()
			all := f.system.all()
			i := slices.IndexFunc(all, func(c *fakeChild) bool { return c.spec.Name == name })
			if i < 0 {
				t.Errorf("%s was not started %s", name, when)
			} else if c := all[i]; c.ahead != ahead || c.favoured.Load() != favoured {
				t.Errorf("%s, %s: ahead %v and favoured %v, want %v and %v", name, when, c.ahead, c.favoured.Load(), ahead, favoured)
			}
		}
		warm := func(c *Config) { c.Workers.Min = 1 }
		none := func(c *Config) { c.Workers.Min = 0 }
		f.apply(spec(t, "spare", warm), spec(t, "taken", warm), spec(t, "hangs", warm), spec(t, "called", none), spec(t, "told", none))
		for _, name := range []string{"spare", "taken", "hangs"} {
			look(name, "at its start", true, false)
		}
		for _, name := range []string{"taken", "called"} {
			p := f.pool(name)
			go func() { // ends when the worker is ready
				if _, release, err := p.Acquire(t.Context(), "alice"); err != nil {
					t.Error(err)
				} else {
					release()
				}
			}()
		}
		go func() { _ = f.Start(t.Context(), "told") }() // likewise; what comes of it is seen
		look("taken", "when a call waits for it", true, true)
		look("called", "started for a call", false, false)
		look("told", "started for a person", false, false)
		look("spare", "while others are wanted", true, false)
		time.Sleep(slow)
		look("spare", "when it is ready", true, true)
		look("hangs", "while it may be ready soon", true, false)
		time.Sleep(eager)
		look("hangs", "after some seconds", true, true)
	})
}
