package bridge

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Neighbours are the servers of one daemon, which share its processors. Each
// request tells it whose it is, so that a server knows when it is not alone. The
// zero value is ready to use.
type Neighbours struct {
	members atomic.Uint64 // servers that have joined; each has a number
	last    atomic.Uint64 // the server whose request came last
	changed atomic.Int64  // when that became another one, Unix nanoseconds
}

// company is how long a neighbour counts after its last request.
const company = 100 * time.Millisecond

// beside notes a request of a server and tells whether another one had some lately.
func (n *Neighbours) beside(member uint64, now time.Time) bool {
	if before := n.last.Load(); before != member {
		n.last.Store(member)
		if before != 0 {
			n.changed.Store(now.UnixNano())
			return true
		}
	}
	return now.UnixNano()-n.changed.Load() < int64(company)
}

// lanes bound how many calls of one server are worked on at once. A call that
// flies past takes the processors from other servers' calls, one that waits for
// its worker does not: after a while it counts no more.
type lanes struct {
	young time.Duration // for so long a call counts

	mu     sync.Mutex
	lanes  []lane       // guarded by mu
	queue  []chan place // guarded by mu; who waits, in the order they came
	serial uint64       // guarded by mu
}

// lane is what one call is on, if it is on it still.
type lane struct {
	by    uint64 // 0: free
	since time.Time
}

// place is a call's lane; the zero place is none.
type place struct {
	lane int
	by   uint64
}

// enter waits for a lane, never longer than until those before have had theirs.
// Without one, a request whose client is gone goes on and finds that out itself.
func (l *lanes) enter(ctx context.Context) place {
	mine := make(chan place, 1)
	l.mu.Lock()
	l.queue = append(l.queue, mine)
	l.hand(time.Now())
	l.mu.Unlock()
	select {
	case p := <-mine:
		return p
	default:
	}
	look := time.NewTicker(l.young)
	defer look.Stop()
	for {
		select {
		case p := <-mine:
			return p
		case now := <-look.C:
			l.mu.Lock()
			l.hand(now)
			l.mu.Unlock()
		case <-ctx.Done():
			l.mu.Lock()
			l.queue = slices.DeleteFunc(l.queue, func(other chan place) bool { return other == mine })
			l.mu.Unlock()
			select {
			case p := <-mine:
				return p
			default:
				return place{}
			}
		}
	}
}

// leave gives the lane to the next, unless somebody has it already.
func (l *lanes) leave(p place) {
	if p.by == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lanes[p.lane].by == p.by {
		l.lanes[p.lane] = lane{}
	}
	l.hand(time.Now())
}

// hand gives lanes that are free, or whose calls do not count any more, to those
// who wait. Under mu.
func (l *lanes) hand(now time.Time) {
	for i := range l.lanes {
		if len(l.queue) == 0 {
			return
		}
		if v := &l.lanes[i]; v.by == 0 || now.Sub(v.since) >= l.young {
			l.serial++
			*v = lane{l.serial, now}
			l.queue[0] <- place{i, l.serial}
			l.queue = l.queue[1:]
		}
	}
}
