package supervisor

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/mcpd/mcpd/supervisor/confine"
)

// markVariable is in the environment of every child and so of what a child starts. It tells, of a
// process that has left its group and lost its parent, which worker it came from.
const markVariable = "MCPD_WORKER"

// host is this machine: it starts real processes and keeps account of them, so that none is lost.
type host struct {
	log      *zap.Logger
	mark     string // drawn by chance: which processes are from this host
	brand    uint64 // the same, in the kernel; 0 where that cannot be had
	guardian *guardian
	machine  *confine.Machine
	scratch  string // for temporary directories; "": the system's

	starts  chan startOrder
	running sync.WaitGroup // the goroutines of processes
	spawner sync.WaitGroup
	sweeper sync.WaitGroup // and the watch
	stop    chan struct{}  // ends both
	dirty   chan struct{}  // tells the sweeper that something may be left; holds one

	mu     sync.Mutex
	serial int                 // guarded by mu; number of the last process
	begun  int                 // guarded by mu; starts under way: their children are not in live yet
	live   map[int]*tracked    // guarded by mu; our own children that have not been reaped, by pid
	left   map[int]struct{}    // guarded by mu; groups whose leader is gone, until they are seen to be empty
	strays map[stray]time.Time // guarded by mu; unclaimed zombies, and when they were first seen
	// doomed are the adopted processes that were killed as orphans; known to be ours, they are
	// reaped as soon as they are dead. guarded by mu
	doomed map[stray]struct{}
	unread int  // guarded by mu; how many processes the last look could not tell of
	ending bool // guarded by mu; no worker lives any more
	// strayAge is how long such a zombie is left for somebody to wait for it. guarded by mu
	strayAge time.Duration
}

// tracked is a child that was started here.
type tracked struct {
	*process
	mark     string
	want     confine.Want
	cell     *confine.Cell
	sentence string // why it was killed for its limits; guarded by the host's mu
}

// stray is an unclaimed zombie; with its start, in ticks since boot, its number is unique.
type stray struct {
	pid   int
	start uint64
}

// startOrder is one start, for the spawner.
type startOrder struct {
	cmd   *exec.Cmd
	order order
	err   chan error
}

func newHost(o Options) *host {
	h := &host{
		log: o.Logger, scratch: o.Scratch, mark: rand.Text(), starts: make(chan startOrder), stop: make(chan struct{}), dirty: make(chan struct{}, 1),
		live: make(map[int]*tracked), left: make(map[int]struct{}), strays: make(map[stray]time.Time), doomed: make(map[stray]struct{}),
		strayAge: 10 * time.Second,
	}
	adopt(h.log)
	if b, err := newBrand(); err != nil {
		h.log.Warn("processes that leave their group and change their environment cannot be followed", zap.Error(err))
	} else {
		h.brand = b
	}
	h.machine = confine.Look(o.Confine) // before the first child, which else would be in our cgroup
	h.log.Debug("limits", zap.Bool("cgroup", !h.machine.Watched()), zap.NamedError("why", h.machine.Why()))
	h.prepareScratch()
	h.spawner.Go(h.spawn) // ends when starts is closed, by close
	h.sweeper.Go(h.sweep) // ends when stop is closed, by close
	if h.machine.Watched() {
		h.sweeper.Go(h.watch) // likewise
	}
	h.guardian = newGuardian(h, o.Guardian)
	return h
}

// prepareScratch empties the directory for temporary ones: what is there belonged to workers of
// before.
func (h *host) prepareScratch() {
	if h.scratch == "" {
		return
	}
	if err := errors.Join(os.RemoveAll(h.scratch), os.MkdirAll(h.scratch, 0o700)); err != nil {
		h.log.Warn("cannot empty the directory for temporary files", zap.Error(err))
	}
}

func (h *host) report(w confine.Want) confine.Report { return h.machine.Report(w) }

