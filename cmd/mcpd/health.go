package main

import (
	"math"
	"math/bits"
	"sync"
	"time"
)

// health is what clients saw of one server: counts since mcpd started, and how long the calls of the
// last minutes took. It belongs to that server alone, so no server waits for another's lock.
type health struct {
	answers       answers
	mu            sync.Mutex
	calls, errors uint64
	minutes       *[windowMinutes]minute // nil before the first call: a server that nobody calls costs nothing
	tally         *tally                 // likewise
	check         checked
}

// windowMinutes is how far back percentiles look, the minute that is still running included.
const windowMinutes = 10

// minute is one minute of calls, as counts of durations. Its number tells whether it is of this window.
type minute struct {
	number        int64 // since 1970
	calls, errors uint32
	took          [buckets]uint32
}

// Durations are counted by microseconds, in 8 steps per power of two: a percentile is at most an
// eighth too high. What took longer than half an hour counts as that.
const (
	steps   = 8
	longest = 1<<31 - 1
	buckets = (31-4)*steps + 2*steps
)

func bucketOf(d time.Duration) int {
	us := uint64(min(max(d.Microseconds(), 0), longest))
	shift := max(bits.Len64(us)-4, 0)
	return shift*steps + int(us>>shift)
}

// bucketTop is the longest duration that falls into a bucket.
func bucketTop(i int) time.Duration {
	shift := max(i/steps-1, 0)
	return time.Duration((uint64(i-shift*steps)+1)<<shift-1) * time.Microsecond
}

// record counts a call that has just ended. listed tells whether the server has a tool of that name.
func (h *health) record(now time.Time, c call, listed func(tool string) bool) {
	failed, took := c.outcome.failed(), c.took
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.minutes == nil {
		h.minutes, h.tally = new([windowMinutes]minute), &tally{}
	}
	h.tally.add(c, listed)
	number := now.Unix() / 60
	m := &h.minutes[number%windowMinutes]
	if m.number != number {
		*m = minute{number: number}
	}
	h.calls++
	m.calls++
	m.took[bucketOf(took)]++
	if failed {
		h.errors++
		m.errors++
	}
}

// counts are the calls since mcpd started, and those of them that were answered with an error.
func (h *health) counts() (calls, errors uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls, h.errors
}

// window sums up the last minutes.
func (h *health) window(now time.Time) WindowStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := WindowStatus{Seconds: windowMinutes * 60}
	if h.minutes == nil {
		return w
	}
	var took [buckets]uint64
	for i := range h.minutes {
		m := &h.minutes[i]
		if now.Unix()/60-m.number >= windowMinutes {
			continue
		}
		w.Calls += uint64(m.calls)
		w.Errors += uint64(m.errors)
		for j, n := range m.took {
			took[j] += uint64(n)
		}
	}
	w.P50, w.P99 = percentile(&took, w.Calls, 0.5), percentile(&took, w.Calls, 0.99)
	return w
}

// percentile is the duration, in milliseconds, that the part q of n calls did not exceed; 0 without calls.
func percentile(took *[buckets]uint64, n uint64, q float64) float64 {
	rank := uint64(math.Ceil(q * float64(n)))
	if rank == 0 {
		return 0
	}
	for i, count := range took {
		if count >= rank {
			return float64(bucketTop(i)) / float64(time.Millisecond)
		}
		rank -= count
	}
	return float64(longest) / 1000
}
