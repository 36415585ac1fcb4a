package confine

import (
	"bufio"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cgroup is the part of the cgroup v2 hierarchy that was delegated to this process, by systemd with
// Delegate=yes or by a container (docs.kernel.org/admin-guide/cgroup-v2.html, "Delegation").
type cgroup struct {
	dir string // its directory; ours is the leaf below it
	cpu bool   // has the cpu controller
}

const (
	ownLeaf     = "daemon"  // where this process goes: a group with controllers for others holds no process itself
	groupPrefix = "worker-" // then the process id of the daemon, and the name
	ownWeight   = "1000"    // of the processor, where a worker has the kernel's 100
)

var errNoCgroup = errors.New("no cgroup v2 with the memory and pids controllers is delegated to mcpd")

// adoptCgroup moves this process to a leaf of its cgroup, which makes room for others beside it.
// It undoes that if it cannot have the controllers.
func adoptCgroup() (*cgroup, error) {
	dir, err := ownCgroup()
	if err != nil {
		return nil, err
	}
	if filepath.Base(dir) == ownLeaf {
		dir = filepath.Dir(dir)
	}
	have, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return nil, errNoCgroup
	}
	has := func(controller string) bool {
		return strings.Contains(" "+strings.TrimSpace(string(have))+" ", " "+controller+" ")
	}
	if !has("memory") || !has("pids") {
		return nil, errNoCgroup
	}
	leaf := filepath.Join(dir, ownLeaf)
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%w: %w", errNoCgroup, err)
	}
	c := &cgroup{dir: dir, cpu: has("cpu")}
	want := "+memory +pids"
	if c.cpu {
		want += " +cpu"
	}
	err = put(leaf, "cgroup.procs", "0")
	if err == nil {
		err = put(dir, "cgroup.subtree_control", want) // EBUSY: others are in it, so it was not delegated to us alone
	}
	if err != nil {
		_ = put(dir, "cgroup.procs", "0")
		_ = os.Remove(leaf)
		return nil, fmt.Errorf("%w: %w", errNoCgroup, err)
	}
	if c.cpu {
		_ = put(leaf, "cpu.weight", ownWeight) // all calls go through here; what it does not use is the workers'
	}
	c.clear()
	return c, nil
}

// ownCgroup is the directory of the cgroup v2 group that this process is in (cgroups(7)).
func ownCgroup() (string, error) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", errNoCgroup
	}
	var path string
	for line := range strings.Lines(string(own)) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			path = p
		}
	}
	for root, at := range mounted() {
		if rest, ok := strings.CutPrefix(path, strings.TrimSuffix(root, "/")); ok && path != "" {
			return filepath.Join(at, rest), nil
		}
	}
	return "", errNoCgroup
}

// mounted are the places where the cgroup v2 hierarchy is, each with the part of it that is there.
func mounted() iter.Seq2[string, string] {
	return func(yield func(root, at string) bool) {
		mounts, err := os.Open("/proc/self/mountinfo")
		if err != nil {
			return
		}
		defer func() { _ = mounts.Close() }()
		for lines := bufio.NewScanner(mounts); lines.Scan(); {
			before, after, ok := strings.Cut(lines.Text(), " - ")
			f := strings.Fields(before) // proc_pid_mountinfo(5): f[3] is the root of the mount, f[4] where it is mounted
			if ok && strings.HasPrefix(after, "cgroup2 ") && len(f) >= 5 && !yield(f[3], f[4]) {
				return
			}
		}
	}
}

// Never tells, on whatever process asks, what of w no process of this machine can be held to.
func Never(w Want) (sentences []string) {
	if w.CPU == 0 {
		return nil
	}
	for _, at := range mounted() {
		if have, err := os.ReadFile(filepath.Join(at, "cgroup.controllers")); err == nil && slices.Contains(strings.Fields(string(have)), "cpu") {
			return nil // whether some of it is delegated to mcpd is for mcpd to say
		}
	}
	return []string{"limits.cpu is kept by a cgroup v2 with the cpu controller, and this machine has none"}
}

// clear removes the groups of a daemon that was here before and could not.
func (c *cgroup) clear() {
	old, _ := filepath.Glob(filepath.Join(c.dir, groupPrefix+"*")) // the pattern is well-formed
	for _, dir := range old {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), groupPrefix), "-")
		if pid, err := strconv.Atoi(owner); err != nil || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			continue
		}
		g := group{path: dir}
		g.kill()
		g.remove()
	}
}

// group is the cgroup of one worker.
type group struct {
	path string
	dir  *os.File // for clone3(2), CLONE_INTO_CGROUP
}

func (c *cgroup) group(name string, w Want) (*group, error) {
	path, err := os.MkdirTemp(c.dir, fmt.Sprintf("%s%d-%s-", groupPrefix, os.Getpid(), name))
	if err != nil {
		return nil, fmt.Errorf("cannot make a cgroup: %w", err)
	}
	g := &group{path: path}
	err = g.limit(w, c.cpu)
	if err == nil {
		g.dir, err = os.Open(g.path)
	}
	if err != nil {
		_ = os.Remove(g.path)
		return nil, fmt.Errorf("cannot set up a cgroup: %w", err)
	}
	return g, nil
}

func (g *group) limit(w Want, cpu bool) error {
	var errs []error
	if w.Memory > 0 {
		errs = append(errs, put(g.path, "memory.max", strconv.FormatInt(w.Memory, 10)),
			put(g.path, "memory.oom.group", "1")) // all of a worker or nothing of it
		if err := put(g.path, "memory.swap.max", "0"); !errors.Is(err, os.ErrNotExist) { // a kernel without swap has no such file
			errs = append(errs, err)
		}
	}
	if w.Tasks > 0 {
		errs = append(errs, put(g.path, "pids.max", strconv.Itoa(w.Tasks)))
	}
	if w.CPU > 0 && cpu {
		const period = 100_000 // µs
		errs = append(errs, put(g.path, "cpu.max", fmt.Sprintf("%d %d", max(int64(w.CPU*period), 1000), period)))
	}
	return errors.Join(errs...)
}

// kill kills all in the group, what has left its process group and session included.
func (g *group) kill() { _ = put(g.path, "cgroup.kill", "1") } // before Linux 5.14 there is no such file, and the rest of the sweep has to do

// outOfMemory tells whether the kernel has killed in this group for its limit.
func (g *group) outOfMemory() bool {
	events, err := os.ReadFile(filepath.Join(g.path, "memory.events"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(events)) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			return n != "0"
		}
	}
	return false
}

// remove removes the group. What was killed in it may take a moment to be gone.
func (g *group) remove() {
	if g.dir != nil {
		_ = g.dir.Close()
	}
	for range 50 {
		if err := os.Remove(g.path); !errors.Is(err, syscall.EBUSY) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func put(dir, file, value string) error {
	return os.WriteFile(filepath.Join(dir, file), []byte(value), 0)
}
