package supervisor

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

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

// lower gives a process that has just been started, and all that it will start, a third of the processor that
// others get where there is not enough.
func lower(pid int) {
	const background = 5 // as nice(1) has it
	_ = unix.Setpriority(unix.PRIO_PROCESS, pid, background)
	// Where a session has its share, that is of threads within it, and this of sessions (sched(7)).
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), strconv.AppendInt(nil, background, 10), 0)
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
