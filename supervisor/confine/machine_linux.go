package confine

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is what this machine can hold a process with.
type Machine struct {
	helper   []string // the command line that ends in Run; empty: there is none
	cgroup   *cgroup  // nil where none is delegated to us
	why      error    // why there is none
	landlock int      // version of its interface; 0: none
	offline  func() bool
	bwrap    func() (path string, err error)
}

// Versions of Landlock's interface: the first has files, the fourth TCP, the sixth signals
// (landlock(7)).
const (
	landlockFiles = 1
	landlockTCP   = 4
	landlockScope = 6
)

// Look finds out what is there. helper is a command line that calls Run with the arguments that
// come after it. If a cgroup is delegated to this process, it moves to a leaf of it.
func Look(helper []string) *Machine {
	m := &Machine{helper: helper, landlock: landlockVersion()}
	m.cgroup, m.why = adoptCgroup()
	m.offline = sync.OnceValue(m.tryOffline)
	m.bwrap = sync.OnceValues(m.tryBubblewrap)
	if len(helper) == 0 {
		m.landlock = 0
	}
	return m
}

func landlockVersion() int {
	const createRulesetVersion = 1 // LANDLOCK_CREATE_RULESET_VERSION
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, createRulesetVersion)
	if errno != 0 {
		return 0
	}
	return int(v)
}

// apart gives a process a network namespace of its own, in which there is nothing. Who is not root
// needs a user namespace for that; in it everybody is who they were.
func apart(attr *syscall.SysProcAttr) {
	attr.Cloneflags |= syscall.CLONE_NEWNET
	if os.Geteuid() == 0 {
		return
	}
	attr.Cloneflags |= syscall.CLONE_NEWUSER
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
}

// tryOffline starts the helper, which ends at once, in a network of its own.
func (m *Machine) tryOffline() bool {
	if len(m.helper) == 0 {
		return false
	}
	cmd := exec.Command(m.helper[0], append(m.helper[1:], probe)...)
	cmd.Env = []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	apart(cmd.SysProcAttr)
	cmd.WaitDelay = time.Second
	return cmd.Run() == nil
}

// Report tells what of w is in force for every process that starts.
func (m *Machine) Report(w Want) Report {
	var r Report
	const need = "not in force: needs a delegated cgroup v2"
	memory, tasks := "memory "+Size(w.Memory), fmt.Sprintf("pids %d", w.Tasks)
	if m.cgroup != nil {
		r.add(w.Memory > 0, true, memory, "cgroup", "")
		r.add(w.Tasks > 0, true, tasks, "cgroup", "")
	} else {
		by := "looked at every second"
		r.add(w.Tasks > 0, true, tasks, by, "")
		if len(m.helper) > 0 {
			by += ", and RLIMIT_DATA " + Size(backstop(w.Memory)) + " for each process"
		}
		r.add(w.Memory > 0, true, memory, by, "")
	}
	r.add(w.CPU > 0, m.cgroup != nil && m.cgroup.cpu, fmt.Sprintf("cpu %g", w.CPU), "cgroup", need) // no rlimit is a share of time
	if w.Bubblewrap {
		m.reportBubblewrap(&r, w)
		return r
	}
	const landlock = "not in force: needs Landlock, Linux 5.13"
	r.add(w.Files, m.landlock >= landlockFiles, "files", "Landlock", landlock)
	r.add(w.Files, m.landlock >= landlockScope, "signals", "Landlock", "not in force: needs Landlock of Linux 6.12")
	r.add(w.Files, m.landlock >= landlockFiles, "temporary directory", "its own", landlock)
	r.add(w.Files || w.Offline, len(m.helper) > 0, "no new privileges", "prctl", landlock)
	switch {
	case !w.Offline:
	case m.offline():
		r.add(true, true, "no network", "a namespace", "")
	case m.landlock >= landlockTCP:
		r.add(true, true, "no TCP", "Landlock", "")
		r.add(true, false, "no network", "", "not in force beyond TCP: needs user namespaces")
	default:
		r.add(true, false, "no network", "", "not in force: needs user namespaces, or Landlock of Linux 6.7")
	}
	return r
}

// reportBubblewrap: all of it or nothing.
func (m *Machine) reportBubblewrap(r *Report, w Want) {
	_, err := m.bwrap()
	needs := fmt.Sprintf("not in force, and nothing starts: %v", err)
	for _, what := range []string{"files", "processes", "temporary directory", "no new privileges"} {
		r.add(true, err == nil, what, "bwrap", needs)
	}
	r.add(w.Offline, err == nil, "no network", "bwrap", needs)
}

// Why is why there is no cgroup, nil if there is one.
func (m *Machine) Why() error { return m.why }

// Watched tells that nothing but looking holds a process to its memory and number of tasks.
func (m *Machine) Watched() bool { return m.cgroup == nil }
