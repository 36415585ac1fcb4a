package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Workers lends out connections. key is opaque to it: calls with equal keys
// may be given the same worker, calls with different keys never are. release
// is called once per Acquire; the connection may die at any time before that.
// Acquire bounds its own waiting. The text of an error is for people; an error with a method
// RetryAfter() time.Duration says when it is worth trying again.
type Workers interface {
	Acquire(ctx context.Context, key string) (c *Conn, release func(), err error)
}

// Options are what a Server is made of.
type Options struct {
	Name    string // of the server; session ids are bound to it
	Config  Config
	Workers Workers
	Prefix  string // in front of the paths this handler is asked for, "" or "/name"; clients of HTTP+SSE are told

	// Principal says who is calling: an opaque id, "" for anonymous. nil: everyone is anonymous.
	Principal func(*http.Request) string
	// Permit says whether the caller may have what a request asks for; nil: yes. It is called once per request that
	// asks something of the server, on its goroutine. Optional.
	Permit func(*http.Request, Want) *Denial
	// Shows says which tools a list of tools has for the caller: those that Permit lets them call. nil, or a nil answer:
	// all. It is called once per request for such a list, on its goroutine. Optional.
	Shows func(*http.Request) func(Tool) bool
	// Spawn starts a disposable child, to be asked which protocol generation
	// it speaks; closing it ends it. nil: with era = "auto" every server is legacy.
	Spawn func(ctx context.Context) (io.ReadWriteCloser, error)

	Sealer  Sealer      // of session ids and request states
	Logger  *zap.Logger // bound to the server's name already
	Version string      // of mcpd, told to the servers

	// Memory is where to keep what the server said of itself and its lists, so
	// that clients are answered before the first child has started. Optional.
	Memory Memory

	// Ended remembers ended sessions. nil: until this Server is gone.
	Ended Ended

	// Neighbours are the other servers of this daemon. nil: there are none.
	Neighbours *Neighbours

	// Observe is called at the end of every request, on its goroutine. Optional.
	Observe func(CallRecord)
}

// CallRecord is what one request was, for the access log.
type CallRecord struct {
	Context   context.Context // of the request
	Method    string          // JSON-RPC method, or "GET", "DELETE", "batch"
	Tool      string          // tools/call: the tool's name
	Version   string          // protocol version spoken with the client
	Client    string          // what the client calls itself
	Principal string
	Status    int  // HTTP
	Code      int  // of a JSON-RPC error, 0 if none
	Failed    bool // the result says that the tool failed (isError)
	Ended     time.Time
	Duration  time.Duration
}

// Stats are counts since the Server was made.
type Stats struct {
	Calls    uint64 // calls written to a worker
	Noise    uint64 // lines of workers that were no message
	Streams  int    // open now: listens and session streams
	Sessions int    // with calls, subscriptions or a log level now; any other is nothing but its id
	Workers  int    // connections open now
	Pending  int    // calls waiting for a worker's answer now, parked ones included
	Parked   int    // calls waiting for a modern client to come back with answers
}

// Server is one MCP server as its HTTP clients see it. It is an http.Handler
// for the path /mcp, with Config.SSE also for /sse and /messages, and safe for concurrent use.
type Server struct {
	o      Options
	log    *zap.Logger
	bound  []byte // associated data of session ids
	ticket []byte // associated data of tickets

	bufs      buffers
	exchanges sync.Pool
	era       eras
	ident     atomic.Pointer[identity]
	catalogue catalogue
	live      liveSessions
	unsealed  unsealed
	lanes     lanes
	member    uint64 // of Neighbours
	denied    denyList
	watch     watch
	questions questions
	behind    *behind
	naps      naps
	tasks     tasks
	replays   replays
	channels  channels
	owners    owners
	briefs    briefs
	lot       lot

	mu     sync.Mutex
	conns  map[*Conn]struct{}
	serial uint64 // of the newest connection
	halted bool   // no connection is adopted any more

	active   atomic.Int64
	stopping atomic.Bool
	closing  chan struct{} // streams end
	halt     chan struct{} // calls end
	idle     chan struct{} // the last request has ended, after closing
	once     sync.Once
	idleOnce sync.Once
	stats    struct{ calls, noise atomic.Uint64 }

	// Delays, with defaults; tests set them before the first request.
	keepAlive     time.Duration // between comments on a silent stream
	writeTimeout  time.Duration // of one write, to a client or a worker
	grace         time.Duration // a session's call goes on after its client left
	answerTimeout time.Duration // for a client to answer a question
	debounce      time.Duration // questions this close together go to a modern client as one
	identityAge   time.Duration
	primeAfter    time.Duration // a silent call of a client that can resume becomes a stream
	napAfter      time.Duration // subscriptions of a session that nobody is at hold no worker
}

var errStopping = internal("this server is being stopped or replaced; try again")

