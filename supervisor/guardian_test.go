package supervisor

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
)

func TestGuardianNotes(t *testing.T) {
	w := watched{groups: make(map[int]struct{})}
	for _, line := range []string{"=mark", "+12", "+13", "-12", "+0", "+1", "+-1", "-", "", "+", "x14", "+99999999999", "+ 15"} {
		w.note(line)
	}
	if w.mark != "mark" || len(w.groups) != 1 {
		t.Errorf("%+v", w)
	}
	if _, ok := w.groups[13]; !ok {
		t.Errorf("%+v", w)
	}
}

// Whatever the pipe says, the guardian never takes on a number that would reach itself or everybody.
func FuzzGuardianNote(f *testing.F) {
	f.Add("+12\n-12\n=m\n+1")
	f.Fuzz(func(t *testing.T, in string) {
		w := watched{groups: make(map[int]struct{})}
		for line := range strings.Lines(in) {
			w.note(strings.TrimSuffix(line, "\n"))
		}
		for group := range w.groups {
			if group <= 1 {
				t.Errorf("group %d", group)
			}
		}
	})
}

// However close and the goroutine that keeps the guardian take turns, it is told that this is a good end, and only then may its
// pipe be closed: one that is not told kills us, too.
func TestGuardianIsToldOfAGoodEnd(t *testing.T) {
	told := filepath.Join(t.TempDir(), "told")
	h := newHost(Options{Logger: zaptest.NewLogger(t), Guardian: []string{"/bin/sh", "-c", "/bin/cat >" + told}})
	h.guardian.mu.Lock()
	closed := make(chan struct{})
	go func() { // ends with close
		h.close()
		close(closed)
	}()
	select {
	case <-h.guardian.stop:
		t.Error("whoever keeps the guardian may close its pipe before it is told")
	case <-time.After(200 * time.Millisecond):
	}
	h.guardian.mu.Unlock()
	<-closed
	if text, err := os.ReadFile(told); err != nil || !strings.HasSuffix(string(text), "\n.\n") {
		t.Errorf("it was told %q (%v)", text, err)
	}
}

// A real guardian kills what it was told of, ignores SIGTERM, and leaves alone what was taken back.
func TestGuardianKills(t *testing.T) {
	start := func() *exec.Cmd {
		cmd := exec.Command("/bin/sleep", "60")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd
	}
	doomed, spared := start(), start()

	h := newHost(Options{Logger: zaptest.NewLogger(t), Guardian: guardianCommand(t)})
	h.guardian.watch(doomed.Process.Pid)
	h.guardian.watch(spared.Process.Pid)
	h.guardian.unwatch(spared.Process.Pid)
	h.close() // as the end of this process would, it ends the pipe
	eventually(t, "the end of the group", func() bool { return !runs(doomed.Process.Pid) })
	if !runs(spared.Process.Pid) {
		t.Error("the other was killed too")
	}
}

// A guardian that is killed is replaced by one that knows the same.
func TestGuardianIsReplaced(t *testing.T) {
	s := New[*lineConn](Options{Guardian: guardianCommand(t), Logger: zaptest.NewLogger(t)})
	h := s.o.system.(*host)
	apply(t, s, childSpec(t, "echo"))
	_, release := acquire(t, s, "echo", "alice")
	release()
	first := h.guardian.processID()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another guardian", func() bool {
		pid := h.guardian.processID()
		return pid != 0 && pid != first
	})
	h.guardian.mu.Lock()
	n := len(h.guardian.groups)
	h.guardian.mu.Unlock()
	if n != 1 {
		t.Errorf("%d groups", n)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if runs(h.guardian.processID()) {
		t.Error("the guardian lives on")
	}
}

// The daemon's own end by SIGTERM does not concern the guardian; the end of its pipe does.
func TestGuardianIgnoresSIGTERM(t *testing.T) {
	cmd := exec.Command(testBinary(t), "child-guardian")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	victim := exec.Command("/bin/sh", "-c", "trap '' TERM; echo on; sleep 60")
	victim.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*exec.Cmd{cmd, victim} {
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(in, "+%d\n", victim.Process.Pid); err != nil {
		t.Fatal(err)
	}
	eventually(t, "signals ignored", func() bool { return ignores(cmd.Process.Pid, syscall.SIGTERM) })
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the guardian: %v", err)
	}
	_ = victim.Wait()
	if ws := victim.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != syscall.SIGKILL {
		t.Errorf("the victim: %v", victim.ProcessState)
	}
}

// processID is that of the guardian that was started last.
func (g *guardian) processID() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.process == nil {
		return 0
	}
	return g.process.Pid
}

// guardianCommand makes this binary the guardian. Its environment is empty, and under the race
// detector a program takes a second to end unless told otherwise.
func guardianCommand(t *testing.T) []string {
	t.Helper()
	return []string{"/usr/bin/env", "GORACE=atexit_sleep_ms=0", testBinary(t), "child-guardian"}
}
