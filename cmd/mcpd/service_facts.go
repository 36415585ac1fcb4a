package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/mcpd/mcpd/cmd/mcpd/systemd"
	"github.com/mcpd/mcpd/idp"
)

// systemState is where systemd keeps the state of the machine's mcpd.
const systemState = "/var/lib/mcpd"

// service finds out what the units of this variant have in them.
func (c *cli) service(o serviceOptions) (systemd.Service, error) {
	s := systemd.Service{System: o.machine(), Dir: "/etc/systemd/system"}
	if o.user && o.system {
		return s, usageError{"--user and --system: only one of them"}
	}
	if runtime.GOOS != "linux" {
		return s, errors.New("cannot make mcpd a service: that needs systemd, so Linux")
	}
	var err error
	if s.Binary, err = ownBinary(); err != nil {
		return s, err
	}
	if o.root != "" {
		s.Binary = "/usr/bin/mcpd"
	}
	if !s.System {
		if s.State, err = stateDir(c.stateFlag, c.env); err != nil {
			return s, err
		}
		home := filepath.Join(c.env.Get("HOME"), ".config")
		if xdg := c.env.Get("XDG_CONFIG_HOME"); filepath.IsAbs(xdg) {
			home = xdg
		}
		s.Dir = filepath.Join(home, "systemd", "user")
	} else if c.stateFlag != "" {
		return s, usageError{"--state-dir cannot be chosen for a service of the machine: systemd keeps its state in " + systemState}
	}
	if s.Config, err = c.serviceConfig(s.System); err != nil {
		return s, err
	}
	s.Path, s.IPv6 = servicePath(c.env.Get("PATH"), s.System || o.root != ""), hasIPv6()
	return s, nil
}

// serviceConfig is the file that the service will read, whether or not it is there.
func (c *cli) serviceConfig(system bool) (string, error) {
	asked := c.configFile
	if asked == "" && system {
		asked = filepath.Join("/etc/mcpd", configName)
	}
	file, err := FindConfig(asked, c.env)
	if err != nil {
		file = filepath.Join(c.env.Get("HOME"), ".config", "mcpd", configName)
	}
	return filepath.Abs(file)
}

// ownBinary is this program's file: by the name by which a shell finds it, if it does, for that name stays when what it
// points to is exchanged.
func ownBinary() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("cannot find this program's own file: %w", err)
	}
	if strings.Contains(self, "/go-build") && strings.Contains(self, "/exe/") {
		return "", errors.New("cannot make a service of `go run`, whose program is gone afterwards: build mcpd first, as in `go build -o ~/.local/bin/mcpd ./cmd/mcpd`")
	}
	found, err := exec.LookPath("mcpd")
	if err != nil {
		return self, nil
	}
	a, errA := os.Stat(found)
	b, errB := os.Stat(self)
	if errA == nil && errB == nil && os.SameFile(a, b) {
		return filepath.Abs(found)
	}
	return self, nil
}

// servicePath is what of a $PATH will be there for a service too: not what a shell makes for itself, nor, for a service of
// the machine, what is in somebody's home.
func servicePath(path string, system bool) string {
	gone := []string{"/tmp", "/var/tmp", "/run"}
	if system {
		gone = append(gone, "/home", "/root")
	}
	var dirs []string
	for _, dir := range append(filepath.SplitList(path), "/usr/local/bin", "/usr/bin", "/bin") {
		if filepath.IsAbs(dir) && !slices.Contains(dirs, dir) && !slices.ContainsFunc(gone, func(g string) bool { return below(dir, g) }) {
			dirs = append(dirs, dir)
		}
	}
	return strings.Join(dirs, string(os.PathListSeparator))
}

func below(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func hasIPv6() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	_ = l.Close() // it has shown what it was opened for
	return true
}

// fitsService refuses what the machine's service could not reach: it sees neither homes nor this /tmp, and runs as a user
// that owns nothing.
func fitsService(s systemd.Service, root string) error {
	if !s.System {
		return nil
	}
	for what, path := range map[string]string{"program": s.Binary, "configuration": s.Config} {
		for _, hidden := range []string{"/home", "/root", "/run/user", "/tmp", "/var/tmp"} {
			if below(path, hidden) {
				return fmt.Errorf("cannot use the %s %q: a service of the machine does not see %s; copy it, to /usr/local/bin/mcpd or /etc/mcpd/%s", what, path, hidden, configName)
			}
		}
		if info, err := os.Stat(filepath.Join(root, path)); err == nil && info.Mode().Perm()&0o004 == 0 {
			return fmt.Errorf("cannot use the %s %q: the service runs as a user of its own, which may not read it; chmod o+r, and keep secrets in %s", what, path, s.EnvFile())
		}
	}
	return nil
}

// serviceListen are the addresses of [listen] in a configuration. Variables and credentials that only the service will have
// may be missing; everything else that is wrong is an error. Where anyway, no file is an empty one.
func (c *cli) serviceListen(file string, anyway bool) ([]string, error) {
	options := LoadOptions{Path: file, Reserved: idp.Paths()}
	for _, kv := range c.env {
		if !strings.HasPrefix(kv, envPrefix) { // those of this shell the service does not have
			options.Environ = append(options.Environ, kv)
		}
	}
	if _, err := os.Stat(file); anyway && errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(c.stderr, "mcpd: there is no %s yet; these are the units for an empty one\n", file)
		options.Data = []byte("\n")
	}
	cfg, problems, err := loadAsFar(options)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w; write it first, for example:\n\n[servers.demo]\ncommand = \"mcpd\"\nargs    = [\"demo-server\"]", err)
	}
	problems = slices.DeleteFunc(problems, func(p Problem) bool { return p.Outside && !strings.HasPrefix(p.Key, "listen.") })
	if err != nil || len(problems) > 0 {
		return nil, cmp.Or(err, error(problems))
	}
	listen := cfg.listen()
	return []string{listen.HTTPS, listen.HTTP}, nil
}

// mayOpen refuses ports that a person's systemd may not open: they are the machine's.
func mayOpen(s systemd.Service) error {
	if s.System {
		return nil
	}
	first := 1024
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start"); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			first = n
		}
	}
	for _, a := range s.Listen {
		_, port, _ := net.SplitHostPort(a) // Validate has looked at it
		if n, err := strconv.Atoi(port); err == nil && n != 0 && n < first {
			return fmt.Errorf("cannot open port %d as a service of yours: have an administrator run `sysctl -w net.ipv4.ip_unprivileged_port_start=%[1]d` and put that setting into /etc/sysctl.d, or use --system", n)
		}
	}
	return nil
}

// portHint adds what helps where a service cannot have the ports of [listen].
func portHint(err error, passed int) error {
	switch {
	case passed > 0:
		return fmt.Errorf("%w; where [listen] has changed, `mcpd service install` has systemd open the new ports", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; systemd can open it for mcpd: `mcpd service install --system`", err)
	}
	return err
}
