package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A heap of a few megabytes is collected all the time under load: with Go's default ten times per second, at a fifth of what a
// call costs. So it may grow to five times its size, as long as that is no more than heapRoom; a large one is left to the default.
const (
	heapRoom   = 32 << 20
	heapLook   = 10 * time.Second // between two looks at its size
	mostGrowth = 400              // percent, as of GOGC
	goGrowth   = 100              // Go's default
)

// heapGrowth is the GOGC for a heap with so many bytes in use.
func heapGrowth(live uint64) int {
	if live == 0 {
		return mostGrowth
	}
	return int(min(mostGrowth, max(goGrowth, heapRoom*100/live)))
}

// tuneHeap follows the size of the heap until ctx is done. Who has set GOGC knows better.
func (d *daemon) tuneHeap(ctx context.Context) {
	if d.cli.env.Get("GOGC") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	now := goGrowth
	for look := time.NewTicker(heapLook); ; {
		metrics.Read(live)
		if to := heapGrowth(live[0].Value.Uint64()); to != now {
			debug.SetGCPercent(to)
			now = to
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			look.Stop()
			return
		}
	}
}
