//go:build !linux

package confine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// Machine is what this machine can hold a process with: outside Linux, nothing.
type Machine struct{}

// Cell is what one process is held in.
type Cell struct{}

// Look finds out what is there.
func Look([]string) *Machine { return &Machine{} }

// Report tells that nothing is in force.
func (*Machine) Report(w Want) Report {
	var r Report
	const needs = "not in force: needs Linux"
	r.add(w.Memory > 0, false, "memory "+Size(w.Memory), "", needs)
	r.add(w.Tasks > 0, false, fmt.Sprintf("pids %d", w.Tasks), "", needs)
	r.add(w.CPU > 0, false, fmt.Sprintf("cpu %g", w.CPU), "", needs)
	r.add(w.Files, false, "files", "", needs)
	r.add(w.Offline, false, "no network", "", needs)
	return r
}

// Why is why there is no cgroup.
func (*Machine) Why() error { return errors.New("no cgroups outside Linux") }

// Watched tells that nothing but looking holds a process to its limits.
func (*Machine) Watched() bool { return true }

// Never tells what of w no process of this machine can be held to; Report says it of every limit here.
func Never(Want) []string { return nil }

// Cell makes room for one process.
func (*Machine) Cell(_, _ string, w Want) (*Cell, error) {
	if w.Bubblewrap {
		return nil, errors.New("cannot be confined: bwrap needs Linux")
	}
	return &Cell{}, w.missing()
}

// Dress changes nothing.
func (*Cell) Dress(*exec.Cmd) error { return nil }

// Kill kills nothing.
func (*Cell) Kill() {}

// Verdict knows nothing.
func (*Cell) Verdict(*os.ProcessState) string { return "" }

// Close has nothing to remove.
func (*Cell) Close() {}

func (plan) apply() error { return errors.New("nothing can be confined outside Linux") }
