package supervisor

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// The guardian is one small process beside this one that reads from a pipe which groups of
// processes exist. When the pipe ends, because this process has ended in whatever way, it kills
// those that are left. Pdeathsig alone does not do that: it reaches the child that was started
// here and not what that child started, and npx starts a shell that starts node.

// How the guardian looks for survivors.
const (
	guardianPause = 10 * time.Millisecond // between two looks
	// guardianSure is how many looks in a row find nothing before it believes that: a process may be given a number
	// that the look has just passed. Where all it can go by is the mark, which cannot be read of a process that
	// is just being executed, it takes more.
	guardianSure   = 3
	guardianUnsure = 25
	guardianLong   = 30 * time.Second // for one that cannot die
)

// RunGuardian is the guardian's whole life: it reads in to its end, kills what is still there, and
// returns. It ignores the signals that end a service or come from a terminal, for it has to
// outlive the process it watches. A hidden command of the program calls it with standard input;
// Options.Guardian is the command line of that.
func RunGuardian(in io.Reader) error {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	_ = setBrand(0, 0)                                         // it must not carry what it looks for
	_ = os.WriteFile("/proc/self/comm", []byte("guardian"), 0) // nor fall with `killall mcpd`
	w := watched{groups: make(map[int]struct{})}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		w.note(lines.Text())
	}
	w.kill()
	if err := lines.Err(); err != nil {
		return fmt.Errorf("cannot read which processes to guard: %w", err)
	}
	return nil
}

// watched is what the guardian knows.
type watched struct {
	brand  uint64
	mark   string
	groups map[int]struct{}
	over   bool
}

// note takes in one line: "=mark", "#brand", "+group", "-group", or "." when nothing should be left. Anything else is
// ignored, and so is a group that no child can have: 0 would be the guardian's own and 1 would mean every process.
func (w *watched) note(line string) {
	if mark, ok := strings.CutPrefix(line, "="); ok {
		w.mark = mark
		return
	}
	if number, ok := strings.CutPrefix(line, "#"); ok {
		w.brand, _ = strconv.ParseUint(number, 10, 64) // 0 is none
		return
	}
	if w.over = line == "."; len(line) < 2 {
		return
	}
	group, err := strconv.ParseUint(line[1:], 10, 31)
	if err != nil || group <= 1 {
		return
	}
	switch line[0] {
	case '+':
		w.groups[int(group)] = struct{}{}
	case '-':
		delete(w.groups, int(group))
	}
}