// New returns a Server, or an error that names every option that is wrong.
func New(o Options) (*Server, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	if o.Workers == nil || o.Sealer == nil {
		return nil, errors.New("cannot bridge without workers and a sealer")
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Neighbours == nil {
		o.Neighbours = &Neighbours{}
	}
	if o.Principal == nil {
		o.Principal = func(*http.Request) string { return "" }
	}
	s := &Server{
		o:             o,
		log:           o.Logger,
		bound:         []byte("mcpd session\x00" + o.Name),
		ticket:        []byte("mcpd requestState\x00" + o.Name),
		conns:         map[*Conn]struct{}{},
		behind:        newBehind(),
		closing:       make(chan struct{}),
		halt:          make(chan struct{}),
		idle:          make(chan struct{}),
		keepAlive:     15 * time.Second,
		writeTimeout:  20 * time.Second,
		grace:         30 * time.Second,
		answerTimeout: o.Config.Limits.Park,
		debounce:      25 * time.Millisecond,
		identityAge:   time.Hour,
		primeAfter:    2 * time.Second,
		napAfter:      time.Hour,
	}
	s.questions.next = rand.Uint64N(1 << 50)
	s.unsealed.seed = maphash.MakeSeed()
	s.lanes = lanes{young: 2 * time.Millisecond, lanes: make([]lane, cmp.Or(o.Config.Limits.Abreast, 2*runtime.GOMAXPROCS(0)))}
	s.member = s.o.Neighbours.members.Add(1)
	s.owners.started = time.Now().Unix()
	if o.Ended != nil {
		for id, until := range o.Ended.All() {
			s.denied.add(id, until)
		}
	}
	s.briefs.wait, s.briefs.tell = 150*time.Millisecond, s.watch.changed
	s.replays.age, s.replays.gone = 2*time.Minute, s.watch.remove
	s.era = eras{
		fixed: o.Config.Era, spawn: o.Spawn, log: s.log, meta: s.ownMeta,
		wait: 10 * time.Second, age: 24 * time.Hour, silence: 10 * time.Minute,
		limit: o.Config.Limits.Line, bufs: &s.bufs,
	}
	s.recall()
	return s, nil
}

// Stats returns the counts.
func (s *Server) Stats() Stats {
	st := Stats{Calls: s.stats.calls.Load(), Noise: s.stats.noise.Load(), Streams: s.watch.count(), Sessions: s.live.count(), Parked: s.lot.count()}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Workers = len(s.conns)
	for c := range s.conns {
		st.Pending += c.calls.count()
	}
	return st
}

// Close refuses new requests, ends streams and parked calls at once, waits for calls until
// ctx's deadline and then ends them, and at last closes the workers'
// connections and waits for their readers. It returns ctx's error if calls had
// to be ended.
func (s *Server) Close(ctx context.Context) error {
	var err error
	s.once.Do(func() {
		s.stopping.Store(true)
		close(s.closing)
		s.live.endAll()
		s.tasks.close()
		s.replays.close()
		s.lot.close()
		s.naps.close()
		s.active.Add(1)
		s.leave()
		select {
		case <-s.idle:
		case <-ctx.Done():
			err = fmt.Errorf("cannot wait for the calls in flight: %w", context.Cause(ctx))
		}
		close(s.halt)
		s.behind.close(ctx)
		s.mu.Lock()
		s.halted = true
		var open []*Conn
		for c := range s.conns {
			open = append(open, c)
		}
		s.mu.Unlock()
		for _, c := range open {
			c.finish()
		}
		for _, c := range open {
			select {
			case <-c.done:
			case <-ctx.Done():
				c.rwc.Close()
			}
		}
	})
	return err
}

// enter counts a request in; false: the server is closing.
func (s *Server) enter() bool {
	s.active.Add(1)
	if s.stopping.Load() {
		s.leave()
		return false
	}
	return true
}

// leave counts a request out and says so when it was the last.
func (s *Server) leave() {
	if s.active.Add(-1) == 0 && s.stopping.Load() {
		s.idleOnce.Do(func() { close(s.idle) })
	}
}

// private reports whether a worker serves one person.
func (s *Server) private() bool { return s.o.Config.Isolation != "shared" }

// profileOf reads the profile of a worker's key; in shared isolation there is none.
func (s *Server) profileOf(key string) profile {
	if !s.private() {
		return profile{}
	}
	p, _ := splitKey(key)
	return p
}

// acquire borrows a worker of the caller's, or of everyone.
func (s *Server) acquire(ctx context.Context, p profile, who string) (*Conn, func(), error) {
	key := ""
	if s.private() {
		key = p.keyOf(who)
	}
	c, release, err := s.o.Workers.Acquire(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	c.lentFor(key)
	if err := s.settled(p, c); err != nil {
		release()
		return nil, nil, err
	}
	return c, release, nil
}

// adopt registers a connection; false: the server is closed. While it is closing, the
// calls that came before may still wait for their worker.
func (s *Server) adopt(c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.halted {
		return false
	}
	s.serial++
	c.serial = s.serial
	s.conns[c] = struct{}{}
	return true
}

// running returns the connection that serves a key, nil if there is none.
func (s *Server) running(key string) *Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if k := c.lent.Load(); k != nil && *k == key && c.opened.Load() {
			return c
		}
	}
	return nil
}

func (s *Server) forget(c *Conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}
