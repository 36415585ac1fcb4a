package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// attributes of a child: the leader of a session and so of a group of its own, killed by the kernel when the
// spawner's thread is gone. Where mcpd has a terminal its children have none to read from or type into. And
// where the processor is shared out by session (sched(7), autogroup), one that takes all it can get takes no
// more than its equals have, with all that it forks.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// adopt makes this process the parent of every descendant that loses its own (prctl(2),
// PR_SET_CHILD_SUBREAPER). Otherwise they would go to process 1, out of sight.
func adopt(log *zap.Logger) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		log.Warn("processes that leave their group cannot be followed", zap.Error(err))
	}
}

// What a worker gets of a processor that there is not enough of, as nice(1) has it: a third of what others get, and a tenth.
const (
	niceTrial = 5
	niceAhead = 10
)

// lower is for a process that has just been started, and all that it will start.
func (o order) lower(pid int) {
	switch {
	case o.trial: // for good, also where the processor is not shared out by session
		_ = unix.Setpriority(unix.PRIO_PROCESS, pid, niceTrial)
		_ = share(pid, niceTrial)
	case o.ahead:
		_ = share(pid, niceAhead)
	}
}

// share sets what the session that a process leads gets (sched(7), autogroup). From others than root the kernel takes ten such
// changes a second, whoever they are, and says EAGAIN to more.
func share(pid, nice int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), strconv.AppendInt(nil, int64(nice), 10), 0)
}

// favour gives a process that was started ahead what others get. It returns when that is done, or ctx has ended.
func (p *process) favour(ctx context.Context) {
	for {
		p.mu.Lock()
		var err error
		if !p.dead {
			err = share(p.pid(), 0)
		}
		p.mu.Unlock()
		if !errors.Is(err, unix.EAGAIN) {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

// awaitExit returns when the child is dead and leaves it to be reaped: waitid(2), WNOWAIT.
func awaitExit(p *process) {
	for {
		err := unix.Waitid(unix.P_PID, p.pid(), nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return
		}
	}
}

// hasExited tells that the child is dead, reaped or not.
func hasExited(p *process) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, p.pid(), &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
	return err == unix.ECHILD || err == nil && info.Signo != 0
}

// pipeSize is what a child's standard output gets: a 1 MiB answer through the usual 64 KiB takes
// sixteen turns between child and reader.
const pipeSize = 1 << 20

// widen makes a pipe bigger. Where the user's share of pipe memory is used up it stays as it is.
func widen(f *os.File) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { // best effort
		_, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize)
	})
}
