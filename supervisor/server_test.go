package supervisor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestLazyStartAndIdleStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, func(order, int) behaviour { return behaviour{readyAfter: time.Second} })
		defer f.close()
		f.apply(spec(t, "a"))
		synctest.Wait()
		f.wantState("a", StateIdle)
		if n := len(f.system.all()); n != 0 {
			t.Fatalf("%d children before the first call", n)
		}
		begin := time.Now()
		_, release := f.acquire("a", "alice")
		if d := time.Since(begin); d != time.Second {
			t.Errorf("first call waited %v", d)
		}
		f.wantState("a", StateReady)

		time.Sleep(time.Hour) // a call is on it
		f.wantState("a", StateReady)
		release()
		release() // does nothing
		time.Sleep(15*time.Minute - time.Second)
		f.wantState("a", StateReady)
		time.Sleep(15*time.Minute + 2*time.Second) // the timer was armed while the call was on
		f.wantState("a", StateIdle)
		if n := f.system.alive(); n != 0 {
			t.Errorf("%d children after idle stop", n)
		}
		if st := f.status("a"); st.Restarts != 0 || st.Calls != 1 {
			t.Errorf("restarts %d, calls %d", st.Restarts, st.Calls)
		}
	})
}

func TestManyCallersShareOneStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, func(order, int) behaviour { return behaviour{readyAfter: time.Second} })
		defer f.close()
		f.apply(spec(t, "a"))
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				_, release := f.acquire("a", "alice")
				defer release()
				time.Sleep(time.Second)
			})
		}
		wg.Wait()
		if n := len(f.system.all()); n != 1 {
			t.Errorf("%d children for one key", n)
		}
	})
}

func TestStartFailureIsToldToAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, func(order, int) behaviour {
			return behaviour{readyAfter: time.Minute, crashAfter: time.Second, words: "no API key"}
		})
		defer f.close()
		f.apply(spec(t, "a"))
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				err := f.refused("a", "alice")
				want := "server did not start: exited with code 1: no API key; next start in 1s"
				if err.Error() != want || !errors.Is(err, ErrUnavailable) {
					t.Errorf("got %q\nwant %q", err, want)
				}
			})
		}
		wg.Wait()
		f.wantState("a", StateBackoff)
	})
}

func TestBackoffGrowsAndNamesTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, func(_ order, n int) behaviour {
			if n < 6 {
				return behaviour{readyAfter: time.Minute, crashAfter: time.Millisecond}
			}
			return behaviour{}
		})
		defer f.close()
		f.apply(spec(t, "a"))
		for _, pause := range []time.Duration{1, 2, 4, 8, 16, 32} {
			err := f.refused("a", "alice")
			var u *Unavailable
			if !errors.As(err, &u) || u.RetryAfter != pause*time.Second {
				t.Fatalf("want a pause of %ds, got %v", pause, err)
			}
			if err2 := f.refused("a", "bob"); err2.Error() != err.Error() {
				t.Errorf("another caller reads %q", err2) // at once, no time has passed
			}
			time.Sleep(u.RetryAfter)
			synctest.Wait()
			if pause == 32 {
				if !strings.HasPrefix(err.Error(), "server is crash-looping: 6 exits in 32s; last: exited with code 1; next start in 32s") {
					t.Errorf("crash loop reads %q", err)
				}
			}
		}
		f.wantState("a", StateIdle)
		_, release := f.acquire("a", "alice")
		release()
		if st := f.status("a"); st.Restarts != 6 || st.RestartsHour != 6 {
			t.Errorf("restarts %d, in the last hour %d", st.Restarts, st.RestartsHour)
		}
		time.Sleep(61 * time.Minute)
		if st := f.status("a"); st.Restarts != 6 || st.RestartsHour != 0 {
			t.Errorf("an hour later: restarts %d, in the last hour %d", st.Restarts, st.RestartsHour)
		}
	})
}

func TestStatusOfACrashLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, func(_ order, n int) behaviour {
			return behaviour{readyAfter: time.Minute, crashAfter: time.Millisecond}
		})
		defer f.close()
		f.apply(spec(t, "a", func(c *Config) { c.Workers.Min = 1 })) // kept up without a call
		time.Sleep(20 * time.Second)
		st := f.status("a")
		want := "crash-looping: 5 exits in 16s; last: exited with code 1; next try " + st.NextTry.Format(time.TimeOnly)
		if st.State != StateBackoff || st.Reason != want {
			t.Errorf("got %s: %s\nwant %s", st.State, st.Reason, want)
		}
	})
}

func TestKilledWorkerIsReplacedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, nil)
		defer f.close()
		f.apply(spec(t, "a", func(c *Config) { c.Workers.Max = 1 }))
		c, release := f.acquire("a", "alice")
		go c.child.exit("killed by signal 9 (killed)")
		if _, err := c.rwc.Read(nil); err == nil || err.Error() != "killed by signal 9 (killed)" {
			t.Errorf("read: %v", err)
		}
		time.Sleep(time.Millisecond)
		// The caller that has just seen its call fail tries again: it must not get the dead one.
		c2, release2 := f.acquire("a", "alice")
		if c2 == c {
			t.Error("got the dead worker")
		}
		if n := len(f.system.all()); n != 2 {
			t.Errorf("%d processes were started", n)
		}
		release()
		release2()
		if st := f.status("a"); st.Restarts != 1 || st.State != StateReady {
			t.Errorf("restarts %d, state %s", st.Restarts, st.State)
		}
		// Again, before the new one was up for long: now there is a pause.
		c2.child.exit("killed by signal 9 (killed)")
		synctest.Wait()
		if err := f.refused("a", "alice"); err.Error() != "server crashed: killed by signal 9 (killed); next start in 1s" {
			t.Errorf("got %q", err)
		}
		time.Sleep(time.Second)
		c3, release3 := f.acquire("a", "alice")
		release3()
		time.Sleep(10 * time.Second) // stable: forgiven
		c3.child.exit("killed by signal 9 (killed)")
		synctest.Wait()
		_, release4 := f.acquire("a", "alice")
		release4()
	})
}

func TestWorkersThatFallTogetherAreOneFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, nil)
		defer f.close()
		f.apply(spec(t, "a"))
		for _, key := range []string{"a", "b", "c", "d"} {
			_, release := f.acquire("a", key)
			release()
		}
		time.Sleep(time.Millisecond)
		f.system.killAll()
		synctest.Wait()
		_, release := f.acquire("a", "a")
		release()
	})
}

// What was called a moment ago and falls is there again before the next call; what was not is not.
func TestFallenWorkerIsReplacedBeforeTheNextCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, nil)
		defer f.close()
		f.apply(spec(t, "a"))
		_, release := f.acquire("a", "alice")
		release()
		time.Sleep(time.Second)
		f.system.killAll()
		synctest.Wait()
		if n := f.system.alive(); n != 1 {
			t.Errorf("%d workers after the first end, want 1", n)
		}
		time.Sleep(time.Minute)
		f.system.killAll()
		synctest.Wait()
		if n := f.system.alive(); n != 0 {
			t.Errorf("%d workers after the end of one that nobody called for a minute, want 0", n)
		}
	})
}

func TestNotReadyInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, func(order, int) behaviour {
			return behaviour{readyAfter: time.Hour, deafer: true, words: "still downloading"}
		})
		defer f.close()
		f.apply(spec(t, "a"))
		begin := time.Now()
		err := f.refused("a", "alice")
		if time.Since(begin) != time.Minute || !strings.Contains(err.Error(), "not ready within 1m") {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		if st := f.status("a"); len(st.Workers) != 1 || st.Workers[0].State != StateStopping {
			t.Errorf("%+v", st)
		}
		time.Sleep(6 * time.Second)
		got := strings.Join(f.system.all()[0].history(), " ")
		if got != "eof@1m0s terminated@1m2s killed@1m5s" {
			t.Errorf("steps: %s", got)
		}
	})
}

func TestRefusedHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, func(order, int) behaviour {
			return behaviour{refuses: errors.New("protocol version 1 is not supported")}
		})
		defer f.close()
		f.apply(spec(t, "a"))
		err := f.refused("a", "alice")
		if err.Error() != "server did not start: handshake: protocol version 1 is not supported; next start in 1s" {
			t.Error(err)
		}
		synctest.Wait()
		if f.system.alive() != 0 {
			t.Error("the child lives")
		}
	})
}

func TestMaxEvictsTheLongestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, nil)
		defer f.close()
		f.apply(spec(t, "a", func(c *Config) { c.Workers.Max = 2 }))
		ca, ra := f.acquire("a", "alice")
		time.Sleep(time.Second)
		cb, rb := f.acquire("a", "bob")
		rb()
		time.Sleep(time.Second)
		ra()
		_, rc := f.acquire("a", "carol") // bob was idle longer
		if cb.child.isAlive() || !ca.child.isAlive() {
			t.Error("the wrong worker was evicted")
		}
		rc()
		if n := f.system.alive(); n != 2 {
			t.Errorf("%d workers, at most 2", n)
		}
	})
}

func TestBusyWhenAllWorkersAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, nil)
		defer f.close()
		f.apply(spec(t, "a", func(c *Config) { c.Workers.Max, c.Workers.Queue = 1, 2 }))
		_, release := f.acquire("a", "alice")
		var order []string
		var wg sync.WaitGroup
		for _, key := range []string{"bob", "carol"} {
			wg.Go(func() {
				_, r := f.acquire("a", key)
				order = append(order, key)
				time.Sleep(time.Second)
				r()
			})
			synctest.Wait()
		}
		err := f.refused("a", "dave")
		var busy *Busy
		if !errors.As(err, &busy) || err.Error() != "server is busy: its only worker is busy and 2 calls wait; try again in 2s" {
			t.Errorf("got %v", err)
		}
		// More for the key that has a worker: they share it and need no place.
		_, r := f.acquire("a", "alice")
		r()
		release()
		wg.Wait()
		if fmt.Sprint(order) != "[bob carol]" {
			t.Errorf("served %v", order)
		}
	})
}

func TestWaitingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, nil)
		defer f.close()
		f.apply(spec(t, "a", func(c *Config) { c.Workers.Max = 1 }))
		_, release := f.acquire("a", "alice")
		defer release()

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err := f.pool("a").Acquire(ctx, "bob")
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		synctest.Wait()
		if st := f.status("a"); st.Queue != 0 || st.Busy != 1 {
			t.Errorf("queue %d, busy %d", st.Queue, st.Busy)
		}
		begin := time.Now()
		if err := f.refused("a", "bob"); !errors.Is(err, ErrBusy) || time.Since(begin) != time.Minute {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
}

func TestSpares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, func(order, int) behaviour { return behaviour{readyAfter: time.Second} })
		defer f.close()
		f.apply(spec(t, "a", func(c *Config) { c.Workers.Min, c.Workers.Max = 1, 3 }))
		f.wantState("a", StateStarting)
		time.Sleep(2 * time.Second)
		f.wantState("a", StateReady)
		begin := time.Now()
		_, release := f.acquire("a", "alice")
		release()
		if time.Since(begin) != 0 {
			t.Error("the spare was not used")
		}
		time.Sleep(2 * time.Second)
		if n := f.system.alive(); n != 2 {
			t.Errorf("%d workers, want alice's and a spare", n)
		}
		time.Sleep(time.Hour)
		if n := f.system.alive(); n != 1 {
			t.Errorf("%d workers after an hour, want the spare", n)
		}
		// The worker of everybody is one of those kept, and stays.
		_, release = f.acquire("a", "")
		release()
		time.Sleep(time.Hour)
		if n := len(f.system.all()); n != 2 || f.system.alive() != 1 {
			t.Errorf("%d started, %d alive", n, f.system.alive())
		}
	})
}

func TestStartStopRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, func(order, int) behaviour { return behaviour{readyAfter: time.Second} })
		defer f.close()
		f.apply(spec(t, "a"), spec(t, "off", func(c *Config) { c.Disabled = true }))
		ctx := t.Context()
		c, release := f.acquire("a", "alice")
		if err := f.Restart(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		if !c.child.isAlive() {
			t.Error("restart did not wait for the call")
		}
		if c2, r2 := f.acquire("a", "alice"); c2 == c {
			t.Error("the old worker still gets calls")
		} else {
			r2()
		}
		release()
		synctest.Wait()
		if c.child.isAlive() {
			t.Error("the old worker lives")
		}
		if err := f.Stop(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		f.wantState("a", StateDisabled)
		if err := f.refused("a", "alice"); err.Error() != "server was stopped by its operator" {
			t.Error(err)
		}
		f.apply(spec(t, "a", func(c *Config) { c.Args = []string{"changed"} })) // a reload is no Start
		f.wantState("a", StateDisabled)
		if err := f.Start(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		f.wantState("a", StateReady)
		for _, do := range []func(context.Context, string) error{f.Start, f.Stop, f.Restart} {
			if err := do(ctx, "nobody"); err == nil {
				t.Error("an unknown server")
			}
		}
	})
}

func TestRestartOfWhatCannotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, func(_ order, n int) behaviour {
			return behaviour{crashAfter: time.Second, readyAfter: 2 * time.Second}
		})
		defer f.close()
		f.apply(spec(t, "a"))
		err := f.Restart(t.Context(), "a")
		if err == nil || err.Error() != "cannot restart a: server did not start: exited with code 1; next start in 1s" {
			t.Error(err)
		}
	})
}

func TestMissingCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		f := newFakes(t, Options{}, nil)
		defer f.close()
		f.apply(spec(t, "a", func(c *Config) {
			c.Command = "npx"
			c.Env = map[string]string{"PATH": dir}
			c.Workers.Min = 1
		}))
		st := f.status("a")
		if st.State != StateFailed || st.Reason != "npx not found in PATH" {
			t.Errorf("%s: %s", st.State, st.Reason)
		}
		if err := f.refused("a", "alice"); err.Error() != "server cannot start: npx not found in PATH" {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		if len(f.system.all()) != 0 {
			t.Error("something was started")
		}
		install(t, dir, "npx")
		_, release := f.acquire("a", "alice")
		release()
		f.wantState("a", StateReady)
	})
}

func TestStopKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, nil)
		defer f.close()
		f.apply(spec(t, "a"), spec(t, "b"))
		var conns []*fakeConn
		for _, name := range []string{"a", "b"} {
			c, release := f.acquire(name, "alice")
			defer release()
			conns = append(conns, c)
		}
		other, release := f.acquire("a", "bob")
		defer release()
		f.StopKeys(func(_, k string) bool { return k == "alice" })
		synctest.Wait()
		for _, c := range conns {
			if c.child.isAlive() {
				t.Error("a worker of alice lives")
			}
		}
		if !other.child.isAlive() {
			t.Error("bob's is gone")
		}
		if _, err := conns[0].rwc.Read(nil); err == nil || err.Error() != "worker was stopped: access was removed" {
			t.Error(err)
		}
	})
}

func TestConnectionCloseEndsTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, nil)
		defer f.close()
		f.apply(spec(t, "a"))
		c, release := f.acquire("a", "alice")
		release()
		if err := c.rwc.Close(); err != nil {
			t.Error(err)
		}
		c2, release := f.acquire("a", "alice")
		release()
		synctest.Wait() // the end goes on beside the next call
		if c2 == c || c.child.isAlive() {
			t.Error("the closed worker is still there")
		}
		if st := f.status("a"); st.Restarts != 0 {
			t.Error("an asked end counts as a restart")
		}
	})
}

func TestCloseWithCallsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, func(order, int) behaviour { return behaviour{deafer: true} })
		f.apply(spec(t, "a"), spec(t, "b"))
		_, release := f.acquire("a", "alice")
		defer release()
		_, release2 := f.acquire("b", "bob")
		release2()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		begin := time.Now()
		if err := f.Close(ctx); err != nil {
			t.Error(err)
		}
		// 10s less the five seconds of the steps, and one to spare, for the call; then the steps.
		if d := time.Since(begin); d != 9*time.Second {
			t.Errorf("took %v", d)
		}
		if f.system.alive() != 0 {
			t.Error("children live")
		}
		if _, err := f.Apply(t.Context(), nil); err == nil {
			t.Error("Apply after Close")
		}
		if _, _, err := f.pool("a").Acquire(t.Context(), "x"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("Acquire after Close: %v", err)
		}
	})
}

func TestCloseInAHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, func(order, int) behaviour { return behaviour{deafer: true} })
		f.apply(spec(t, "a"))
		_, release := f.acquire("a", "alice")
		defer release()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if err := f.Close(ctx); err == nil || time.Since(begin) != time.Second {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		if f.system.alive() != 0 {
			t.Error("children live")
		}
	})
}

// TestEndIsCountedWhoeverCloses: a reader that learns of the end closes its stream at once, often
// before the end itself is reported; it is an end by itself all the same.
func TestEndIsCountedWhoeverCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, nil)
		defer f.close()
		f.apply(spec(t, "a"))
		const times = 20
		for range times {
			c, release := f.acquire("a", "alice")
			time.Sleep(time.Minute) // stable: the next end costs no pause
			c.child.exit("killed by signal 9 (killed)")
			if err := c.rwc.Close(); err != nil {
				t.Fatal(err)
			}
			release()
		}
		_, release := f.acquire("a", "alice")
		release()
		if got := f.status("a").Restarts; got != times {
			t.Errorf("%d restarts, want %d", got, times)
		}
	})
}
