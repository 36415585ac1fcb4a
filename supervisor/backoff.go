package supervisor

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Backoff is the pause between the starts of a server whose processes keep ending by themselves.
// Zero fields get the defaults.
type Backoff struct {
	First  time.Duration // pause after the first start that came to nothing; doubles each time. Default: 1s
	Max    time.Duration // longest pause. Default: 2m
	Jitter float64       // part of a pause that is left to chance, so that servers that fell together do not rise together. Default: 0.2
	Stable time.Duration // a worker that was ready for so long ends the series of failures. Default: 10s
	Loop   int           // failures in a row that are called a crash loop. Default: 4
}

func (b Backoff) withDefaults() Backoff {
	if b.First <= 0 {
		b.First = time.Second
	}
	if b.Max <= 0 {
		b.Max = 2 * time.Minute
	}
	if b.Jitter <= 0 || b.Jitter >= 1 {
		b.Jitter = 0.2
	}
	if b.Stable <= 0 {
		b.Stable = 10 * time.Second
	}
	if b.Loop <= 0 {
		b.Loop = 4
	}
	return b
}

// pause is the time to wait after the n-th failure in a row, before jitter. The first failure of
// a worker that had been ready costs no pause: such a worker was killed, or fell over one call,
// and the next caller should not wait for that.
func (b Backoff) pause(n int, wasReady bool) time.Duration {
	if wasReady {
		n--
	}
	if n <= 0 {
		return 0
	}
	d := b.First
	for i := 1; i < n && d < b.Max; i++ {
		d *= 2
	}
	return min(d, b.Max)
}

// jitter takes up to the part b.Jitter off d; chance is in [0, 1).
func (b Backoff) jitter(d time.Duration, chance float64) time.Duration {
	return d - time.Duration(float64(d)*b.Jitter*chance)
}

// failure is one worker that ended, or did not get ready, without having been asked to end.
type failure struct {
	at     time.Time
	born   time.Time // when its process was started
	ready  time.Time // when it became ready; zero: never
	reason string
}

// streak is a server's memory of failures in a row. It belongs to the server's owner goroutine.
type streak struct {
	failures int       // counted: they raise the pause
	counted  time.Time // when the last of those was
	exits    int       // all of them
	since    time.Time // of the first
	last     failure
}

// add counts f and returns the pause that is due before the next start.
func (s *streak) add(f failure, b Backoff, chance func() float64) time.Duration {
	if !f.ready.IsZero() && f.at.Sub(f.ready) >= b.Stable {
		*s = streak{}
	}
	if s.exits == 0 {
		s.since = f.at
	}
	s.exits++
	// Workers that fall together are one failure: if it was started before the last one that counted was
	// known, its end says nothing new about what happens to a fresh start.
	if s.failures == 0 || !f.born.Before(s.counted) {
		s.failures++
		s.counted = f.at
	}
	s.last = f
	return b.jitter(b.pause(s.failures, !f.ready.IsZero()), chance())
}

// looping tells whether the failures amount to a crash loop.
func (s *streak) looping(b Backoff) bool { return s.failures >= b.Loop }

// describe is the reason of the state backoff: "crash-looping: 5 exits in 2m; last: exited with code 1".
func (s *streak) describe(b Backoff) string {
	switch {
	case s.looping(b):
		return fmt.Sprintf("crash-looping: %d exits in %s; last: %s", s.exits, short(s.last.at.Sub(s.since)), s.last.reason)
	case s.last.ready.IsZero():
		return "did not start: " + s.last.reason
	}
	return "crashed: " + s.last.reason
}

// hourly counts events by minute, for "in the last hour" in bounded memory.
type hourly struct {
	all     int
	minutes [60]struct{ minute, n int64 }
}

func (h *hourly) add(now time.Time) {
	h.all++
	m := now.Unix() / 60
	slot := &h.minutes[m%60]
	if slot.minute != m {
		slot.minute, slot.n = m, 0
	}
	slot.n++
}

func (h *hourly) lastHour(now time.Time) (n int) {
	m := now.Unix() / 60
	for _, slot := range h.minutes {
		if m-slot.minute < 60 {
			n += int(slot.n)
		}
	}
	return n
}

// chance is the default source of jitter.
func chance() float64 { return rand.Float64() }
