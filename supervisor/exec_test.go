package supervisor

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"
)

// These tests run real children: this binary, see TestMain.

// real is a supervisor of real children.
func real(t *testing.T) *Supervisor[*lineConn] {
	t.Helper()
	s := New[*lineConn](Options{
		Logger:  zaptest.NewLogger(t),
		Confine: []string{"/usr/bin/env", testBinary(t), "child-confine"}, Scratch: t.TempDir(),
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func childSpec(t *testing.T, kind string, change ...func(*Config)) Spec {
	t.Helper()
	return spec(t, kind, append([]func(*Config){func(c *Config) {
		c.Args = []string{"child-" + kind}
		c.Env = map[string]string{"GORACE": "atexit_sleep_ms=0"} // or each child takes a second to end
		c.Timeouts.Stdin, c.Timeouts.Term = 100*time.Millisecond, 100*time.Millisecond
	}}, change...)...)
}

func apply(t *testing.T, s *Supervisor[*lineConn], specs ...Spec) {
	t.Helper()
	var entries []Entry[*lineConn]
	for _, sp := range specs {
		entries = append(entries, Entry[*lineConn]{Spec: sp, Open: openLines})
	}
	if _, err := s.Apply(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
}

func acquire(t *testing.T, s *Supervisor[*lineConn], name, key string) (*lineConn, func()) {
	t.Helper()
	p, ok := s.Pool(name)
	if !ok {
		t.Fatalf("no server %q", name)
	}
	c, release, err := p.Acquire(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return c, release
}

// say makes a call and returns the answer in two parts: the process id and the rest.
func say(t *testing.T, c *lineConn, line string) (pid int, rest string) {
	t.Helper()
	answer, err := c.call(line)
	if err != nil {
		t.Fatal(err)
	}
	first, rest, _ := strings.Cut(answer, " ")
	pid, err = strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	return pid, rest
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRealChild(t *testing.T) {
	s := real(t)
	apply(t, s, childSpec(t, "echo", func(c *Config) { c.Env["COLOUR"] = "blue" }))
	c, release := acquire(t, s, "echo", "alice")
	defer release()
	pid, rest := say(t, c, "env COLOUR")
	if rest != "blue" {
		t.Errorf("environment: %q", rest)
	}
	st := s.Snapshot()
	w := st.Servers[0].Workers[0]
	if w.PID != pid || w.Key != "alice" || w.State != StateReady || w.Active != 1 {
		t.Errorf("%+v", w)
	}
	if runtime.GOOS == "linux" && (w.Memory <= 0 || st.Orphans != 0) {
		t.Errorf("memory %d, orphans %d", w.Memory, st.Orphans)
	}
	// A terminal belongs to a session: it cannot read what is typed where mcpd runs, nor type there itself.
	if sid, err := unix.Getsid(pid); err != nil || sid != pid {
		t.Errorf("it is in session %d (%v), and should lead one", sid, err)
	}
}

func TestCrashAtStart(t *testing.T) {
	s := real(t)
	apply(t, s, childSpec(t, "crash", func(c *Config) { c.Args = append(c.Args, "no", "API", "key") }))
	p, _ := s.Pool("crash")
	_, _, err := p.Acquire(t.Context(), "alice")
	if err == nil || !strings.HasPrefix(err.Error(), "server did not start: exited with code 3: one / no API key; next start in 1s") {
		t.Errorf("got %v", err)
	}
}

func TestKillOfAWorker(t *testing.T) {
	s := real(t)
	apply(t, s, childSpec(t, "echo"))
	c, release := acquire(t, s, "echo", "alice")
	pid, _ := say(t, c, "hello")
	read := make(chan error, 1)
	go func() { // ends with the worker
		_, err := c.in.ReadString('\n')
		read <- err
	}()
	begin := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err.Error() != "killed by signal 9 (killed)" {
		t.Errorf("got %q", err)
	}
	if d := time.Since(begin); d > 10*time.Second { // on a machine that has time: a millisecond
		t.Errorf("known after %v", d)
	}
	release()
	c, release = acquire(t, s, "echo", "alice")
	defer release()
	if again, _ := say(t, c, "hello"); again == pid {
		t.Error("the same process")
	}
	if st := s.Snapshot().Servers[0]; st.Restarts != 1 {
		t.Errorf("restarts %d", st.Restarts)
	}
}

func TestExitDuringACall(t *testing.T) {
	s := real(t)
	apply(t, s, childSpec(t, "echo"))
	c, release := acquire(t, s, "echo", "alice")
	defer release()
	if _, err := c.call("exit out of cheese"); err == nil || err.Error() != "exited with code 7: out of cheese" {
		t.Errorf("got %v", err)
	}
	if _, err := c.call("hello"); err == nil || err.Error() != "exited with code 7: out of cheese" {
		t.Errorf("after the end: %v", err)
	}
}

// A child that ignores the end of its input and SIGTERM, with grandchildren of the same kind: one in
// its group, one in a session of its own, and one there that has no environment. None survives, and nothing waits
// for their pipes.
func TestDeafFamily(t *testing.T) {
	s := real(t)
	apply(t, s, childSpec(t, "deaf"))
	c, release := acquire(t, s, "deaf", "alice")
	child, in := say(t, c, "fork")
	_, out := say(t, c, "fork setsid")
	_, bare := say(t, c, "escape")
	release()
	begin := time.Now()
	if err := s.Stop(t.Context(), "deaf"); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("stop took %v", d)
	}
	for i, pid := range []int{child, number(t, in), number(t, out), number(t, bare)} {
		if runtime.GOOS != "linux" && i >= 2 {
			_ = syscall.Kill(pid, syscall.SIGKILL) // out of sight there
			continue
		}
		eventually(t, "end of "+strconv.Itoa(pid), func() bool { return !runs(pid) })
	}
	eventually(t, "no orphans", func() bool { return s.Snapshot().Orphans <= 0 })
}

// The same family, and the child killed from outside.
func TestKillLeavesNoFamily(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs a subreaper")
	}
	s := real(t)
	apply(t, s, childSpec(t, "deaf"))
	c, release := acquire(t, s, "deaf", "alice")
	defer release()
	child, in := say(t, c, "fork")
	_, out := say(t, c, "fork setsid")
	begin := time.Now()
	_ = syscall.Kill(child, syscall.SIGKILL)
	// The one in its own session holds standard output and error. The reason comes all the same.
	if _, err := c.in.ReadString('\n'); err == nil || !strings.HasPrefix(err.Error(), "killed by signal 9") {
		t.Errorf("got %v", err)
	}
	if d := time.Since(begin); d > 2*time.Second {
		t.Errorf("known after %v", d)
	}
	for _, pid := range []string{in, out} {
		eventually(t, "end of "+pid, func() bool { return !runs(number(t, pid)) })
	}
}

// Grandchildren that lose their parent while the worker lives are reaped and not killed.
func TestAdoptedZombiesAreReaped(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs a subreaper")
	}
	s := real(t)
	apply(t, s, childSpec(t, "echo"))
	h := s.o.system.(*host)
	h.mu.Lock()
	h.strayAge = 100 * time.Millisecond
	h.mu.Unlock()
	c, release := acquire(t, s, "echo", "alice")
	defer release()
	for _, how := range []string{"orphan", "orphan setsid"} {
		_, pid := say(t, c, how)
		eventually(t, how+" reaped", func() bool {
			return errors.Is(syscall.Kill(number(t, pid), 0), syscall.ESRCH)
		})
	}
	say(t, c, "hello")
}

// A child of somebody else in this process keeps its exit status for whoever started it.
func TestForeignChildrenKeepTheirStatus(t *testing.T) {
	s := real(t)
	apply(t, s, childSpec(t, "echo"))
	for range 20 {
		cmd := exec.Command("/bin/sh", "-c", "exit 5")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_, release := acquire(t, s, "echo", "alice")
		release()
		s.StopKeys(func(_, k string) bool { return k == "alice" }) // makes the sweeper work
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 5 {
			t.Fatalf("got %v", err)
		}
	}
}

func TestClosedOutputEndsTheWorker(t *testing.T) {
	s := real(t)
	apply(t, s, childSpec(t, "close"))
	c, release := acquire(t, s, "close", "alice")
	release()
	if _, err := c.in.ReadString('\n'); err == nil || err.Error() != "closed its standard output" {
		t.Errorf("got %v", err)
	}
	eventually(t, "the worker is gone", func() bool { return len(s.Snapshot().Servers[0].Workers) == 0 })
}

func TestFloodOfOutput(t *testing.T) {
	s := real(t)
	apply(t, s, childSpec(t, "flood"))
	_, release := acquire(t, s, "flood", "alice")
	release()
	if err := s.Stop(t.Context(), "flood"); err != nil {
		t.Fatal(err)
	}
	logs, _ := s.Logs("flood")
	var text string
	for _, l := range logs.Tail(1000) {
		text += l.Text + "\n"
	}
	if !strings.Contains(text, "lines left out: more than 200 a second") {
		t.Error("the flood is not told of")
	}
	if len(text) > 300<<10 {
		t.Errorf("%d bytes kept", len(text))
	}
}

func TestSecretsAreMasked(t *testing.T) {
	s := real(t)
	const secret = "hunter2/+secret"
	c := DefaultConfig()
	c.Command, c.Args = testBinary(t), []string{"child-secret"}
	c.Env = map[string]string{"SECRET": secret}
	sp, err := NewSpec("secret", c, []string{secret})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, sp)
	conn, release := acquire(t, s, "secret", "alice")
	defer release()
	_, err = conn.call("exit with " + secret)
	if err == nil || err.Error() != "exited with code 7: the key is *** / with ***" {
		t.Errorf("got %v", err)
	}
	logs, _ := s.Logs("secret")
	for _, l := range logs.Tail(10) {
		if strings.Contains(l.Text, "hunter2") {
			t.Errorf("log has %q", l.Text)
		}
	}
	if text := sp.String() + sp.Fingerprint(); strings.Contains(text, secret) {
		t.Errorf("spec shows %q", text)
	}
}

// What a program that failed has said is for a person, who may not be shown secrets.
func TestRunMasksWhatFailed(t *testing.T) {
	t.Parallel()
	s := real(t)
	run := func(end string) ([]byte, error) {
		sh := spec(t, "x", func(c *Config) {
			c.Command, c.Args = "sh", []string{"-c", "echo out hunter2; echo err hunter2 >&2; exit " + end}
		})
		sh.Secrets = []string{"hunter2"}
		return s.Run(t.Context(), sh)
	}
	if out, err := run("1"); err == nil || string(out) != "out ***\n" || err.Error() != "exited with code 1: err ***" {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := run("0"); err != nil || string(out) != "out hunter2\n" { // that is data
		t.Errorf("%q, %v", out, err)
	}
}

func TestSpawn(t *testing.T) {
	s := real(t)
	rwc, err := s.Spawn(t.Context(), childSpec(t, "deaf"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := openLines(t.Context(), rwc)
	if err != nil {
		t.Fatal(err)
	}
	child, grand := say(t, c, "fork")
	if err := rwc.Close(); err != nil {
		t.Error(err)
	}
	for _, pid := range []int{child, number(t, grand)} {
		eventually(t, "end of the child", func() bool { return !runs(pid) })
	}
	if err := rwc.Close(); err != nil {
		t.Error(err)
	}
	// One that is forgotten ends with its context, and with the supervisor.
	ctx, cancel := context.WithCancel(t.Context())
	rwc, err = s.Spawn(ctx, childSpec(t, "deaf"))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := rwc.Read(make([]byte, 1)); err == nil || err.Error() != "killed by signal 9 (killed)" {
		t.Errorf("got %v", err)
	}
	if _, err := s.Spawn(t.Context(), childSpec(t, "deaf")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Spawn(t.Context(), spec(t, "x", func(c *Config) { c.Command = "no-such-program" })); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// The supervisor is killed with SIGKILL: after a second nothing of its workers is left, although
// they and what they started ignore the end of their input and SIGTERM.
func TestKillOfTheSupervisorLeavesNothing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what has left its group can be found on Linux only")
	}
	dance := strconv.FormatInt(time.Now().Add(time.Minute).UnixNano(), 10) // nobody else's
	daemon := exec.Command(testBinary(t), "child-daemon", dance)
	daemon.Stderr = os.Stderr
	out, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	family := make(map[int]bool)
	guardian := 0
	for in := bufio.NewScanner(out); guardian == 0 && in.Scan(); {
		if pid, ok := strings.CutPrefix(in.Text(), "guardian "); ok {
			guardian = number(t, pid)
			break
		}
		for _, f := range strings.Fields(in.Text()) {
			family[number(t, f)] = true
		}
	}
	if len(family) != 8 { // two workers, three that they started each
		t.Fatalf("daemon told of %v", family)
	}
	for pid := range family {
		if !runs(pid) {
			t.Errorf("%d does not run", pid)
		}
	}
	eventually(t, "the dance", func() bool { return dancers(dance) > 0 })
	killed := time.Now()
	if err := daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for pid := range family {
		eventually(t, "end of "+strconv.Itoa(pid), func() bool { return !runs(pid) })
	}
	t.Logf("it took %v", time.Since(killed))
	_ = daemon.Wait() // killed
	eventually(t, "the end of the guardian", func() bool { return !runs(guardian) })
	if n := dancers(dance); n > 0 {
		t.Errorf("%d dance on", n)
	}
}

// What has left its group and emptied its environment ends with the supervisor.
func TestCloseLeavesNothingUnmarked(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what has left its group can be found on Linux only")
	}
	s := New[*lineConn](Options{Logger: zaptest.NewLogger(t)})
	apply(t, s, childSpec(t, "echo"))
	c, release := acquire(t, s, "echo", "alice")
	_, escaped := say(t, c, "escape")
	release()
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if runs(number(t, escaped)) {
		t.Error("it lives on")
	}
}

// Starting and stopping leaves no goroutine, no file and no zombie behind.
func TestNothingIsLeftBehind(t *testing.T) {
	round := func() {
		s := New[*lineConn](Options{Guardian: guardianCommand(t)})
		apply(t, s, childSpec(t, "echo"), childSpec(t, "crash"))
		for _, key := range []string{"alice", "bob", "carol"} {
			_, release := acquire(t, s, "echo", key)
			release()
		}
		p, _ := s.Pool("crash")
		if _, _, err := p.Acquire(t.Context(), "alice"); err == nil {
			t.Error("a crash is no error")
		}
		if _, err := s.Spawn(t.Context(), childSpec(t, "echo")); err != nil {
			t.Error(err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	round() // what the runtime starts once, for signals, stays
	// Zombies of other tests are there: what a killed daemon leaves comes to this process.
	goroutines, files, dead := runtime.NumGoroutine(), openFiles(), zombies()
	for range 5 {
		round()
	}
	eventually(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= goroutines })
	eventually(t, "as many files as before", func() bool { return openFiles() <= files })
	eventually(t, "as many zombies as before", func() bool { return zombies() <= dead })
}

// openFiles counts those of this process; 0 where that cannot be seen.
func openFiles() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list)
}
