package supervisor

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/mcpd/mcpd/supervisor/confine"
)

// fakeSystem starts children that are a few fields, so that the clock of a bubble moves.
type fakeSystem struct {
	mu       sync.Mutex
	next     int
	behave   func(o order, n int) behaviour // n counts starts from 0
	children []*fakeChild
	closed   bool
	weight   int64 // bytes of memory of each child that lives
}

// behaviour is what a fake child does.
type behaviour struct {
	unstartable error
	readyAfter  time.Duration // handshake
	refuses     error         // handshake
	crashAfter  time.Duration // from the start; 0: never
	exitAfter   time.Duration // from the end of its input
	deaf        bool          // to EOF
	deafer      bool          // to SIGTERM as well
	words       string        // last lines of standard error
}

type fakeChild struct {
	id        int
	behaviour behaviour
	spec      Spec
	born      time.Time
	trial     bool
	ahead     bool
	favoured  atomic.Bool

	once  sync.Once
	gone  chan struct{}
	input sync.Once
	why   string

	mu   sync.Mutex
	seen []string // what was done to it
}

func (f *fakeSystem) start(o order) (child, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.children)
	b := behaviour{}
	if f.behave != nil {
		b = f.behave(o, n)
	}
	if b.unstartable != nil {
		return nil, b.unstartable
	}
	f.next++
	c := &fakeChild{id: 1000 + f.next, behaviour: b, spec: o.spec, born: time.Now(), trial: o.trial, ahead: o.ahead, gone: make(chan struct{})}
	f.children = append(f.children, c)
	if b.crashAfter > 0 {
		time.AfterFunc(b.crashAfter, func() { c.exit("exited with code 1") })
	}
	return c, nil
}

func (f *fakeSystem) measure() measurement {
	f.mu.Lock()
	weight := f.weight
	f.mu.Unlock()
	m := measurement{groups: make(map[int]usage)}
	for _, c := range f.all() {
		if c.isAlive() {
			m.groups[c.id] = usage{memory: weight}
		}
	}
	return m
}

// weigh sets the memory of each child.
func (f *fakeSystem) weigh(bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.weight = bytes
}

func (f *fakeSystem) report(confine.Want) confine.Report { return confine.Report{} }
func (f *fakeSystem) close()                             { f.mu.Lock(); f.closed = true; f.mu.Unlock() }
func (f *fakeSystem) killAll() {
	for _, c := range f.all() {
		c.signal(syscall.SIGKILL)
	}
}

func (f *fakeSystem) all() []*fakeChild {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*fakeChild(nil), f.children...)
}

func (f *fakeSystem) alive() (n int) {
	for _, c := range f.all() {
		if c.isAlive() {
			n++
		}
	}
	return n
}

func (c *fakeChild) isAlive() bool {
	select {
	case <-c.gone:
		return false
	default:
		return true
	}
}

func (c *fakeChild) exit(why string) {
	c.once.Do(func() { c.why = withWords(why, c.behaviour.words); close(c.gone) })
}

func (c *fakeChild) did(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, what+"@"+time.Since(c.born).String())
}

func (c *fakeChild) history() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.seen...)
}

func (c *fakeChild) pid() int               { return c.id }
func (c *fakeChild) ended() <-chan struct{} { return c.gone }
func (c *fakeChild) reason() string         { return c.why }
func (c *fakeChild) favour(context.Context) { c.favoured.Store(true) }
func (c *fakeChild) lastWords() string      { return c.behaviour.words }

func (c *fakeChild) Read([]byte) (int, error) {
	<-c.gone
	return 0, errors.New(c.why)
}

func (c *fakeChild) Write(b []byte) (int, error) {
	if !c.isAlive() {
		return 0, errors.New(c.why)
	}
	return len(b), nil
}

func (c *fakeChild) closeInput() {
	c.input.Do(func() {
		c.did("eof")
		if !c.behaviour.deaf && !c.behaviour.deafer {
			if c.behaviour.exitAfter == 0 {
				c.exit("exited with code 0")
				return
			}
			time.AfterFunc(c.behaviour.exitAfter, func() { c.exit("exited with code 0") })
		}
	})
}

