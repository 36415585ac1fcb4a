package supervisor

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/mcpd/mcpd/supervisor/confine"
)

// BudgetConfig is what all servers may use together. When it is used up, the worker that has been idle longest,
// whosever it is, ends for a new one; while all are busy, calls that need a new one wait, and the server whose call came first
// gets the next place. SIGHUP: no, needs a restart.
type BudgetConfig struct {
	// Workers is the most worker processes. Default: 512.
	Workers int `koanf:"workers"`

	// Memory is the most that the workers may have resident, in bytes or as text such as "2GiB"; it is looked at
	// every two seconds, and bounds new workers only. 0 is no limit. Default: 0.
	Memory Bytes `koanf:"memory"`

	// Starts is the most workers that are started per second. 0 is no limit. Default: 50.
	Starts int `koanf:"starts"`
}

// DefaultBudget is the budget where nothing is said.
func DefaultBudget() BudgetConfig { return BudgetConfig{Workers: 512, Starts: 50} }

// Validate reports everything that is wrong, one error per line, each beginning with its key.
func (c BudgetConfig) Validate() error {
	var errs []error
	if c.Workers < 1 {
		errs = append(errs, fmt.Errorf("workers: %d must be at least 1", c.Workers))
	}
	if c.Memory < 0 {
		errs = append(errs, fmt.Errorf("memory: %d must not be negative", c.Memory))
	}
	if c.Starts < 0 {
		errs = append(errs, fmt.Errorf("starts: %d must not be negative", c.Starts))
	}
	return errors.Join(errs...)
}

// budget is what is left of it. A server that gets nothing waits in a line, one place for each, and is nudged when
// that may have changed. It leaves the line when it has got something or wants nothing any more.
type budget struct {
	BudgetConfig
	starts *rate.Limiter // nil: no limit
	wake   chan struct{} // tells relieve that somebody waits; holds one

	mu      sync.Mutex
	taken   int       // guarded by mu; places
	freeing int       // guarded by mu; of them, those that were taken from idle workers and are not free yet
	used    int64     // guarded by mu; memory at the last look
	waiting []waiting // guarded by mu; the line
}

// waiting is a server in the line. One that only wants a worker to be ready for later stands as if it had come
// after everybody who calls within courtesy; it is not put off for ever.
type waiting struct {
	who  nudged
	turn time.Time
}

type nudged interface{ nudge() }

const courtesy = time.Second

// How often relieve looks: at the memory, where it has a limit; and while somebody waits, because no server tells
// another that its worker is idle now.
const (
	lookAtMemory = 2 * time.Second
	lookAgain    = 100 * time.Millisecond
)

func newBudget(c BudgetConfig) *budget {
	b := &budget{BudgetConfig: c, wake: make(chan struct{}, 1)}
	if c.Starts > 0 {
		b.starts = rate.NewLimiter(rate.Limit(c.Starts), c.Starts)
	}
	return b
}

// take takes a place for a process, or says why there is none for who now; who, if there is anybody, waits in the line then.
func (b *budget) take(who nudged, turn time.Time) (refusal string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was, ahead := len(b.waiting), 0
	if who != nil {
		ahead = b.line(who, turn)
	}
	if refusal = b.lacks(ahead); refusal == "" {
		b.taken++
		b.unline(who)
		if b.starts != nil {
			b.starts.Allow()
		}
		return ""
	}
	if len(b.waiting) > was {
		select {
		case b.wake <- struct{}{}:
		default: // it will look anyway
		}
	}
	return refusal
}

// lacks is why who has so many ahead in the line gets no place. Callers hold mu.
func (b *budget) lacks(ahead int) string {
	switch {
	case b.taken >= b.Workers:
		return fmt.Sprintf("%d worker processes run already, the most this mcpd may have", b.Workers)
	case b.Memory > 0 && b.used >= int64(b.Memory):
		return fmt.Sprintf("its workers use %s of memory, and may use %s", confine.Size(b.used), confine.Size(int64(b.Memory)))
	case b.taken+ahead >= b.Workers:
		return fmt.Sprintf("this mcpd may have %d worker processes, and others came first", b.Workers)
	case b.starts != nil && b.starts.Tokens() < float64(ahead+1):
		return fmt.Sprintf("%d workers are started a second, and others came first", b.Starts)
	}
	return ""
}

// line tells how many are ahead of who, who joins the line if it is not in it. Callers hold mu.
func (b *budget) line(who nudged, turn time.Time) (ahead int) {
	if i := slices.IndexFunc(b.waiting, func(w waiting) bool { return w.who == who }); i >= 0 {
		if !turn.Before(b.waiting[i].turn) {
			return i
		}
		b.waiting = slices.Delete(b.waiting, i, i+1)
	}
	for ahead < len(b.waiting) && !b.waiting[ahead].turn.After(turn) {
		ahead++
	}
	b.waiting = slices.Insert(b.waiting, ahead, waiting{who, turn})
	return ahead
}