// spawn starts every child, from one thread that lives as long as there are children: the kernel
// sends Pdeathsig when the *thread* that started a child ends, and threads of other goroutines
// come and go.
func (h *host) spawn() {
	runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
	for s := range h.starts {
		err := s.cmd.Start()
		if err == nil {
			h.brandWorker(s.cmd.Process.Pid)
			s.order.lower(s.cmd.Process.Pid)
		}
		s.err <- err
	}
}

// launch starts cmd on the spawner's thread.
func (h *host) launch(cmd *exec.Cmd, o order) error {
	s := startOrder{cmd: cmd, order: o, err: make(chan error, 1)}
	h.starts <- s
	return <-s.err
}

// start starts a child. The error is a reason for a person.
func (h *host) start(o order) (child, error) {
	h.mu.Lock()
	h.serial++
	t := &tracked{mark: h.mark + "/" + o.spec.Name + "/" + strconv.Itoa(h.serial), want: o.spec.want()}
	h.mu.Unlock()
	var err error
	if t.cell, err = h.machine.Cell(o.spec.Name, h.scratch, t.want); err != nil {
		return nil, err
	}
	environ := append(append([]string(nil), o.spec.Environ...), markVariable+"="+t.mark)
	h.mu.Lock()
	h.begun++
	h.mu.Unlock()
	t.process, err = h.begin(o, environ, t.cell)
	h.mu.Lock()
	if h.begun--; err == nil {
		h.live[t.pid()] = t
		delete(h.left, t.pid())
	}
	h.mu.Unlock()
	if err != nil {
		t.cell.Close()
		return nil, err
	}
	p := t.process
	h.guardian.watch(p.pid())
	p.output = newOutput(o.ring, o.mask, p.pid())
	h.running.Go(p.listen)               // ends with the child's standard error, which follow sees to
	h.running.Go(func() { h.follow(t) }) // ends with the child
	return p, nil
}

// begin makes the process and starts it in its cell.
func (h *host) begin(o order, environ []string, cell *confine.Cell) (*process, error) {
	p, theirs, err := newProcess(o, environ)
	if err != nil {
		return nil, err
	}
	if err = cell.Dress(p.cmd); err == nil {
		err = h.launch(p.cmd, o)
	}
	closeAll(theirs)
	if err != nil {
		closeAll([]*os.File{p.stdin, p.stdout, p.stderr})
		return nil, unstartable(o, err)
	}
	return p, nil
}

// follow waits for the end of a child and cleans up behind it.
func (h *host) follow(t *tracked) {
	p, pid := t.process, t.pid()
	awaitExit(p)
	// The child is a zombie now (on Linux) and keeps its number, so the group that has this
	// number is its group: the one moment at which killing it can hit nobody else.
	p.killGroup()
	t.cell.Kill()
	h.guardian.unwatch(pid)
	p.reap()
	h.mu.Lock()
	sentence := cmp.Or(t.sentence, t.cell.Verdict(p.cmd.ProcessState))
	h.mu.Unlock()
	p.finish(sentence)
	h.mu.Lock()
	delete(h.live, pid)
	h.left[pid] = struct{}{}
	h.mu.Unlock()
	h.nudge()
	close(p.gone)
	t.cell.Close()
}

// killAll kills the groups of all children.
func (h *host) killAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.live {
		t.signal(syscall.SIGKILL)
	}
}

// close ends what the host runs itself. Every child must be gone.
func (h *host) close() {
	h.running.Wait()
	close(h.stop)
	h.sweeper.Wait()
	h.guardian.close() // it may start one until then
	close(h.starts)
	h.spawner.Wait()
}

// nudge lets the sweeper look soon.
func (h *host) nudge() {
	select {
	case h.dirty <- struct{}{}:
	default:
	}
}

// unstartable words the error of a start: the command, not the path and the name of a system call.
func unstartable(o order, err error) error {
	var e *fs.PathError
	switch {
	case errors.As(err, &e) && e.Op == "chdir":
		return fmt.Errorf("cannot be started in %s: %w", o.spec.Dir, e.Err)
	case errors.As(err, &e):
		return fmt.Errorf("cannot be started: %s: %w", filepath.Base(o.path), e.Err)
	}
	return fmt.Errorf("cannot be started: %w", err)
}
