package supervisor

import (
	"bytes"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A sweep looks through /proc for what workers have left behind, kills it and reaps it.
//
// Reaping is the delicate part. This process adopts orphans (adopt), and an adopted zombie stays
// until somebody waits for it. But waiting for any child, as an init does, would take the exit
// status away from whoever started a child here with os/exec. So a process is waited for only by
// its number, and only if it is known not to have been started by this process:
//
//   - it is in the group of a worker and is not that worker: nothing else makes processes in
//     those groups; or
//   - it is in another session than we are, which a child of os/exec is only if it was asked to
//     be, and it has been a zombie for strayAge: whoever waits for a child does so at once.

const (
	sweepSoon  = 20 * time.Millisecond  // after a worker's end, or when something was killed
	lastSweeps = 50                     // at the end, sweepSoon apart
	unreadAge  = 200 * time.Millisecond // at the end, for one that is just being executed
	sweepLater = time.Second            // after any other child's end, and for the second look at a zombie
)

// sweep runs as long as the host.
func (h *host) sweep() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	defer signal.Stop(ended)
	timer := time.NewTimer(sweepLater)
	defer timer.Stop()
	var next time.Time // zero: nothing is planned
	plan := func(d time.Duration) {
		if t := time.Now().Add(d); next.IsZero() || t.Before(next) {
			next = t
			timer.Reset(d)
		}
	}
	for {
		select {
		case <-h.stop:
			h.last()
			return
		case <-ended:
			plan(sweepLater)
		case <-h.dirty:
			plan(sweepSoon)
		case <-timer.C:
			next = time.Time{}
			killed, unsure := h.clean()
			if killed > 0 {
				plan(sweepSoon) // what they had started is ours now
			} else if unsure {
				plan(sweepLater)
			}
		}
	}
}

// last cleans until nothing is left, for a short while. No worker lives any more, so what came to us and does not show
// whose it was, having emptied its environment, is an orphan too.
func (h *host) last() {
	h.mu.Lock()
	h.ending = true
	h.mu.Unlock()
	for range lastSweeps {
		if killed, _ := h.clean(); killed == 0 && h.settled() {
			return
		}
		time.Sleep(sweepSoon)
	}
}

// settled tells that nothing is left which is known to be ours.
func (h *host) settled() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.left) == 0 && len(h.doomed) == 0 && h.unread == 0
}

// clean kills and reaps what is left behind, and tells how much it killed and whether it has to
// look again.
func (h *host) clean() (killed int, unsure bool) {
	before := h.groupsLeft()
	// The table is read without the lock: with many processes that takes long, and starts and ends would wait for it.
	table := processes()
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	h.unread = 0
	strays := make(map[stray]time.Time)
	doomed := make(map[stray]struct{})
	groups := make(map[int]struct{})
	for _, p := range table {
		groups[p.group] = struct{}{}
		key := stray{p.pid, p.start}
		kind := h.classify(p)
		if kind != foreign && kind != started && !p.still() {
			continue
		}
		switch {
		case kind == member && p.zombie && p.parent == os.Getpid():
			reap(p.pid)
		case kind == orphan && !p.zombie:
			_ = syscall.Kill(p.pid, syscall.SIGKILL) // it was alive a moment ago, and is ours to reap or in a group of ours
			doomed[key] = struct{}{}
			killed++
		case kind == orphan && p.parent == os.Getpid():
			reap(p.pid)
		case kind == unclaimed:
			since, ok := h.strays[key]
			if !ok {
				since = now
			}
			if now.Sub(since) >= h.strayAge {
				reap(p.pid)
				break
			}
			strays[key] = since
		case kind == unread:
			since, ok := h.strays[key]
			if strays[key] = since; !ok {
				strays[key] = now
			}
			if h.unread++; h.ending && now.Sub(strays[key]) >= unreadAge {
				_ = syscall.Kill(p.pid, syscall.SIGKILL)
				doomed[key] = struct{}{}
				killed++
			}
			unsure = unsure || now.Sub(strays[key]) < h.strayAge
		}
		unsure = unsure || kind == unclaimed
	}
	h.strays, h.doomed = strays, doomed
	for _, group := range before {
		if _, ok := groups[group]; !ok {
			delete(h.left, group)
		}
	}
	return killed, unsure || len(doomed)+len(h.left) > 0
}

// groupsLeft are the groups of which something may be left.
func (h *host) groupsLeft() []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return keys(h.left)
}

// measure counts the orphans and what the groups use.
func (h *host) measure() measurement {
	table := processes()
	h.mu.Lock()
	defer h.mu.Unlock()
	m := measurement{groups: make(map[int]usage)}
	for _, p := range table {
		if h.classify(p) == orphan && !p.zombie && p.still() {
			m.orphans++
		}
		u := m.groups[p.group]
		m.groups[p.group] = u.plus(p)
	}
	return m
}

// kind is what a process is to this host.
type kind int

