package main

import (
	"testing"
	"time"
)

// Memory is given back after work, once, and not in the middle of it.
func TestRestAfterWork(t *testing.T) {
	t.Parallel()
	r := rest{}
	r.done(time.Second)
	for i, tt := range []struct {
		used time.Duration // between two looks
		want bool
	}{{0, false}, {100 * time.Millisecond, false}, {30 * time.Second, false}, {2 * time.Second, false}, {50 * time.Millisecond, true}, {50 * time.Millisecond, false}, {0, false}, {time.Second, false}, {0, true}} {
		used := r.looked + tt.used
		got := r.due(used, afterWork)
		if got != tt.want {
			t.Errorf("look %d: %v", i, got)
		}
		if got {
			r.done(used)
		}
	}
	r = rest{}
	for i, used := range []time.Duration{400 * time.Millisecond, 900 * time.Millisecond, 910 * time.Millisecond} {
		if got := r.due(used, afterStart); got != (i == 2) {
			t.Errorf("second %d after the start: %v", i, got)
		}
	}
	if processorTime() <= 0 {
		t.Error("this process has used no time")
	}
}
