package confine

import (
	"fmt"
	"os"
	"strconv"
)

// Want is what a process and everything it starts is to be held to. Zero fields ask for nothing.
type Want struct {
	Memory int64   // bytes
	Tasks  int     // processes and threads
	CPU    float64 // processors

	// Files leaves it, of all files, those of the system to read, Read to read, Write to change,
	// and a temporary directory of its own.
	Files       bool
	Read, Write []string // absolute paths

	// Offline takes the network away.
	Offline bool

	// Bubblewrap has bwrap(1) do both, in namespaces: what may not be read is not there at all. Where that cannot be,
	// nothing starts.
	Bubblewrap bool
}

// missing names the first path that is not there.
func (w Want) missing() error {
	for key, list := range map[string][]string{"sandbox.read": w.Read, "sandbox.write": w.Write} {
		for _, p := range list {
			if _, err := os.Stat(p); err != nil {
				return fmt.Errorf("cannot be confined: %s: %w", key, err)
			}
		}
	}
	return nil
}

// Report tells in the words of mcpd status what of a Want is in force, and what is not and why.
type Report struct{ InForce, Missing []string }

func (r *Report) add(wanted bool, ok bool, what, by, needs string) {
	switch {
	case !wanted:
	case ok:
		r.InForce = append(r.InForce, what+" ("+by+")")
	default:
		r.Missing = append(r.Missing, what+" ("+needs+")")
	}
}

// Size writes a number of bytes in the largest unit of 1024 that it is a whole number of.
func Size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for n != 0 && n%1024 == 0 && i < len(units)-1 {
		n /= 1024
		i++
	}
	return strconv.FormatInt(n, 10) + units[i]
}

// OutOfMemory is the reason of an end for want of memory.
func OutOfMemory(limit int64) string { return "out of memory at " + Size(limit) }

// TooManyTasks is the reason of an end for too many processes.
func TooManyTasks(limit int) string { return fmt.Sprintf("more than %d processes and threads", limit) }
