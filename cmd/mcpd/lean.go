package main

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// settleTime is when the start is over: servers that are wanted at once have answered by then, or take very long.
const settleTime = 5 * time.Second

// Between two looks whether there was work, and is none any more.
const (
	restLook = time.Minute
	restMost = 200 * time.Millisecond // of the processors' time between two looks: nobody calls
	restWork = time.Second            // of it since memory was given back last: there is some to give back
)

// stayLean gives back memory once the start is over, and whenever work has ended, until ctx is done.
func (d *daemon) stayLean(ctx context.Context) {
	var r rest
	for wait := settleTime; ; wait = restLook {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if wait == settleTime || r.due(processorTime()) {
			lean()
			r.done(processorTime())
		}
	}
}

// rest is what is known of this process's work, as time of the processors since its start.
type rest struct{ looked, given time.Duration }

func (r *rest) due(used time.Duration) bool {
	quiet := used-r.looked <= restMost
	r.looked = used
	return quiet && used-r.given >= restWork
}

func (r *rest) done(used time.Duration) { r.looked, r.given = used, used }

// processorTime is what this process has used; 0 where that is not known.
func processorTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
