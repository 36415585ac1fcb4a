package systemd

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// Run runs a command and returns what it wrote to standard output. Its error has what it wrote to standard error.
type Run func(ctx context.Context, name string, args ...string) (string, error)

// Command is Run for real commands.
func Command(ctx context.Context, name string, args ...string) (string, error) {
	var stderr strings.Builder
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if said := strings.TrimSpace(stderr.String()); err != nil && said != "" {
		err = errors.New(said)
	}
	if err != nil {
		err = fmt.Errorf("cannot run %s %s: %w", name, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), err
}

// systemctl asks the machine's systemd, or the person's.
func (i Installer) systemctl(ctx context.Context, args ...string) (string, error) {
	return i.manager(ctx, "systemctl", args...)
}

// manager runs one of systemd's commands, of which each takes --user.
func (i Installer) manager(ctx context.Context, name string, args ...string) (string, error) {
	if !i.Service.System {
		args = append([]string{"--user"}, args...)
	}
	return i.Run(ctx, name, args...)
}

// Ask finds out what the service depends on: the version of the systemd that runs, and whether it can give a person's
// services namespaces. Some machines forbid that, and then a unit that wants them would not start.
func (i Installer) Ask(ctx context.Context) (version int, sandbox bool, err error) {
	said, err := i.systemctl(ctx, "show", "--property=Version", "--value")
	if err != nil {
		return 0, false, fmt.Errorf("cannot reach systemd: %w", err)
	}
	digits := strings.IndexFunc(said, func(r rune) bool { return r < '0' || r > '9' })
	if digits < 0 {
		digits = len(said)
	}
	if version, err = strconv.Atoi(said[:digits]); err != nil {
		return 0, false, fmt.Errorf("cannot understand the version of systemd, %q", said)
	}
	if i.Service.System {
		return version, false, nil
	}
	_, err = i.manager(ctx, "systemd-run", "--quiet", "--wait", "--collect", "--property=PrivateUsers=yes", "--property=ProtectSystem=full",
		"--property=ProtectHostname=yes", "--", i.Service.Binary, "version")
	return version, err == nil, nil
}
