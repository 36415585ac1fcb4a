package confine

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// Cell is what one process, with all it starts, is held in.
type Cell struct {
	machine *Machine
	want    Want
	group   *group // nil without a cgroup
	tmp     string // directory of its own, "" if none was asked for
	bwrap   string // its path; "" if it was not asked for
}

// Cell makes room for one process. name is made of letters that a file name may have; scratch is
// where temporary directories go. Close it.
func (m *Machine) Cell(name, scratch string, w Want) (*Cell, error) {
	c := &Cell{machine: m, want: w}
	if err := w.missing(); err != nil {
		return nil, err
	}
	if w.Bubblewrap {
		path, err := m.bwrap()
		if err != nil {
			return nil, fmt.Errorf("cannot be confined: %w", err)
		}
		c.bwrap = path
	}
	if w.Bubblewrap || w.Files && m.landlock >= landlockFiles {
		tmp, err := os.MkdirTemp(scratch, "worker-")
		if err != nil {
			return nil, fmt.Errorf("cannot make a temporary directory: %w", err)
		}
		c.tmp = tmp
	}
	if m.cgroup != nil {
		g, err := m.cgroup.group(name, w)
		if err != nil {
			c.Close()
			return nil, err
		}
		c.group = g
	}
	return c, nil
}

// Dress changes cmd so that what it starts is confined. Its Env must be its own already.
func (c *Cell) Dress(cmd *exec.Cmd) error {
	if c.group != nil {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(c.group.dir.Fd())
	}
	if tmp := c.tmp; tmp != "" {
		if c.bwrap != "" {
			tmp = "/tmp"
		}
		cmd.Env = append(cmd.Env, "TMPDIR="+tmp, "TMP="+tmp, "TEMP="+tmp)
	}
	p := c.plan(cmd)
	if len(c.machine.helper) == 0 || p.empty() {
		return nil
	}
	words, err := p.encode()
	if err != nil {
		return err
	}
	argv := append(append([]string(nil), c.machine.helper...), words)
	cmd.Path, cmd.Args = argv[0], append(argv, cmd.Args...)
	return nil
}

// plan is what the process does to itself first. What the start itself can do is done to cmd.
func (c *Cell) plan(cmd *exec.Cmd) plan {
	var p plan
	if c.group == nil {
		p.Data = backstop(c.want.Memory)
	}
	if c.bwrap != "" {
		cmd.Args = append(c.wrap(c.bwrap, cmd.Path), cmd.Args[1:]...)
		cmd.Path, p.Path = c.bwrap, c.bwrap
		return p
	}
	p.Path, p.Privileges = cmd.Path, c.want.Files || c.want.Offline
	if c.want.Offline {
		if c.machine.offline() {
			apart(cmd.SysProcAttr)
		} else {
			p.TCP = c.machine.landlock >= landlockTCP
		}
	}
	if c.tmp != "" {
		p.Files, p.Read, p.Write = true, c.want.Read, append([]string{c.tmp}, c.want.Write...)
	}
	return p
}

// Kill kills everything in the cell that a cgroup holds there.
func (c *Cell) Kill() {
	if c.group != nil {
		c.group.kill()
	}
}

// Verdict is why the process was ended for its limits, "" if it was not. Call it before Close.
func (c *Cell) Verdict(state *os.ProcessState) string {
	switch {
	case c.want.Memory == 0:
		return ""
	case c.group != nil && c.group.outOfMemory():
		return OutOfMemory(c.want.Memory)
	case c.group == nil && len(c.machine.helper) > 0 && starved(state, c.want.Memory):
		return OutOfMemory(c.want.Memory)
	}
	return ""
}

// backstop is RLIMIT_DATA where somebody looks whether the worker is over its limit: it bounds what a
// process can take between two looks, and does not count the same things.
func backstop(limit int64) int64 { return limit + limit/4 }

// starved tells whether a process that failed had nearly all the memory that its rlimit lets it
// have: what it lacked when it failed was most likely that. Its peak is in KiB (getrusage(2)).
func starved(state *os.ProcessState, limit int64) bool {
	if state == nil || state.Success() {
		return false
	}
	usage, ok := state.SysUsage().(*syscall.Rusage)
	return ok && usage.Maxrss*1024 >= limit/5*4
}

// Close removes what the cell was. Nothing may run in it any more.
func (c *Cell) Close() {
	if c.group != nil {
		c.group.remove()
	}
	if c.tmp != "" {
		_ = os.RemoveAll(c.tmp) // what cannot be removed goes with the whole directory at the next start
	}
}
