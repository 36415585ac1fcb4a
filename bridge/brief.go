package bridge

import (
	"sync"
	"time"
)

// briefs collects changes of lists for a moment before they are announced: the
// workers of a pool each tell of the same change.
type briefs struct {
	wait time.Duration
	tell func(audience, lists)

	mu  sync.Mutex
	due map[audience]lists // as many as there are workers at most
}

// add notes a change. The first one sets the moment at which all are told.
func (b *briefs) add(to audience, l lists) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.due == nil {
		b.due = map[audience]lists{}
		time.AfterFunc(b.wait, b.flush)
	}
	b.due[to] |= l
}

func (b *briefs) flush() {
	b.mu.Lock()
	due := b.due
	b.due = nil
	b.mu.Unlock()
	for to, l := range due {
		b.tell(to, l)
	}
}
