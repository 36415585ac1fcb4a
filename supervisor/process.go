package supervisor

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// How long the ends of a process may lie apart.
const (
	// verdictGrace is how long a reader or writer whose pipe has ended waits to be told why: first
	// to see the process end, and then, on a machine that is short of time, for its reason.
	verdictGrace = time.Second
	verdictWait  = 20 * time.Second
	// pipeGrace is how long what a dead process has left in its pipes may be read. Only what
	// has left the process's group can hold a pipe open longer, and nobody waits for that.
	pipeGrace = 250 * time.Millisecond
	// fresh is how old a line may be to say why a process has ended: what it said when it
	// started, hours ago, does not.
	fresh = 10 * time.Second
)

// process is a real child: the leader of its own session and process group, on our own pipes. With pipes of
// its own making exec.Cmd would wait for the last process that holds one, for ever if that is a
// grandchild that does not care (golang.org/issue/23019).
type process struct {
	cmd    *exec.Cmd
	output *output
	stdin  *os.File
	stdout *os.File
	stderr *os.File

	closing sync.Once
	reaping sync.Once
	waited  error // what Wait said; after reap

	mu    sync.Mutex
	dead  bool          // guarded by mu; its number is about to be given back, or has been
	heard chan struct{} // closed when standard error has ended
	gone  chan struct{} // closed when the group is dead, the child reaped and why is set
	why   string
}

// newProcess prepares a child and returns, beside it, the child's own ends of the pipes, to be
// closed here once it has been started.
func newProcess(o order, environ []string) (p *process, theirs []*os.File, err error) {
	var files []*os.File
	defer func() {
		if err != nil {
			closeAll(files)
		}
	}()
	pipe := func() (r, w *os.File) {
		if err != nil {
			return nil, nil
		}
		if r, w, err = os.Pipe(); err == nil {
			files = append(files, r, w)
		}
		return r, w
	}
	inR, inW := pipe()
	outR, outW := pipe()
	errR, errW := pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make pipes: %w", err)
	}
	widen(outR)
	p = &process{
		cmd: &exec.Cmd{
			Path: o.path, Args: append([]string{o.spec.Command}, o.spec.Args...), Dir: o.spec.Dir, Env: environ,
			Stdin: inR, Stdout: outW, Stderr: errW, SysProcAttr: attributes(),
			WaitDelay: pipeGrace, // nothing is copied, so nothing is waited for; this keeps it so
		},
		stdin: inW, stdout: outR, stderr: errR, heard: make(chan struct{}), gone: make(chan struct{}),
	}
	return p, []*os.File{inR, outW, errW}, nil
}

func (p *process) pid() int               { return p.cmd.Process.Pid }
func (p *process) ended() <-chan struct{} { return p.gone }
func (p *process) reason() string         { return p.why }

// lastWords is what the child said last on standard error. While it lives, that may be a line behind.
func (p *process) lastWords() string { return p.output.last(time.Time{}) }

// Read reads standard output: all that is there, and then why there is no more.
func (p *process) Read(b []byte) (int, error) {
	n, err := p.stdout.Read(b)
	if n > 0 || err == nil {
		return n, nil
	}
	return 0, p.verdict(err, "closed its standard output")
}

// Write writes to standard input.
func (p *process) Write(b []byte) (int, error) {
	n, err := p.stdin.Write(b)
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	return n, p.verdict(err, "closed its standard input")
}

// SetWriteDeadline bounds Write; the zero time removes the bound.
func (p *process) SetWriteDeadline(t time.Time) error { return p.stdin.SetWriteDeadline(t) }

// verdict turns the end of a pipe into the reason. The pipe ends a moment before the end of the
// process is known.
func (p *process) verdict(err error, otherwise string) error {
	if !within(p, verdictGrace) && (!hasExited(p) || !within(p, verdictWait)) {
		if errors.Is(err, os.ErrClosed) {
			otherwise = "did not end after its standard input was closed"
		}
		return errors.New(otherwise)
	}
	return errors.New(p.why)
}

func (p *process) closeInput() { p.closing.Do(func() { _ = p.stdin.Close() }) } // the child is told either way

// signal reaches every process of the group. That the group is gone is no error.
func (p *process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dead {
		_ = syscall.Kill(-p.pid(), sig)
	}
}

// killGroup is the last signal. From here on the number may become somebody else's.
func (p *process) killGroup() {
	p.signal(syscall.SIGKILL) // mostly there is nobody left
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = true
}

// listen reads standard error to its end.
func (p *process) listen() {
	defer close(p.heard)
	p.output.pump(p.stderr)
	_ = p.stderr.Close()
}

// reap waits for the end of the child itself and gives its number back.
func (p *process) reap() { p.reaping.Do(func() { p.waited = p.cmd.Wait() }) }

// finish learns how the child ended, which sentence says better if it is not empty. It is called
// when the child is reaped and its group dead.
func (p *process) finish(sentence string) {
	p.closeInput()
	_ = p.stderr.SetReadDeadline(time.Now().Add(pipeGrace))
	<-p.heard
	// The pipe may hold an answer still. Whoever reads it has this long; then Read is told why.
	time.AfterFunc(pipeGrace, func() { _ = p.stdout.Close() })
	p.why = withWords(cmp.Or(sentence, p.verb()), p.output.last(time.Now().Add(-fresh)))
}

// verb says how a child ended: "exited with code 1", "killed by signal 9 (killed)".
func (p *process) verb() string {
	state := p.cmd.ProcessState
	if state == nil {
		return fmt.Sprintf("ended in an unknown way: %v", p.waited)
	}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return fmt.Sprintf("killed by signal %d (%v)", int(ws.Signal()), ws.Signal())
	}
	return fmt.Sprintf("exited with code %d", state.ExitCode())
}

// succeeded tells, once the child has ended, whether it did what it was to do.
func (p *process) succeeded() bool {
	return p.cmd.ProcessState != nil && p.cmd.ProcessState.Success()
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // ours, and of no use any more
	}
}
