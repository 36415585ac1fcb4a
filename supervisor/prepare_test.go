package supervisor

import (
	"context"
	"errors"
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