// kill kills the groups, and then what has left them, until there is nothing more. When mcpd has ended in good order it
// is there still, so nothing but the mark tells what is to go, and there should be nothing.
//
// That nothing gets away: the pipe has ended, so no thread of mcpd is left, nor a child of it that is not yet executed.
// Whatever there is has the brand; what one of them starts while it is killed is found by the next look.
func (w *watched) kill() {
	for group := range w.groups {
		_ = syscall.Kill(-group, syscall.SIGKILL) // it may be gone
	}
	sure := guardianSure
	switch {
	case w.over:
		w.brand, sure = 0, 1
	case w.brand == 0:
		sure = guardianUnsure
	}
	if w.brand == 0 && w.mark == "" {
		return
	}
	session := ownSession() // that of mcpd
	clean := 0
	for began := time.Now(); time.Since(began) < guardianLong; time.Sleep(guardianPause) {
		left := remnants(w.brand, w.mark)
		if clean++; len(left) > 0 {
			clean = 0
		}
		if clean == sure {
			return
		}
		for _, p := range left {
			if p.session != session && p.group > 1 {
				_ = syscall.Kill(-p.group, syscall.SIGKILL) // all at once: nothing is forked in between
			}
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
	}
}

func ownSession() int {
	sid, err := unix.Getsid(0)
	if err != nil {
		return -1
	}
	return sid
}

// guardian is this process's side of it. A nil guardian does nothing.
type guardian struct {
	host *host
	argv []string
	stop chan struct{}
	// running is keep.
	running sync.WaitGroup

	mu      sync.Mutex
	groups  map[int]struct{} // guarded by mu; what the guardian has to know
	in      *os.File         // guarded by mu; nil while none runs
	process *os.Process      // guarded by mu; the last one
	over    bool             // guarded by mu; close was called
}

const (
	guardianRetry = time.Second // between two starts
	guardianWrite = time.Second // for one line: it does nothing but read
	guardianLeave = 3 * time.Second
)

func newGuardian(h *host, argv []string) *guardian {
	if len(argv) == 0 {
		return nil
	}
	g := &guardian{host: h, argv: argv, stop: make(chan struct{}), groups: make(map[int]struct{})}
	cmd := g.start()                     // before the first child
	g.running.Go(func() { g.keep(cmd) }) // ends when close closes stop
	return g
}

func (g *guardian) watch(group int) {
	if g != nil {
		g.change(group, "+")
	}
}

func (g *guardian) unwatch(group int) {
	if g != nil {
		g.change(group, "-")
	}
}

// close lets the guardian end. Nothing should be left, so it looks only once.
func (g *guardian) close() {
	if g == nil {
		return
	}
	g.mu.Lock()
	g.over = true
	g.write(".\n") // before anybody may close the pipe: without it a guardian kills us too
	g.mu.Unlock()
	close(g.stop)
	g.drop()
	g.running.Wait()
}

func (g *guardian) change(group int, sign string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if sign == "+" {
		g.groups[group] = struct{}{}
	} else {
		delete(g.groups, group)
	}
	g.write(sign + strconv.Itoa(group) + "\n")
}

// write sends a line. A guardian that does not take it is replaced, and the next one gets all.
// Callers hold mu.
func (g *guardian) write(line string) {
	if g.in == nil {
		return
	}
	_ = g.in.SetWriteDeadline(time.Now().Add(guardianWrite)) // a pipe has deadlines
	if _, err := io.WriteString(g.in, line); err != nil {
		g.host.log.Warn("the guardian does not answer", zap.Error(err))
		_ = g.process.Kill() // or it would take the end of the pipe for ours
		_ = g.in.Close()
		g.in = nil
	}
}

func (g *guardian) drop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.in != nil {
		_ = g.in.Close()
		g.in = nil
	}
}

// start starts a guardian and tells it everything. It returns nil if that cannot be done, which is
// no reason not to serve.
func (g *guardian) start() *exec.Cmd {
	r, w, err := os.Pipe()
	if err != nil {
		g.host.log.Warn("cannot make a pipe to the guardian", zap.Error(err))
		return nil
	}
	defer func() { _ = r.Close() }()
	// A group of its own, so that what a terminal sends to ours does not reach it. Its
	// environment is empty: it must not carry the mark it looks for.
	cmd := &exec.Cmd{Path: g.argv[0], Args: g.argv, Env: []string{}, Stdin: r, SysProcAttr: &syscall.SysProcAttr{Setpgid: true}}
	if err := cmd.Start(); err != nil {
		g.host.log.Warn("cannot start the guardian: processes may survive if mcpd is killed", zap.Error(err))
		_ = w.Close()
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.in, g.process = w, cmd.Process
	g.write("=" + g.host.mark + "\n#" + strconv.FormatUint(g.host.brand, 10) + "\n")
	for group := range g.groups {
		g.write("+" + strconv.Itoa(group) + "\n")
	}
	if g.over {
		g.write(".\n")
	}
	return cmd
}

// keep keeps one guardian alive until stop.
func (g *guardian) keep(cmd *exec.Cmd) {
	for {
		if cmd != nil {
			g.outlast(cmd)
			g.drop()
		}
		select {
		case <-g.stop:
			return
		case <-time.After(guardianRetry):
		}
		g.host.log.Warn("starting the guardian again")
		cmd = g.start()
	}
}

// outlast waits for the end of a guardian; after stop, not for long.
func (g *guardian) outlast(cmd *exec.Cmd) {
	ended := make(chan struct{})
	g.running.Go(func() { // ends with the guardian, which is killed below if it has to be
		_ = cmd.Wait() // however it ended, it is not there any more
		close(ended)
	})
	select {
	case <-ended:
		return
	case <-g.stop:
	}
	g.drop() // close may have come before this one had its pipe
	select {
	case <-ended:
	case <-time.After(guardianLeave):
		_ = cmd.Process.Kill()
		<-ended
	}
}
