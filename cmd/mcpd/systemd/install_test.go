package systemd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// bench is an Installer whose systemd notes what it is asked and answers from a table.
type bench struct {
	Installer
	asked   []string
	said    []string
	answers map[string]string // by the start of the command; "!" before an answer makes it an error
}

func newBench(t *testing.T) *bench {
	b := &bench{answers: map[string]string{}}
	b.Installer = Installer{
		Service: Service{
			Dir: filepath.Join(t.TempDir(), "config", "systemd", "user"), Binary: "/usr/bin/mcpd", Config: "/home/a/servers.toml", State: "/home/a/state",
			Path: "/usr/bin", Listen: []string{"localhost:8080"}, IPv6: true, Version: 257, Sandbox: true,
		},
		Run: func(_ context.Context, name string, args ...string) (string, error) {
			line := strings.Join(append([]string{name}, args...), " ")
			b.asked = append(b.asked, line)
			for start, answer := range b.answers {
				if strings.HasPrefix(line, start) {
					if wrong, ok := strings.CutPrefix(answer, "!"); ok {
						return "", errors.New(wrong)
					}
					return answer, nil
				}
			}
			return "", nil
		},
		Say: func(verb, what string) { b.said = append(b.said, verb+" "+what) },
	}
	return b
}

// orders returns what systemd was asked since the last time, without questions.
func (b *bench) orders() (orders []string) {
	for _, line := range b.asked {
		if !strings.Contains(line, " show ") && !strings.Contains(line, " is-active ") && !strings.HasPrefix(line, "journalctl") {
			orders = append(orders, strings.TrimPrefix(line, "systemctl --user "))
		}
	}
	b.asked, b.said = nil, nil
	return orders
}

func (b *bench) install(t *testing.T) []string {
	t.Helper()
	if err := b.Install(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	return b.orders()
}

func (b *bench) wantOrders(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("systemd was ordered\n  %s\nand not\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestInstallAndUninstall(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const enable = "enable --quiet mcpd.socket mcpd.service"
	b.wantOrders(t, b.install(t), "daemon-reload", enable, "stop mcpd.socket mcpd.service", "start mcpd.service")
	for _, name := range fileNames {
		text, err := os.ReadFile(b.path(name))
		if ours, untouched := signed(text); err != nil || !ours || !untouched {
			t.Errorf("%s: %v, ours %t, untouched %t", name, err, ours, untouched)
		}
	}
	b.answers["systemctl --user is-active"] = "active"
	b.wantOrders(t, b.install(t), enable)

	b.Service.Path = "/opt/node/bin:/usr/bin"
	b.wantOrders(t, b.install(t), "daemon-reload", enable, "restart mcpd.service")
	b.Service.Listen = []string{"localhost:9090"}
	b.wantOrders(t, b.install(t), "daemon-reload", enable, "stop mcpd.socket mcpd.service", "start mcpd.service")

	// What the machine offers may change, and files that are not wanted any more go.
	b.Service.Version, b.Service.Sandbox = 252, false
	b.wantOrders(t, b.install(t), "daemon-reload", enable, "restart mcpd.service")
	if _, err := os.Stat(filepath.Dir(b.path(sandbox))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the drop-ins are still there: %v", err)
	}

	if err := b.Uninstall(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	b.wantOrders(t, b.orders(), "disable --quiet --now mcpd.socket mcpd.service", "daemon-reload", "reset-failed mcpd.socket mcpd.service")
	if _, err := os.Stat(filepath.Join(b.Service.Dir, "../..")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("directories that install made are left: %v", err)
	}
	if err := b.Uninstall(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	b.wantOrders(t, b.orders())
}

func TestOthersFilesAreLeftAlone(t *testing.T) {
	t.Parallel()
	edit := func(text string) string { return text + "# mine\n" }
	for _, tt := range []struct {
		name, file string
		change     func(string) string
		want       string
	}{
		{"edited", serviceUnit, edit, "was changed after mcpd wrote it"},
		{"edited drop-in", sandbox, edit, "was changed after mcpd wrote it"},
		{"foreign", socketUnit, func(string) string { return "[Socket]\n" }, "mcpd has not written it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.install(t)
			text, err := os.ReadFile(b.path(tt.file))
			if err != nil {
				t.Fatal(err)
			}
			changed := tt.change(string(text))
			if err := os.WriteFile(b.path(tt.file), []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			b.Service.Path = "/elsewhere" // there is something to do
			if err := b.Install(t.Context(), true); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("install says %v, want %q", err, tt.want)
			}
			b.wantOrders(t, b.orders())
			if now, err := os.ReadFile(b.path(tt.file)); string(now) != changed {
				t.Errorf("the file was changed: %v\n%s", err, now)
			}
			b.Force = true
			b.install(t)
			if now, _ := os.ReadFile(b.path(tt.file)); string(now) == changed {
				t.Error("--force did not replace it")
			}
		})
	}
}

func TestUninstallLeavesDropInsOfOthers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.install(t)
	own := filepath.Join(filepath.Dir(b.path(sandbox)), "override.conf")
	if err := os.WriteFile(own, []byte("[Service]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.Uninstall(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(b.said, func(s string) bool { return strings.HasPrefix(s, "keep ") && strings.Contains(s, "mcpd.service.d") }) {
		t.Errorf("it does not say that something is left: %q", b.said)
	}
	if _, err := os.Stat(own); err != nil {
		t.Error(err)
	}
}

func TestDryRunDoesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.DryRun = true
	if err := b.Install(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if len(b.asked) > 0 || len(b.said) != len(fileNames)+2 {
		t.Errorf("it asked %q and said %q", b.asked, b.said)
	}
	if _, err := os.Stat(b.Service.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it wrote something: %v", err)
	}
}

func TestStartThatFailsShowsTheLog(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.answers["systemctl --user start"] = "!Job for mcpd.service failed"
	b.answers["journalctl --user"] = "servers.toml:2:1: unknown key"
	err := b.Install(t.Context(), true)
	if err == nil || !strings.Contains(err.Error(), "unknown key") || !strings.Contains(err.Error(), "Job for mcpd.service failed") {
		t.Errorf("%v", err)
	}
}

func TestAsk(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		said, probe string
		version     int
		sandbox     bool
	}{
		{"252.38-1~deb12u1", "", 252, true},
		{"257", "!Failed to set up user namespacing", 257, false},
	} {
		b := newBench(t)
		b.answers["systemctl --user show"], b.answers["systemd-run --user"] = tt.said, tt.probe
		version, sandbox, err := b.Ask(t.Context())
		if err != nil || version != tt.version || sandbox != tt.sandbox {
			t.Errorf("%q: %d, %t, %v", tt.said, version, sandbox, err)
		}
	}
}
