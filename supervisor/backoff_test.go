package supervisor

import (
	"testing"
	"time"
)

func TestPauses(t *testing.T) {
	b := Backoff{}.withDefaults()
	for _, tt := range []struct {
		n        int
		wasReady bool
		want     time.Duration
	}{
		{1, false, time.Second}, {2, false, 2 * time.Second}, {3, false, 4 * time.Second}, {7, false, 64 * time.Second},
		{8, false, 2 * time.Minute}, {9, false, 2 * time.Minute}, {1 << 40, false, 2 * time.Minute},
		{1, true, 0}, {2, true, time.Second}, {3, true, 2 * time.Second}, {100, true, 2 * time.Minute},
	} {
		if got := b.pause(tt.n, tt.wasReady); got != tt.want {
			t.Errorf("pause(%d, %v) = %v, want %v", tt.n, tt.wasReady, got, tt.want)
		}
	}
	if lo, hi := b.jitter(10*time.Second, 0.999), b.jitter(10*time.Second, 0); lo < 8*time.Second || hi != 10*time.Second {
		t.Errorf("jitter of 10s is from %v to %v", lo, hi)
	}
}

func TestStreak(t *testing.T) {
	b := Backoff{}.withDefaults()
	begin := time.Date(2026, 7, 28, 12, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	var s streak
	for i, tt := range []struct {
		born, ready, end int // seconds; ready < 0: never
		pause            time.Duration
		text             string
	}{
		{0, -1, 1, time.Second, "did not start: e"},
		{2, -1, 3, 2 * time.Second, "did not start: e"},
		{5, 6, 7, 2 * time.Second, "crashed: e"},
		{0, 5, 7, 2 * time.Second, "crashed: e"}, // of before: no failure more
		{10, 11, 12, 4 * time.Second, "crash-looping: 5 exits in 11s; last: e"},
		{20, 21, 31, 0, "crashed: e"}, // stable: the series is over
		{32, 33, 34, time.Second, "crashed: e"},
	} {
		f := failure{born: at(tt.born), at: at(tt.end), reason: "e"}
		if tt.ready >= 0 {
			f.ready = at(tt.ready)
		}
		if got := s.add(f, b, func() float64 { return 0 }); got != tt.pause || s.describe(b) != tt.text {
			t.Errorf("%d: %v, %q; want %v, %q", i, got, s.describe(b), tt.pause, tt.text)
		}
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Millisecond: "1s", 12 * time.Second: "12s", time.Minute: "1m", 90 * time.Second: "1m30s",
		15 * time.Minute: "15m", time.Hour: "1h0m", 25*time.Hour + 30*time.Minute: "25h30m",
	} {
		if got := short(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

// Workers of several callers that fall in turns, each started again at once, are a crash loop too.
func TestWorkersThatFallInTurns(t *testing.T) {
	b := Backoff{}.withDefaults()
	var s streak
	begin := time.Date(2026, 7, 28, 12, 0, 0, 0, time.UTC)
	born := [3]time.Time{begin, begin, begin}
	for i := range 30 {
		at := begin.Add(time.Duration(i+1) * 400 * time.Millisecond)
		s.add(failure{at: at, born: born[i%3], ready: born[i%3]}, b, func() float64 { return 0 })
		born[i%3] = at
	}
	if !s.looping(b) {
		t.Errorf("%d failures are counted of %d", s.failures, s.exits)
	}
}
