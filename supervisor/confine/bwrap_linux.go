package confine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Bubblewrap builds a small root directory for one process, in namespaces of its own: mounts, processes, IPC, host
// name and, if asked for, network (bwrap(1)). It is a program of its own, which needs user namespaces.

// tryBubblewrap finds it and starts the helper in it, which ends at once.
func (m *Machine) tryBubblewrap() (path string, err error) {
	if path, err = exec.LookPath("bwrap"); err != nil {
		return "", errors.New("bwrap is not installed")
	}
	if len(m.helper) == 0 {
		return "", errors.New("nothing to try bwrap with")
	}
	args := append([]string{"--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--"}, m.helper...)
	cmd := exec.Command(path, append(args, probe)...)
	var said bytes.Buffer
	cmd.Env, cmd.Stderr, cmd.WaitDelay = []string{}, &said, time.Second
	if err := cmd.Run(); err != nil {
		line, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n")
		return "", fmt.Errorf("bwrap does not work here: %s", strings.TrimPrefix(line, "bwrap: "))
	}
	return path, nil
}

// systemFiles are programs and settings of the system, which everybody may read.
func systemFiles() []string {
	return []string{
		"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix/store", "/sys",
		"/run/systemd/resolve", "/run/resolvconf", // where /etc/resolv.conf leads to
	}
}

// wrap is the command line that starts path in a root directory of its own, without what comes after the program's name.
// Who ends bwrap ends everything in it, so SIGTERM, which bwrap does not pass on, is the end.
func (c *Cell) wrap(bwrap, path string) []string {
	argv := []string{bwrap, "--die-with-parent", "--unshare-all", "--cap-drop", "ALL"}
	if !c.want.Offline {
		argv = append(argv, "--share-net")
	}
	argv = append(argv, "--proc", "/proc", "--dev", "/dev", "--bind", c.tmp, "/tmp")
	bind := func(how string, paths ...string) {
		for _, p := range paths {
			argv = append(argv, how, p, p)
		}
	}
	bind("--ro-bind-try", systemFiles()...)
	if _, err := os.Stat(path); err == nil {
		bind("--ro-bind", path)
	}
	bind("--ro-bind", c.want.Read...)
	bind("--bind", c.want.Write...)
	return append(argv, "--", path)
}