func (c *fakeChild) signal(sig syscall.Signal) {
	if !c.isAlive() {
		return
	}
	c.did(sig.String())
	if sig == syscall.SIGKILL || !c.behaviour.deafer {
		c.exit("killed by signal " + sig.String())
	}
}

// fakeConn is what is opened on a fake child.
type fakeConn struct {
	child *fakeChild
	rwc   io.ReadWriteCloser
}

func openFake(ctx context.Context, rwc io.ReadWriteCloser) (*fakeConn, error) {
	c := rwc.(*stream[*fakeConn]).child.(*fakeChild)
	if c.behaviour.readyAfter > 0 {
		t := time.NewTimer(c.behaviour.readyAfter)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if c.behaviour.refuses != nil {
		return nil, c.behaviour.refuses
	}
	return &fakeConn{child: c, rwc: rwc}, nil
}

// fakes is a supervisor of fake children.
type fakes struct {
	*Supervisor[*fakeConn]
	system *fakeSystem
	t      testing.TB
}

func newFakes(t testing.TB, o Options, behave func(o order, n int) behaviour) *fakes {
	t.Helper()
	system := &fakeSystem{behave: behave}
	o.system = system
	if o.chance == nil {
		o.chance = func() float64 { return 0 }
	}
	if o.Logger == nil {
		o.Logger = zaptest.NewLogger(t, zaptest.Level(zap.ErrorLevel))
	}
	return &fakes{Supervisor: New[*fakeConn](o), system: system, t: t}
}

func (f *fakes) apply(specs ...Spec) Change {
	f.t.Helper()
	entries := make([]Entry[*fakeConn], len(specs))
	for i, s := range specs {
		entries[i] = Entry[*fakeConn]{Spec: s, Open: openFake}
	}
	change, err := f.Apply(context.Background(), entries)
	if err != nil {
		f.t.Fatal(err)
	}
	return change
}

func (f *fakes) close() {
	f.t.Helper()
	if err := f.Close(context.Background()); err != nil {
		f.t.Error(err)
	}
	if n := f.system.alive(); n > 0 {
		f.t.Errorf("%d children live after Close", n)
	}
}

func (f *fakes) pool(name string) *Pool[*fakeConn] {
	f.t.Helper()
	p, ok := f.Pool(name)
	if !ok {
		f.t.Fatalf("no pool %q", name)
	}
	return p
}

// acquire must succeed.
func (f *fakes) acquire(name, key string) (*fakeConn, func()) {
	f.t.Helper()
	c, release, err := f.pool(name).Acquire(context.Background(), key)
	if err != nil {
		f.t.Fatalf("Acquire(%q): %v", key, err)
	}
	return c, release
}

// refused must not.
func (f *fakes) refused(name, key string) error {
	f.t.Helper()
	_, release, err := f.pool(name).Acquire(context.Background(), key)
	if err == nil {
		release()
		f.t.Fatalf("Acquire(%q) succeeded", key)
	}
	return err
}

func (f *fakes) status(name string) ServerStatus {
	f.t.Helper()
	for _, s := range f.Snapshot().Servers {
		if s.Name == name {
			return s
		}
	}
	return ServerStatus{}
}

func (f *fakes) wantState(name string, want State) {
	f.t.Helper()
	if got := f.status(name); got.State != want {
		f.t.Errorf("state of %s is %s (%s), want %s", name, got.State, got.Reason, want)
	}
}

// spec is a valid one; change edits its configuration.
func spec(t testing.TB, name string, change ...func(*Config)) Spec {
	t.Helper()
	c := DefaultConfig()
	c.Command = testBinary(t)
	for _, f := range change {
		f(&c)
	}
	s, err := NewSpec(name, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func testBinary(t testing.TB) string {
	t.Helper()
	p, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return p
}