// leave takes who out of the line: it wants nothing any more.
func (b *budget) leave(who nudged) {
	b.mu.Lock()
	was := len(b.waiting)
	b.unline(who)
	left := len(b.waiting) < was
	b.mu.Unlock()
	if left { // it may have been in somebody's way
		b.nudge()
	}
}

// unline is for callers that hold mu.
func (b *budget) unline(who nudged) {
	b.waiting = slices.DeleteFunc(b.waiting, func(w waiting) bool { return w.who == who })
}

func (b *budget) give() {
	b.mu.Lock()
	b.taken--
	b.freeing = max(b.freeing-1, 0)
	b.mu.Unlock()
	b.nudge()
}

// expect counts places that are about to be given back.
func (b *budget) expect(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.freeing = max(b.freeing+n, 0)
}

// nudge has those who wait try again.
func (b *budget) nudge() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.waiting {
		w.who.nudge() // does not wait
	}
}

// wanted is how many idle workers have to go now for their places, and until when to look again; 0: when woken.
func (b *budget) wanted() (n int, again time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) > 0 {
		return max(0, min(len(b.waiting), b.taken-b.Workers+len(b.waiting))-b.freeing), lookAgain
	}
	if b.Memory > 0 {
		return 0, lookAtMemory
	}
	return 0, 0
}

// relieve makes room in the budget until stop is closed.
func (s *Supervisor[C]) relieve(stop <-chan struct{}) {
	b := s.o.budget
	timer := time.NewTimer(lookAtMemory)
	defer timer.Stop()
	for {
		n, again := b.wanted()
		s.thin(n)
		if timer.Stop(); again > 0 {
			timer.Reset(again)
		}
		select {
		case <-stop:
			return
		case <-b.wake:
		case <-timer.C:
			b.nudge()
		}
	}
}

// idler is the worker of a server that has been idle longest, and what all its workers use.
type idler[C any] struct {
	server *server[C]
	found  bool
	used   time.Time
	memory int64 // of that worker
	all    int64
}

// thin ends the n workers that have been idle longest, and as many more as the memory takes.
func (s *Supervisor[C]) thin(n int) {
	b := s.o.budget
	if n == 0 && b.Memory == 0 {
		return
	}
	groups := s.o.system.measure().groups
	var idle []idler[C]
	var memory int64
	for _, srv := range s.all() {
		got := make(chan idler[C], 1)
		if srv.ask(s.closing, func() { got <- srv.idlest(groups) }) != nil {
			continue
		}
		i := <-got
		if memory += i.all; i.found {
			idle = append(idle, i)
		}
	}
	b.mu.Lock()
	b.used = memory
	b.mu.Unlock()
	slices.SortFunc(idle, func(a, b idler[C]) int { return a.used.Compare(b.used) })
	for _, i := range idle {
		if n <= 0 && (b.Memory == 0 || memory < int64(b.Memory)) {
			return
		}
		b.expect(1) // before: the place may be free at once
		if !i.server.yield() {
			b.expect(-1)
			continue
		}
		memory -= i.memory
		n--
	}
}

// idlest looks for the worker that may go first. What is kept ready stays.
func (s *server[C]) idlest(groups map[int]usage) idler[C] {
	i := idler[C]{server: s}
	for _, w := range s.workers {
		i.all += groups[w.processID()].memory
	}
	if w, used := s.longestIdle(); w != nil {
		i.found, i.used, i.memory = true, used, groups[w.processID()].memory
	}
	return i
}

// longestIdle is the worker that has been idle longest and is not one of those that are kept ready.
func (s *server[C]) longestIdle() (victim *worker[C], oldest time.Time) {
	keep := s.spares() <= s.wanted()
	for _, w := range s.workers {
		if w.state != ready || w.generation == s.generation && w.key == "" && keep {
			continue
		}
		if used, idle := s.pool.idleSince(w); idle && (victim == nil || used.Before(oldest)) {
			victim, oldest = w, used
		}
	}
	return victim, oldest
}

// yield ends that worker for another server's, and tells whether there was one.
func (s *server[C]) yield() (ok bool) {
	_ = s.do(func() {
		if w, used := s.longestIdle(); w != nil {
			if ok, _ = s.pool.withdrawIdle(w, used); ok {
				s.step(w, unused, "its place was needed for another server")
			}
		}
	})
	return ok
}
