package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// instance is a real mcpd process with directories of its own.
type instance struct {
	t      testing.TB
	dir    string
	config string
	env    []string
	log    *lockedBuffer
	cmd    *exec.Cmd
	done   chan struct{} // closed when cmd has ended
	user   string
	socket *os.File // nil, or the listening socket that mcpd is given, as a service manager gives it
}

const testPassword = "correct-horse-battery-9"

// startDaemon runs mcpd on a configuration, with an empty HOME and a port of the system's choice, until the test's end.
// When the test fails, its log is shown.
func startDaemon(t testing.TB, config string, environ ...string) *instance {
	t.Helper()
	d := newInstance(t, config, environ...)
	d.start()
	return d
}

// newInstance is startDaemon without the start.
func newInstance(t testing.TB, config string, environ ...string) *instance {
	t.Helper()
	dir, err := os.MkdirTemp("", "mcpd") // short, for the admin socket's address; not t.TempDir, which has the test's name in it
	if err != nil {
		t.Fatal(err)
	}
	d := &instance{t: t, dir: dir, config: filepath.Join(dir, "servers.toml"), log: &lockedBuffer{}, user: "tester"}
	t.Cleanup(func() {
		d.stop()
		if t.Failed() {
			lines := strings.SplitAfter(d.log.String(), "\n")
			t.Logf("the end of mcpd's log:\n%s", strings.Join(lines[max(0, len(lines)-80):], ""))
		}
		// A browser that was closed may write its profile for a moment yet.
		if err := until(20*time.Second, "the removal of "+dir, func() (bool, string) {
			err := os.RemoveAll(dir)
			return err == nil, fmt.Sprint(err)
		}); err != nil {
			t.Error(err)
		}
	})
	d.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + d.path("home"), "TMPDIR=" + d.path("tmp"), "LANG=C.UTF-8",
		"XDG_CONFIG_HOME=" + d.path("config"), "XDG_STATE_HOME=" + d.path("xdg"), "XDG_RUNTIME_DIR=" + d.path("run"),
		"MCPD_LISTEN__HTTP=127.0.0.1:0",
	}
	d.env = append(d.env, quickEnds()...)
	for _, sub := range []string{"home", "tmp", "config", "xdg", "run"} {
		if err := os.Mkdir(d.path(sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	d.env = append(d.env, environ...)
	d.configure(config)
	return d
}

// quickEnds is what a process of ours and those that it starts are to know where their tests run with the race detector.
// It has each wait a second before it ends, unless GORACE says otherwise.
func quickEnds() []string {
	options := os.Getenv("GORACE")
	if options == "" {
		return nil
	}
	return []string{"GORACE=" + options, "MCPD_DEFAULTS__PASS_ENV=GORACE"}
}

func (d *instance) path(name string) string { return filepath.Join(d.dir, name) }

// configure writes the configuration file; a running daemon reads it at the next reload.
func (d *instance) configure(text string) {
	d.t.Helper()
	aside := d.config + ".new" // renamed, so that no reload reads half of it
	if err := errors.Join(os.WriteFile(aside, []byte(text), 0o600), os.Rename(aside, d.config)); err != nil {
		d.t.Fatal(err)
	}
}

// start runs mcpd and returns when it answers on its admin socket.
func (d *instance) start() {
	d.t.Helper()
	d.launch()
	eventually(d.t, 20*time.Second, "mcpd answers on its admin socket", func() (bool, string) {
		select {
		case <-d.done:
			d.t.Fatalf("mcpd ended: %v", d.cmd.ProcessState)
		default:
		}
		st, err := d.askStatus()
		return err == nil && st.Listen.addrs() != "", fmt.Sprintf("%+v, %v", st.Listen, err)
	})
}

// launch runs mcpd and does not wait for anything.
func (d *instance) launch() {
	d.t.Helper()
	d.cmd = exec.Command("mcpd", d.args("run")...)
	if d.socket != nil { // sd_listen_fds(3): from descriptor 3 on, for this process id only
		d.cmd = exec.Command("sh", append([]string{"-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec mcpd "$@"`, "sh"}, d.args("run")...)...)
		d.cmd.ExtraFiles = []*os.File{d.socket}
	}
	d.cmd.Env, d.cmd.Dir = d.env, d.dir
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	done, cmd := make(chan struct{}), d.cmd
	d.done = done
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
}

// stop ends mcpd as a service manager does, and demands that it goes with code 0 within 10 s. Without a running mcpd it does nothing.
func (d *instance) stop() {
	if d.cmd == nil || d.cmd.Process == nil {
		return
	}
	select {
	case <-d.done:
		return
	default:
	}
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	if !d.ended(10 * time.Second) {
		d.t.Errorf("mcpd did not end within 10 s of SIGTERM")
		_ = d.cmd.Process.Signal(syscall.SIGQUIT) // the runtime writes every goroutine's stack to the log
		if !d.ended(5 * time.Second) {
			_ = d.cmd.Process.Kill()
			<-d.done
		}
		return
	}
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		d.t.Errorf("mcpd ended with code %d (%v) after SIGTERM, want 0", code, d.cmd.ProcessState)
	}
}

func (d *instance) ended(within time.Duration) bool {
	select {
	case <-d.done:
		return true
	case <-time.After(within):
		return false
	}
}

// restart stops mcpd and starts it on the same port, as an upgrade does.
func (d *instance) restart() {
	d.t.Helper()
	addr := d.status().Listen.HTTP
	d.stop()
	d.env = append(d.env, "MCPD_LISTEN__HTTP="+addr)
	d.start()
}

func (d *instance) args(command string, args ...string) []string {
	return append([]string{command, "--config", d.config, "--state-dir", d.path("state")}, args...)
}

// run runs one mcpd command against the daemon, with stdin.
func (d *instance) run(stdin string, words ...string) (stdout, stderr string, code int) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "mcpd", append(words, "--config", d.config, "--state-dir", d.path("state"))...)
	cmd.Env, cmd.Dir, cmd.Stdin = d.env, d.dir, strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		d.t.Fatalf("mcpd %s: %v", strings.Join(words, " "), err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// must is run for a command that has to end with code 0; it returns stdout.
func (d *instance) must(words ...string) string {
	d.t.Helper()
	out, errs, code := d.run("", words...)
	if code != 0 {
		d.t.Fatalf("mcpd %s: exit code %d\n%s%s", strings.Join(words, " "), code, out, errs)
	}
	return out
}

// askStatus is what mcpd status --json prints, without a process for each look: most tests look again and again.
func (d *instance) askStatus() (st Status, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	err = d.admin().get(ctx, "/v1/status", &st)
	return st, err
}

func (d *instance) status() Status {
	d.t.Helper()
	st, err := d.askStatus()
	if err != nil {
		d.t.Fatal(err)
	}
	return st
}

func (d *instance) server(name string) ServerStatus {
	d.t.Helper()
	for _, s := range d.status().Servers {
		if s.Name == name {
			return s
		}
	}
	d.t.Fatalf("status has no server %q", name)
	return ServerStatus{}
}

// pids are the processes of a server's workers.
func (d *instance) pids(name string) (pids []int) {
	d.t.Helper()
	for _, w := range d.server(name).Workers {
		if w.PID > 0 { // else it has no process yet, and a signal to 0 is one to all of us (kill(2))
			pids = append(pids, w.PID)
		}
	}
	return pids
}

// addUser makes the person that the test signs in as.
func (d *instance) addUser() {
	d.t.Helper()
	if out, errs, code := d.run(testPassword+"\n", "user", "add", d.user, "--password-stdin"); code != 0 {
		d.t.Fatalf("user add: exit code %d\n%s%s", code, out, errs)
	}
}

// token makes an access token for one server.
func (d *instance) token(server string, flags ...string) string {
	d.t.Helper()
	return strings.TrimSpace(d.must(append([]string{"token", "create", "--user", d.user, "--server", server}, flags...)...))
}

// url is the address a client is given for a server.
func (d *instance) url(server string) string {
	d.t.Helper()
	u := d.server(server).URL
	if p, err := url.Parse(u); err != nil || p.Path != "/"+server+"/mcp" {
		d.t.Fatalf("url of %s is %q, want a path /%s/mcp", server, u, server)
	}
	return u
}

// lockedBuffer collects what a process writes while a test may read it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
