package main

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// When the start is over: servers that are wanted at once have answered by then, or take very long. A start uses less
// of the processors than startUses, so what has used more has been at work since.
const (
	settleTime = 5 * time.Second
	startUses  = 5 * time.Second
)

// lull is what a pause in the work looks like.
type lull struct {
	look time.Duration // between two looks
	most time.Duration // of the processors' time between them: nobody calls
	work time.Duration // of it since memory was given back last: there is some to give back
}

var (
	afterStart = lull{look: time.Second, most: 20 * time.Millisecond}
	afterWork  = lull{look: 5 * time.Second, most: 100 * time.Millisecond, work: time.Second}
)

// stayLean gives back memory once the start is over, and whenever work has ended, until ctx is done. It does not while there is
// work: what is given back then is needed again at once.
func (d *daemon) stayLean(ctx context.Context) {
	var r rest
	for wait, in := settleTime, afterStart; ; wait = in.look {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		used := processorTime()
		if r.due(used, in) {
			lean()
			r.done(processorTime())
			in = afterWork
		} else if used > startUses {
			in = afterWork
		}
	}
}

// rest is what is known of this process's work, as time of the processors since its start.
type rest struct{ looked, given time.Duration }

func (r *rest) due(used time.Duration, in lull) bool {
	quiet := used-r.looked <= in.most
	r.looked = used
	return quiet && used-r.given >= in.work
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
