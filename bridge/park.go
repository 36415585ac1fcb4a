package bridge

import (
	"sync"
	"time"
)

// parked is a call whose worker waits for answers and whose client has been
// sent away with the questions. The worker stays borrowed, so that nobody
// stops it, and the call stays open: it is never made a second time.
type parked struct {
	flight
	id    sid
	who   string
	open  []*asked
	last  int
	until time.Time
	notes []*frame // what the client is told when it comes back, the newest
	end   *frame   // what ended the call while it was parked

	taken chan struct{} // closed by who took it from the lot
	left  chan struct{} // closed when its keeper has let go of it
}

// What a person and a server may have parked at a time.
const (
	maxParkedPerson = 32
	maxParked       = 512
)

var (
	errParkedPerson = later("too many of your calls to this server wait for answers", 10)
	errParked       = later("too many calls to this server wait for answers", 10)
)

// lot holds the parked calls of a server. Who takes a call out owns it.
type lot struct {
	mu     sync.Mutex
	calls  map[sid]*parked
	people map[string]int
	closed bool
	wg     sync.WaitGroup
}

// put parks a call and gives it a keeper.
func (l *lot) put(s *Server, p *parked) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return errStopping
	case len(l.calls) >= maxParked:
		return errParked
	case l.people[p.who] >= maxParkedPerson:
		return errParkedPerson
	}
	if l.calls == nil {
		l.calls, l.people = map[sid]*parked{}, map[string]int{}
	}
	l.calls[p.id] = p
	l.people[p.who]++
	if p.end == nil {
		p.c.calls.park(p.w)
	}
	p.taken, p.left = make(chan struct{}), make(chan struct{})
	l.wg.Go(func() { s.keep(p) }) // ends when the call is taken, its time is over or the server closes; waited for by lot.close
	return nil
}

// take removes a call and returns it, nil if it is not there.
func (l *lot) take(id sid) *parked {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.calls[id]
	if p == nil {
		return nil
	}
	delete(l.calls, id)
	if l.people[p.who]--; l.people[p.who] == 0 {
		delete(l.people, p.who)
	}
	return p
}

// close refuses more calls and waits until those in the lot are ended, which
// the closing of the server starts.
func (l *lot) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.wg.Wait()
}

func (l *lot) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.calls)
}

// keep looks after a parked call until somebody takes it or its time is over.
func (s *Server) keep(p *parked) {
	defer close(p.left)
	t := time.NewTimer(time.Until(p.until))
	defer t.Stop()
	var frames chan *frame
	if p.end == nil {
		frames = p.w.frames
	}
	for {
		var why string
		select {
		case f := <-frames:
			if p.hold(f) {
				frames = nil
			}
			continue
		case <-p.taken:
			return
		case <-t.C:
			why = "the client did not answer in time"
		case <-s.closing:
			why = errStopping.text
		}
		if s.lot.take(p.id) == nil {
			<-p.taken // at the same moment
			return
		}
		p.abandon(why)
		return
	}
}

// maxNotes bounds the notifications that wait for a client.
const maxNotes = 32

// hold keeps what the worker says meanwhile: notifications, more questions, and
// the end, after which the worker is free.
func (p *parked) hold(f *frame) (over bool) {
	switch f.kind {
	case frameNote:
		if len(p.notes) == maxNotes {
			p.c.drop(p.notes[0])
			p.notes = p.notes[1:]
		}
		p.notes = append(p.notes, f)
	case frameLook:
		p.c.drop(f)
	case frameWithdrawal:
		p.open, _ = p.c.without(p.open, f)
		p.c.drop(f)
	case frameQuestion:
		var ok bool
		if p.open, ok = collected(p.open, &p.last, f, p.until); !ok {
			p.c.refuse(f.env.id.of(f.line.b), codeInternal, "too many questions at once")
			p.c.drop(f)
		}
	default:
		p.end = f
		p.land()
		p.c.passOn(p.open)
		p.open = nil
		return true
	}
	return false
}

// abandon ends a call nobody came back for.
func (p *parked) abandon(why string) {
	for _, f := range p.notes {
		p.c.drop(f)
	}
	p.notes = nil
	if p.end != nil {
		p.c.drop(p.end)
		return
	}
	p.c.giveUp(p.open, why)
	p.open = nil
	p.cancel(why)
	p.land()
}
