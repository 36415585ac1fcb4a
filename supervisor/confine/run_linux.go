package confine

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// apply does to this process what the plan says. What comes after it is confined.
func (p plan) apply() error {
	if p.Data > 0 {
		// Since Linux 4.7 this counts all private memory that can be written to, and not, as
		// RLIMIT_AS does, the address space that runtimes only reserve (getrlimit(2)).
		if err := syscall.Setrlimit(unix.RLIMIT_DATA, &syscall.Rlimit{Cur: uint64(p.Data), Max: uint64(p.Data)}); err != nil {
			return fmt.Errorf("cannot limit the memory: %w", err)
		}
	}
	if p.Privileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("cannot give up new privileges: %w", err)
		}
		dropCapabilities()
	}
	rules := landlock.V7.BestEffort() // at least what Look found
	if p.Files {
		if err := errors.Join(rules.RestrictPaths(p.rules()...), rules.RestrictScoped()); err != nil {
			return fmt.Errorf("cannot restrict the files: %w", err)
		}
	}
	if p.TCP {
		if err := rules.RestrictNet(); err != nil {
			return fmt.Errorf("cannot restrict the network: %w", err)
		}
	}
	return nil
}

// dropCapabilities takes from root what would open the sandbox again, at the execve that follows
// (capabilities(7)): to trace others and to read their environment, to mount, to load modules. Who is
// not root has none of it, and may not drop it either.
func dropCapabilities() {
	for c := range uintptr(64) {
		switch c {
		case unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER: // root's own files are not always its own
			continue
		}
		_ = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0) // EINVAL beyond the last one there is
	}
}

// rules are what may be read and written of the file system: programs and settings of the system,
// the devices that hold nothing, and what was asked for.
func (p plan) rules() []landlock.Rule {
	rules := []landlock.Rule{
		landlock.RODirs(append(systemFiles(), "/proc")...).IgnoreIfMissing(),
		landlock.ROFiles("/dev/random", "/dev/urandom").IgnoreIfMissing(),
		landlock.RWFiles("/dev/null", "/dev/zero", "/dev/full").IgnoreIfMissing(),
		landlock.ROFiles(p.Path),
	}
	for _, path := range p.Read {
		if isDir(path) {
			rules = append(rules, landlock.RODirs(path))
		} else {
			rules = append(rules, landlock.ROFiles(path))
		}
	}
	for _, path := range p.Write {
		if isDir(path) {
			rules = append(rules, landlock.RWDirs(path).WithRefer())
		} else {
			rules = append(rules, landlock.RWFiles(path))
		}
	}
	return rules
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
