package main

import (
	"testing"
	"time"

	"github.com/mcpd/mcpd/supervisor"
)

func TestSinceAsPeopleSayIt(t *testing.T) {
	now := time.Date(2026, 3, 4, 15, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"10m": now.Add(-10 * time.Minute), "2d": now.Add(-48 * time.Hour), "14:05": time.Date(2026, 3, 4, 14, 5, 0, 0, time.UTC),
		"14:05:09": time.Date(2026, 3, 4, 14, 5, 9, 0, time.UTC), "2026-03-01": time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
		"2026-03-01T10:00:00+02:00": time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC), "2026-03-01 10:00:00": time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC),
	} {
		if got, err := parseSince(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	if _, err := parseSince("yesterday", now); err == nil {
		t.Error("yesterday is a time")
	}
}

func TestLogQueryGoesBackFarEnough(t *testing.T) {
	at := time.Date(2026, 3, 4, 15, 0, 0, 0, time.UTC)
	var kept []supervisor.Line
	for i := range 10 {
		kept = append(kept, supervisor.Line{Time: at.Add(time.Duration(i) * time.Second), Worker: 1 + i%2})
	}
	for _, c := range []struct {
		q    logQuery
		want int
	}{
		{logQuery{lines: 3}, 3}, {logQuery{lines: 100}, 10}, {logQuery{lines: 0}, 0},
		{logQuery{lines: 2, worker: 1}, 4}, {logQuery{lines: 100, worker: 1}, 10}, {logQuery{lines: 2, since: at.Add(9 * time.Second)}, 10},
	} {
		if got := c.q.back(kept); got != c.want {
			t.Errorf("%+v: %d lines back, want %d", c.q, got, c.want)
		}
	}
}
