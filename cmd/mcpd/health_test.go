package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func listsAll(string) bool { return true }

func callTaking(took time.Duration, failed bool) call {
	c := call{kind: toolCall, tool: "echo", took: took}
	if failed {
		c.outcome = otherwise
	}
	return c
}

func TestBucketsCoverEveryDuration(t *testing.T) {
	last := -1
	for us := int64(0); us <= longest; us += 1 + us/50 {
		d := time.Duration(us) * time.Microsecond
		i := bucketOf(d)
		if i < last || i >= buckets {
			t.Fatalf("%v is in bucket %d after %d", d, i, last)
		}
		if top := bucketTop(i); top < d || top > d+d/steps {
			t.Fatalf("%v is told as %v", d, top)
		}
		last = i
	}
	if i := bucketOf(time.Hour * 24 * 365); i != buckets-1 {
		t.Errorf("a year is in bucket %d of %d", i, buckets)
	}
	if i := bucketOf(-time.Second); i != 0 {
		t.Errorf("a step back of the clock is in bucket %d", i)
	}
}

func TestPercentilesAgainstSorting(t *testing.T) {
	var h health
	random := rand.New(rand.NewPCG(1, 2))
	now := time.Unix(1_800_000_000, 0)
	var all []time.Duration
	for range 5000 {
		d := time.Duration(random.ExpFloat64() * float64(20*time.Millisecond)).Truncate(time.Microsecond)
		all = append(all, d)
		h.record(now.Add(time.Duration(random.IntN(9))*time.Minute), callTaking(d, random.IntN(10) == 0), listsAll)
	}
	slices.Sort(all)
	w := h.window(now.Add(9 * time.Minute))
	if w.Calls != 5000 || w.Errors < 400 || w.Errors > 600 {
		t.Errorf("%+v", w)
	}
	for _, c := range []struct {
		got  float64
		want time.Duration
	}{{w.P50, all[2499]}, {w.P99, all[4949]}} {
		got := time.Duration(c.got * float64(time.Millisecond))
		if got < c.want || got > c.want+c.want/steps+time.Microsecond {
			t.Errorf("%v, sorted %v", got, c.want)
		}
	}
}

func TestWindowForgets(t *testing.T) {
	var h health
	now := time.Unix(1_800_000_000, 0)
	if w := h.window(now); w.Calls != 0 || w.P99 != 0 || w.Seconds != 600 {
		t.Errorf("unused: %+v", w)
	}
	h.record(now, callTaking(time.Second, true), listsAll)
	h.record(now.Add(9*time.Minute), callTaking(time.Millisecond, false), listsAll)
	if w := h.window(now.Add(9 * time.Minute)); w.Calls != 2 || w.Errors != 1 || w.P99 < 1000 {
		t.Errorf("both: %+v", w)
	}
	if w := h.window(now.Add(11 * time.Minute)); w.Calls != 1 || w.Errors != 0 || w.P99 > 2 {
		t.Errorf("after: %+v", w)
	}
	h.record(now.Add(10*time.Minute), callTaking(time.Millisecond, false), listsAll) // takes the slot of the first
	if w := h.window(now.Add(10 * time.Minute)); w.Calls != 2 {
		t.Errorf("again: %+v", w)
	}
	if calls, errors := h.counts(); calls != 3 || errors != 1 {
		t.Errorf("%d calls, %d errors", calls, errors)
	}
}

func TestRecordDoesNotAllocate(t *testing.T) {
	var h health
	now := time.Now()
	h.record(now, callTaking(time.Millisecond, false), listsAll)
	if n := testing.AllocsPerRun(100, func() { h.record(now, callTaking(time.Millisecond, false), listsAll) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
