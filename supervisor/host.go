package supervisor

import (
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
)

// markVariable is in the environment of every child and so of what a child starts. It tells, of a
// process that has left its group and lost its parent, which worker it came from.
const markVariable = "MCPD_WORKER"

// host is this machine: it starts real processes and keeps account of them, so that none is lost.
type host struct {
	log      *zap.Logger
	mark     string // drawn by chance: which processes are from this host
	guardian *guardian

	starts  chan startOrder
	running sync.WaitGroup // the goroutines of processes
	spawner sync.WaitGroup
	sweeper sync.WaitGroup
	stop    chan struct{} // ends the sweeper
	dirty   chan struct{} // tells the sweeper that something may be left; holds one

	mu     sync.Mutex
	serial int                 // guarded by mu; number of the last process
	live   map[int]*tracked    // guarded by mu; our own children that have not been reaped, by pid
	left   map[int]struct{}    // guarded by mu; groups whose leader is gone, until they are seen to be empty
	strays map[stray]time.Time // guarded by mu; unclaimed zombies, and when they were first seen
	// doomed are the adopted processes that were killed as orphans; known to be ours, they are
	// reaped as soon as they are dead. guarded by mu
	doomed map[stray]struct{}
	// strayAge is how long such a zombie is left for somebody to wait for it. guarded by mu
	strayAge time.Duration
}

// tracked is a child that was started here.
type tracked struct {
	*process
	mark string
}

// stray is an unclaimed zombie; with its start, in ticks since boot, its number is unique.
type stray struct {
	pid   int
	start uint64
}

// startOrder is one start, for the spawner.
type startOrder struct {
	cmd *exec.Cmd
	err chan error
}

func newHost(log *zap.Logger, guardianCommand []string) *host {
	h := &host{
		log: log, mark: rand.Text(), starts: make(chan startOrder), stop: make(chan struct{}), dirty: make(chan struct{}, 1),
		live: make(map[int]*tracked), left: make(map[int]struct{}), strays: make(map[stray]time.Time), doomed: make(map[stray]struct{}),
		strayAge: 10 * time.Second,
	}
	adopt(log)
	h.spawner.Go(h.spawn) // ends when starts is closed, by close
	h.sweeper.Go(h.sweep) // ends when stop is closed, by close
	h.guardian = newGuardian(h, guardianCommand)
	return h
}

// spawn starts every child, from one thread that lives as long as there are children: the kernel
// sends Pdeathsig when the *thread* that started a child ends, and threads of other goroutines
// come and go.
func (h *host) spawn() {
	runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
	for s := range h.starts {
		s.err <- s.cmd.Start()
	}
}

// launch starts cmd on the spawner's thread.
func (h *host) launch(cmd *exec.Cmd) error {
	s := startOrder{cmd: cmd, err: make(chan error, 1)}
	h.starts <- s
	return <-s.err
}

// start starts a child. The error is a reason for a person.
func (h *host) start(o order) (child, error) {
	h.mu.Lock()
	h.serial++
	mark := h.mark + "/" + o.spec.Name + "/" + strconv.Itoa(h.serial)
	h.mu.Unlock()

	environ := append(append([]string(nil), o.spec.Environ...), markVariable+"="+mark)
	p, theirs, err := newProcess(o, environ)
	if err != nil {
		return nil, err
	}
	err = h.launch(p.cmd)
	closeAll(theirs)
	if err != nil {
		closeAll([]*os.File{p.stdin, p.stdout, p.stderr})
		return nil, unstartable(o, err)
	}
	p.output = newOutput(o.ring, o.mask, p.pid())
	h.mu.Lock()
	h.live[p.pid()] = &tracked{process: p, mark: mark}
	delete(h.left, p.pid())
	h.mu.Unlock()
	h.guardian.watch(p.pid())
	h.running.Go(p.listen)               // ends with the child's standard error, which follow sees to
	h.running.Go(func() { h.follow(p) }) // ends with the child
	return p, nil
}

// follow waits for the end of a child and cleans up behind it.
func (h *host) follow(p *process) {
	pid := p.pid()
	awaitExit(p)
	// The child is a zombie now (on Linux) and keeps its number, so the group that has this
	// number is its group: the one moment at which killing it can hit nobody else.
	p.killGroup()
	h.guardian.unwatch(pid)
	p.finish()
	h.mu.Lock()
	delete(h.live, pid)
	h.left[pid] = struct{}{}
	h.mu.Unlock()
	h.nudge()
	close(p.gone)
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
