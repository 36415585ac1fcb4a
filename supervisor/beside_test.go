package supervisor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// besides applies specs whose changes come up beside what serves.
func (f *fakes) besides(specs ...Spec) {
	f.t.Helper()
	var entries []Entry[*fakeConn]
	for _, s := range specs {
		entries = append(entries, Entry[*fakeConn]{Spec: s, Open: openFake, Beside: true})
	}
	if _, err := f.Apply(context.Background(), entries); err != nil {
		f.t.Fatal(err)
	}
}

func arguments(args ...string) func(*Config) { return func(c *Config) { c.Args = args } }

// Where the budget has no place for a replacement, as long as calls are on what it replaces, that is told too.
func TestReplacementWithoutAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{Budget: BudgetConfig{Workers: 1}}, nil)
		defer f.close()
		f.besides(spec(t, "a"))
		_, release := f.acquire("a", "alice")
		f.besides(spec(t, "a", arguments("new")))
		began := time.Now()
		if err := f.Try(t.Context(), "a", false); !errors.Is(err, ErrBusy) || time.Since(began) > 2*time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if st := f.status("a"); st.State != StateReady || !strings.Contains(st.Reason, "its replacement is waiting to start: 1 worker processes run already") {
			t.Errorf("%s: %s", st.State, st.Reason)
		}
		time.AfterFunc(time.Hour, release)
		if err := f.Try(t.Context(), "a", true); err != nil {
			t.Error(err)
		}
	})
}

// What serves goes on, for new callers too, until its replacement is ready and promoted; that it does not start is told.
func TestReplacementBesideWhatServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := true
		f := newFakes(t, Options{}, func(o order, _ int) behaviour {
			if slices.Contains(o.spec.Args, "new") && broken {
				return behaviour{readyAfter: time.Minute, crashAfter: time.Second}
			}
			return behaviour{readyAfter: 2500 * time.Millisecond} // not when the other ends
		})
		defer f.close()
		f.besides(spec(t, "a"))
		old, release := f.acquire("a", "alice")
		f.besides(spec(t, "a", arguments("new")))
		err := f.Try(context.Background(), "a", false)
		if err == nil || !strings.Contains(err.Error(), "exited with code 1") {
			t.Errorf("Try of what does not start: %v", err)
		}
		if c, r := f.acquire("a", "bob"); len(c.child.spec.Args) != 0 {
			t.Error("a caller got the replacement, which is not in place")
		} else {
			r()
		}
		st := f.status("a")
		if st.State != StateReady || !strings.Contains(st.Reason, "as before the change of ") || !strings.Contains(st.Reason, "exited with code 1") {
			t.Errorf("%s: %s", st.State, st.Reason)
		}
		broken = false
		if err := f.Try(context.Background(), "a", true); err != nil {
			t.Error(err)
		}
		before, swapped := f.pool("a"), false
		retire, err := f.Promote("a", func() { swapped = old.child.isAlive() })
		if err != nil || !swapped {
			t.Fatalf("Promote: %v; swapped while the old lived: %v", err, swapped)
		}
		if c, r, err := before.Acquire(context.Background(), "eve"); err != nil || len(c.child.spec.Args) != 0 {
			t.Errorf("who came before and waits for a worker of the old: %v", err)
		} else {
			r()
		}
		retire()
		began := time.Now()
		if c, r := f.acquire("a", "alice"); slices.Contains(c.child.spec.Args, "new") && time.Since(began) == 0 {
			r()
		} else {
			t.Error("the replacement does not serve at once")
		}
		synctest.Wait()
		if !old.child.isAlive() {
			t.Error("the call on the old worker was cut")
		}
		release()
		synctest.Wait()
		if old.child.isAlive() {
			t.Error("the old worker stays after its call")
		}
		if st := f.status("a"); len(f.Snapshot().Servers) != 1 || st.State != StateReady {
			t.Errorf("%d servers; %s: %s", len(f.Snapshot().Servers), st.State, st.Reason)
		}
		if _, err := f.Promote("a", func() {}); err == nil {
			t.Error("there was something to promote")
		}
	})
}

