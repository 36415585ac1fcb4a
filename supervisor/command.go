package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// self is the command that means this very program.
const self = "mcpd"

// lookup finds the program of a child. It searches the PATH that the child will have, not mcpd's,
// which exec.LookPath would use. The error is the reason a person reads.
func lookup(s Spec) (string, error) {
	switch {
	case s.Command == self:
		return executable()
	case filepath.IsAbs(s.Command):
		return s.Command, runnable(s.Command)
	case strings.ContainsRune(s.Command, filepath.Separator):
		p := filepath.Join(s.Dir, s.Command)
		return p, runnable(p)
	}
	for _, dir := range filepath.SplitList(value(s.Environ, "PATH")) {
		// A relative entry would make the program depend on the directory (golang.org/issue/43724).
		if p := filepath.Join(dir, s.Command); filepath.IsAbs(dir) && runnable(p) == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s not found in PATH", s.Command)
}

// executable is the program that runs now.
func executable() (string, error) {
	p, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("cannot find the program of mcpd itself: %w", err)
	}
	return p, nil
}

func runnable(p string) error {
	info, err := os.Stat(p)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s does not exist", p)
	case err != nil:
		return fmt.Errorf("cannot use %s: %w", p, err)
	case info.IsDir():
		return fmt.Errorf("%s is a directory", p)
	case info.Mode()&0o111 == 0:
		return fmt.Errorf("%s is not executable", p)
	}
	return nil
}

// value reads one variable of an environment; the last wins, as in a child.
func value(environ []string, name string) (v string) {
	for _, kv := range environ {
		if k, val, ok := strings.Cut(kv, "="); ok && k == name {
			v = val
		}
	}
	return v
}
