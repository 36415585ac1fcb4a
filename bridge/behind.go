package bridge

import (
	"context"
	"sync"
	"time"
)

// behind runs what is done after an answer and not for it: at most one of each
// name at a time, so many in all, and none after close.
type behind struct {
	mu     sync.Mutex
	busy   map[string]bool // true: asked for again meanwhile
	closed bool
	wg     sync.WaitGroup
	done   context.Context // ends with close
	end    context.CancelFunc
}

const (
	// maxBehind bounds the work behind answers of one server.
	maxBehind = 256
	// refreshTime is what a worker gets to start and to list everything.
	refreshTime = 3 * time.Minute
)

func newBehind() *behind {
	b := &behind{busy: map[string]bool{}}
	b.done, b.end = context.WithCancel(context.Background())
	return b
}

// run calls f on a goroutine of its own. While one of that name runs, f is
// called once more when it has ended: it will see what has changed by then.
func (b *behind) run(name string, f func()) { b.start(name, true, f) }

// once is run without the second call.
func (b *behind) once(name string, f func()) { b.start(name, false, f) }

func (b *behind) start(name string, more bool, f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if again, ok := b.busy[name]; ok {
		b.busy[name] = again || more
		return
	}
	if b.closed || len(b.busy) >= maxBehind {
		return
	}
	b.busy[name] = false
	b.wg.Go(func() { // ends with f, which is bounded by done; waited for by close
		for {
			f()
			if !b.again(name) {
				return
			}
		}
	})
}

func (b *behind) again(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.busy[name] && !b.closed {
		b.busy[name] = false
		return true
	}
	delete(b.busy, name)
	return false
}

// close starts nothing more, ends what waits, and waits for it until ctx ends.
func (b *behind) close(ctx context.Context) {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.end()
	all := make(chan struct{})
	go func() { // ends with the last of the work, which done has ended
		b.wg.Wait()
		close(all)
	}()
	select {
	case <-all:
	case <-ctx.Done():
	}
}

// borrow runs f once at a time per what and worker, behind an answer that was given without a worker.
func (s *Server) borrow(what string, p profile, who string, f func(ctx context.Context, c *Conn)) {
	s.behind.once(what+"\x00"+s.keyFor(p, who), func() {
		ctx, cancel := context.WithTimeout(s.behind.done, refreshTime)
		defer cancel()
		c, release, err := s.acquire(ctx, p, who)
		if err != nil {
			return // the client hears of it at its first call
		}
		defer release()
		f(ctx, c)
	})
}

// refresh learns anew what the server says of itself.
func (s *Server) refresh(p profile, who string) {
	s.borrow("refresh", p, who, func(_ context.Context, c *Conn) { s.relearn(c) })
}
