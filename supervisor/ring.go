package supervisor

import (
	"context"
	"iter"
	"sync"
	"time"
)

// Line is one line that a child wrote to its standard error, cleaned and masked.
type Line struct {
	Time   time.Time
	Worker int // the child's process id
	Text   string
}

// LogReader reads the lines that the supervisor keeps of one server. It is safe for concurrent
// use and stays valid when the server is restarted.
type LogReader struct{ ring *ring }

// Tail returns the last n lines, the oldest first, or all that are kept if they are fewer.
func (r LogReader) Tail(n int) []Line {
	lines, _, _ := r.ring.since(r.ring.back(n))
	return lines
}

// Follow yields every line from now on, until ctx ends. A reader that is slower than the server
// misses lines rather than holding it up.
func (r LogReader) Follow(ctx context.Context) iter.Seq[Line] { return r.FollowTail(ctx, 0) }

// FollowTail yields the last n lines and then every further one, with no gap between.
func (r LogReader) FollowTail(ctx context.Context, n int) iter.Seq[Line] {
	next := r.ring.back(n)
	return func(yield func(Line) bool) {
		for {
			lines, after, more := r.ring.since(next)
			for _, l := range lines {
				if !yield(l) {
					return
				}
			}
			next = after
			select {
			case <-more:
			case <-ctx.Done():
				return
			}
		}
	}
}

// ring keeps the last lines of a server, bounded by their number and by their bytes.
type ring struct {
	lines int      // most lines kept
	bytes int      // most bytes of text kept
	file  *logFile // where every line goes besides; nil: nowhere

	mu   sync.Mutex
	kept []Line        // guarded by mu; kept[head:] are the lines, oldest first
	head int           // guarded by mu
	size int           // guarded by mu; bytes of text in kept[head:]
	next uint64        // guarded by mu; number of the line that comes next
	more chan struct{} // guarded by mu; closed at the next line; nil while nobody waits
}

func (r *ring) add(l Line) {
	r.file.write(l)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = append(r.kept, l)
	r.size += len(l.Text)
	r.next++
	for len(r.kept)-r.head > r.lines || r.size > r.bytes && len(r.kept)-r.head > 1 {
		r.size -= len(r.kept[r.head].Text)
		r.kept[r.head] = Line{}
		r.head++
	}
	if r.head > r.lines { // half the slice is empty: move the rest down, once per so many lines
		n := copy(r.kept, r.kept[r.head:])
		clear(r.kept[n:])
		r.kept, r.head = r.kept[:n], 0
	}
	if r.more != nil {
		close(r.more)
		r.more = nil
	}
}

// back is the number of the n-th line from the end.
func (r *ring) back(n int) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next - uint64(min(max(n, 0), len(r.kept)-r.head))
}

// since returns the kept lines from number from on, the number to go on with, and a channel that
// is closed when there is more.
func (r *ring) since(from uint64) (lines []Line, next uint64, more <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(r.next-from, uint64(len(r.kept)-r.head))
	lines = append(lines, r.kept[len(r.kept)-int(n):]...)
	if r.more == nil {
		r.more = make(chan struct{})
	}
	return lines, r.next, r.more
}