// Who calls when a replacement takes its place does not wait for a worker; who called long ago has none. Of those that there
// is no room for, and of those that do not start, one is enough.
func TestReplacementHasWorkersForThoseWhoCall(t *testing.T) {
	for name, tt := range map[string]struct {
		most, fails, want int
	}{"all": {8, 0, 3}, "no room": {2, 0, 2}, "one does not start": {8, 1, 2}} {
		synctest.Test(t, func(t *testing.T) {
			news := 0
			f := newFakes(t, Options{}, func(o order, _ int) behaviour {
				if !slices.Contains(o.spec.Args, "new") {
					return behaviour{}
				}
				if news++; news == 2 && tt.fails > 0 {
					return behaviour{readyAfter: time.Minute, crashAfter: 3 * time.Second}
				}
				return behaviour{readyAfter: time.Duration(news) * time.Second}
			})
			defer f.close()
			f.besides(spec(t, "a"))
			_, gone := f.acquire("a", "long ago")
			gone()
			time.Sleep(present)
			for _, who := range []string{"alice", "bob", "eve"} {
				_, release := f.acquire("a", who)
				release()
			}
			f.besides(spec(t, "a", arguments("new"), func(c *Config) { c.Workers.Max = tt.most }))
			if err := f.Try(context.Background(), "a", false); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			retire, err := f.Promote("a", func() {})
			if err != nil {
				t.Fatal(err)
			}
			retire()
			began := time.Now()
			for _, who := range []string{"alice", "bob", "eve"}[:tt.want] {
				_, release := f.acquire("a", who)
				release()
			}
			if took := time.Since(began); took != 0 {
				t.Errorf("%s: they waited %v", name, took)
			}
			synctest.Wait() // what was before is gone
			ready := 0
			for _, w := range f.status("a").Workers {
				if w.State == StateReady {
					ready++
				}
			}
			if ready != tt.want {
				t.Errorf("%s: %d workers are ready, want %d", name, ready, tt.want)
			}
		})
	}
}

// A replacement that is not wanted any more ends, whatever took its place.
func TestReplacementAbandoned(t *testing.T) {
	for name, then := range map[string]func(f *fakes, t *testing.T){
		"changed back":  func(f *fakes, t *testing.T) { f.besides(spec(t, "a")) },
		"changed again": func(f *fakes, t *testing.T) { f.besides(spec(t, "a", arguments("other"))) },
		"disabled":      func(f *fakes, t *testing.T) { f.besides(spec(t, "a", func(c *Config) { c.Disabled = true })) },
		"removed":       func(f *fakes, _ *testing.T) { f.besides() },
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFakes(t, Options{}, func(o order, _ int) behaviour {
				if slices.Contains(o.spec.Args, "slow") {
					return behaviour{readyAfter: 30 * time.Second}
				}
				return behaviour{}
			})
			defer f.close()
			f.besides(spec(t, "a"))
			old, release := f.acquire("a", "alice")
			release()
			f.besides(spec(t, "a", arguments("slow")))
			time.Sleep(time.Second)
			then(f, t)
			synctest.Wait()
			for _, c := range f.system.all() {
				if slices.Contains(c.spec.Args, "slow") && c.isAlive() {
					t.Errorf("%s: the replacement lives", name)
				}
			}
			if stays := strings.HasPrefix(name, "changed"); old.child.isAlive() != stays {
				t.Errorf("%s: the old worker lives: %v", name, old.child.isAlive())
			}
			if err := f.Try(context.Background(), "a", false); (err == nil) != (name == "changed again") {
				t.Errorf("%s: Try: %v", name, err)
			}
		})
	}
}

// An exclusive server has one process at a time, also over a change, and loses no call by it.
func TestExclusive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f *fakes
		most := 0
		f = newFakes(t, Options{}, func(order, int) behaviour {
			for _, c := range f.system.children {
				if c.isAlive() {
					most++
				}
			}
			return behaviour{readyAfter: time.Second, exitAfter: time.Second}
		})
		defer f.close()
		exclusive := func(c *Config) { c.Exclusive = true }
		f.besides(spec(t, "a", exclusive))
		_, release := f.acquire("a", "alice")
		f.besides(spec(t, "a", exclusive, arguments("new")))
		time.AfterFunc(5*time.Second, release)
		c, r := f.acquire("a", "alice")
		r()
		if !slices.Contains(c.child.spec.Args, "new") {
			t.Error("the old process serves on")
		}
		if c, r := f.acquire("a", "bob"); c.child.isAlive() { // alice's ends for him
			r()
		}
		if most != 0 {
			t.Errorf("%d processes ran when another was started", most)
		}
		if st := f.status("a"); st.Max != 1 {
			t.Errorf("max is %d", st.Max)
		}
	})
}
