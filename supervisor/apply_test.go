package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestDiff(t *testing.T) {
	a, b, c := spec(t, "a"), spec(t, "b"), spec(t, "c")
	with := func(s Spec, change func(*Spec)) Spec { change(&s); return s }
	for _, tt := range []struct {
		name     string
		old, new []Spec
		want     string
	}{
		{"nothing", nil, nil, "keep=0"},
		{"first", nil, []Spec{b, a}, "start=a,b keep=0"},
		{"same", []Spec{a, b}, []Spec{b, a}, "keep=2"},
		{"one out, one in", []Spec{a, b}, []Spec{b, c}, "start=c stop=a keep=1"},
		{"arguments", []Spec{a, b}, []Spec{a, with(b, func(s *Spec) { s.Args = []string{"x"} })}, "restart=b keep=1"},
		{"command", []Spec{a}, []Spec{with(a, func(s *Spec) { s.Command = "other" })}, "restart=a keep=0"},
		{"directory", []Spec{a}, []Spec{with(a, func(s *Spec) { s.Dir = "/tmp" })}, "restart=a keep=0"},
		{"environment", []Spec{a}, []Spec{with(a, func(s *Spec) { s.Environ = []string{"A=1"} })}, "restart=a keep=0"},
		{"limits", []Spec{a, b}, []Spec{a, with(b, func(s *Spec) { s.Workers.Max = 9 })}, "update=b keep=1"},
		{"timeouts", []Spec{a}, []Spec{with(a, func(s *Spec) { s.Timeouts.Term = time.Hour })}, "update=a keep=0"},
		{"secrets and key do not run", []Spec{a}, []Spec{with(a, func(s *Spec) { s.Secrets, s.Key = []string{"x"}, []byte("y") })}, "keep=1"},
		{"disabled", []Spec{a, b}, []Spec{a, with(b, func(s *Spec) { s.Disabled = true })}, "stop=b keep=1"},
		{"enabled", []Spec{with(a, func(s *Spec) { s.Disabled = true })}, []Spec{a}, "start=a keep=0"},
		{"new and disabled", nil, []Spec{with(a, func(s *Spec) { s.Disabled = true })}, "keep=1"},
	} {
		if got := Diff(tt.old, tt.new); got.String() != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		} else if got.Empty() != (len(tt.want) < 8) {
			t.Errorf("%s: Empty is %v", tt.name, got.Empty())
		}
	}
}

func TestApplyLeavesTheUnchangedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, nil)
		defer f.close()
		kept := []Spec{spec(t, "k0"), spec(t, "k1"), spec(t, "k2")}
		f.apply(append(slices.Clone(kept), spec(t, "gone"), spec(t, "changed"))...)
		conns := map[string]*fakeConn{}
		for _, name := range []string{"k0", "k1", "k2", "gone", "changed"} {
			c, release := f.acquire(name, "alice")
			release()
			conns[name] = c
		}
		pool := f.pool("changed")
		change := f.apply(append(slices.Clone(kept), spec(t, "new"), spec(t, "changed", func(c *Config) { c.Args = []string{"-v"} }))...)
		if got := change.String(); got != "start=new stop=gone restart=changed keep=3" {
			t.Error(got)
		}
		synctest.Wait()
		for _, s := range kept {
			if c, release := f.acquire(s.Name, "alice"); c != conns[s.Name] {
				t.Errorf("%s has a new worker", s.Name)
			} else {
				release()
			}
		}
		for _, name := range []string{"gone", "changed"} {
			if conns[name].child.isAlive() {
				t.Errorf("the worker of %s lives", name)
			}
		}
		if f.pool("changed") != pool {
			t.Error("the handle has changed")
		}
		if c, release := f.acquire("changed", "alice"); fmt.Sprint(c.child.spec.Args) != "[-v]" {
			t.Errorf("arguments %v", c.child.spec.Args)
		} else {
			release()
		}
		if _, ok := f.Pool("gone"); ok {
			t.Error("a pool of a removed server")
		}
	})
}

func TestChangeDrainsCallsThatAreOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, nil)
		defer f.close()
		f.apply(spec(t, "a", func(c *Config) { c.Workers.Max = 1 }), spec(t, "b"))
		short, release := f.acquire("a", "alice")
		long, releaseLong := f.acquire("b", "bob")
		defer releaseLong()
		f.apply(spec(t, "a", func(c *Config) { c.Workers.Max = 1; c.Args = []string{"2"} })) // b is gone
		fresh, r := f.acquire("a", "alice")                                                  // beside the old one, although max is 1
		r()
		if fresh == short || !short.child.isAlive() {
			t.Error("the old worker did not stay for its call")
		}
		release()
		synctest.Wait()
		if short.child.isAlive() {
			t.Error("the old worker stays after its call")
		}
		if st := f.status("b"); st.State != StateStopping || st.Reason != "being removed; 1 worker is ending" {
			t.Errorf("%s: %s", st.State, st.Reason)
		}
		time.Sleep(29 * time.Second)
		if !long.child.isAlive() {
			t.Error("the removed server's call was cut short")
		}
		time.Sleep(2 * time.Second)
		if long.child.isAlive() {
			t.Error("the removed server's call holds it for ever")
		}
		if _, err := long.rwc.Read(nil); err == nil || err.Error() != "worker was stopped: server was removed" {
			t.Error(err)
		}
		if len(f.Snapshot().Servers) != 1 {
			t.Error("the removed server is still shown")
		}
	})
}

func TestNewFirstWhereAWorkerIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, func(o order, n int) behaviour {
			if slices.Contains(o.spec.Args, "broken") {
				return behaviour{readyAfter: time.Minute, crashAfter: time.Second}
			}
			return behaviour{readyAfter: 5 * time.Second}
		})
		defer f.close()
		min1 := func(c *Config) { c.Workers.Min = 1 }
		f.apply(spec(t, "a", min1))
		old, release := f.acquire("a", "")
		release()
		serves := func(what string, want *fakeConn) {
			t.Helper()
			begin := time.Now()
			c, release := f.acquire("a", "")
			release()
			if time.Since(begin) != 0 || (want != nil) != (c == want) {
				t.Errorf("%s: waited %v, old %v", what, time.Since(begin), c == old)
			}
		}
		f.apply(spec(t, "a", min1, func(c *Config) { c.Args = []string{"broken"} }))
		time.Sleep(8 * time.Second)
		serves("the replacement is broken", old)
		f.wantState("a", StateBackoff)
		f.apply(spec(t, "a", min1, func(c *Config) { c.Args = []string{"good"} }))
		serves("the replacement starts", old)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		serves("replaced", nil)
		if old.child.isAlive() {
			t.Error("the old worker lives")
		}
		f.wantState("a", StateReady)
	})
}

func TestLimitsChangeInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, nil)
		defer f.close()
		f.apply(spec(t, "a", func(c *Config) { c.Workers.Max = 1 }))
		c, release := f.acquire("a", "alice")
		defer release()
		f.apply(spec(t, "a", func(c *Config) { c.Workers.Max = 2 }))
		_, r := f.acquire("a", "bob")
		r()
		if !c.child.isAlive() {
			t.Error("the worker was replaced")
		}
	})
}

func TestOneSickChildDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, func(o order, _ int) behaviour {
			if o.spec.Name == "sick" {
				return behaviour{readyAfter: time.Hour, deafer: true}
			}
			return behaviour{}
		})
		defer f.close()
		min1 := func(c *Config) { c.Workers.Min = 1 }
		begin := time.Now()
		f.apply(spec(t, "sick", min1), spec(t, "well", min1))
		_, release := f.acquire("well", "alice")
		release()
		f.apply(spec(t, "well", min1))
		if time.Since(begin) != 0 {
			t.Errorf("took %v", time.Since(begin))
		}
	})
}

func TestDisableAndEnable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, nil)
		defer f.close()
		f.apply(spec(t, "a"))
		c, release := f.acquire("a", "alice")
		release()
		f.apply(spec(t, "a", func(c *Config) { c.Disabled = true }))
		synctest.Wait()
		f.wantState("a", StateDisabled)
		if c.child.isAlive() {
			t.Error("the worker lives")
		}
		if err := f.refused("a", "alice"); err.Error() != "server is disabled" {
			t.Error(err)
		}
		if err := f.Start(t.Context(), "a"); err == nil {
			t.Error("Start of a disabled server")
		}
		f.apply(spec(t, "a"))
		_, release = f.acquire("a", "alice")
		release()
	})
}

func TestApplyRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, Options{}, nil)
		defer f.close()
		a := Entry[*fakeConn]{Spec: spec(t, "a"), Open: openFake}
		for name, list := range map[string][]Entry[*fakeConn]{"twice": {a, a}, "no Open": {{Spec: a.Spec}}} {
			if _, err := f.Apply(t.Context(), list); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := f.Apply(ctx, []Entry[*fakeConn]{a}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if len(f.Snapshot().Servers) != 0 {
			t.Error("something was applied")
		}
	})
}