const (
	foreign   kind = iota // none of ours
	started               // started here
	member                // belongs to a worker that lives
	orphan                // belonged to one that does not
	unclaimed             // a zombie that has nobody else to wait for it, as it seems
	unread                // came to us and does not show whose it was; one that is just being executed does not yet
)

// classify tells what p is. Callers hold mu.
func (h *host) classify(p proc) kind {
	if _, ok := h.live[p.pid]; ok {
		return started
	}
	if _, ok := h.live[p.group]; ok {
		return member
	}
	if _, ok := h.left[p.group]; ok {
		return orphan
	}
	// What is not in a group of ours can only have come to us by adoption.
	if p.parent != os.Getpid() || p.session == ownSession() {
		return foreign
	}
	if _, ok := h.doomed[stray{p.pid, p.start}]; ok {
		return orphan
	}
	if p.zombie {
		return unclaimed
	}
	if h.begun > 0 { // it may be the child of one of these: a session of its own, like what has left a worker's
		return unread
	}
	if worker, ok := h.workerOf(p.pid); ok {
		if _, ok := h.live[worker]; ok {
			return member
		}
		return orphan
	}
	mark := markOf(p.pid)
	for _, t := range h.live {
		if t.mark == mark {
			return member
		}
	}
	switch {
	case strings.HasPrefix(mark, h.mark+"/"):
		return orphan
	case mark == "" && brandOf(p.pid)&(1<<workerBits-1) == 0: // not even another host's
		return unread
	}
	return foreign
}

func reap(pid int) {
	var status syscall.WaitStatus
	_, _ = syscall.Wait4(pid, &status, syscall.WNOHANG, nil) // an adopted process: nobody asks how it ended
}

// proc is one line of the process table.
type proc struct {
	pid, parent, group, session int
	zombie                      bool
	start                       uint64 // in ticks since boot: with the pid, unique
	resident                    int64  // bytes
	tasks                       int    // threads
	cpu                         time.Duration
}

// tick is the unit of the times in proc_pid_stat(5): USER_HZ, 100 on every system that Go runs on.
const tick = time.Second / 100

// processes reads the process table.
func processes() (list []proc) {
	for _, pid := range pids() {
		if p, ok := processOf(pid); ok {
			list = append(list, p)
		}
	}
	return list
}

// pids are the numbers of all processes, in ascending order.
func pids() (list []int) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer func() { _ = dir.Close() }()
	names, _ := dir.Readdirnames(-1) // what could be read is what there is
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			list = append(list, pid)
		}
	}
	return list
}

// processOf reads one line of the process table; false if there is none any more.
func processOf(pid int) (proc, bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return proc{}, false
	}
	return parseStat(pid, stat)
}

// still tells that the number is that process's now, too, and that it is as dead or alive as it was.
func (p proc) still() bool {
	now, ok := processOf(p.pid)
	return ok && now.start == p.start && now.group == p.group && now.zombie == p.zombie
}

// parseStat reads a line of proc_pid_stat(5). The name in it is whatever the process calls itself,
// so only what comes after the last parenthesis can be trusted.
func parseStat(pid int, stat []byte) (p proc, ok bool) {
	i := bytes.LastIndexByte(stat, ')')
	if i < 0 {
		return proc{}, false
	}
	f := strings.Fields(string(stat[i+1:])) // f[0] is field 3
	if len(f) < 22 {
		return proc{}, false
	}
	number := func(field int) int64 {
		n, err := strconv.ParseInt(f[field-3], 10, 64)
		ok = ok && err == nil
		return n
	}
	ok = true
	p = proc{
		pid: pid, zombie: f[0] == "Z" || f[0] == "X",
		parent: int(number(4)), group: int(number(5)), session: int(number(6)),
		start: uint64(number(22)), resident: number(24) * int64(os.Getpagesize()),
		tasks: int(number(20)), cpu: time.Duration(number(14)+number(15)+number(16)+number(17)) * tick, // its own and that of its children, user and system
	}
	return p, ok
}

// Proportional is the memory of the processes of a group in which what is shared with others counts in part (PSS), in
// bytes; 0 where that cannot be read. It takes the kernel a while: milliseconds for a large process.
func Proportional(group int) (bytes int64) {
	for _, p := range processes() {
		if p.group != group {
			continue
		}
		text, err := os.ReadFile("/proc/" + strconv.Itoa(p.pid) + "/smaps_rollup")
		if err != nil {
			continue // it has ended, or is not ours to read
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) == 3 && f[0] == "Pss:" {
				kb, _ := strconv.ParseInt(f[1], 10, 64)
				bytes += kb << 10
			}
		}
	}
	return bytes
}

// markOf reads the mark of a process from its environment; "" if it has none or is not ours to read.
func markOf(pid int) string {
	environ, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return ""
	}
	for kv := range bytes.SplitSeq(environ, []byte{0}) {
		if v, ok := bytes.CutPrefix(kv, []byte(markVariable+"=")); ok {
			return string(v)
		}
	}
	return ""
}

// carries tells that a process has a mark of that host in its environment.
func carries(pid int, mark string) bool {
	return mark != "" && strings.HasPrefix(markOf(pid), mark+"/")
}
