package supervisor

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (a) b) S 1 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 1000 5 1 1"))
	f.Add([]byte("12 (x"))
	f.Fuzz(func(t *testing.T, stat []byte) {
		if p, ok := parseStat(12, stat); ok && p.pid != 12 {
			t.Errorf("%+v", p)
		}
	})
}

func TestParseStat(t *testing.T) {
	p, ok := parseStat(12, []byte("12 (a) b) Z 1 13 14 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 1000 5 1 1"))
	if !ok || !p.zombie || p.parent != 1 || p.group != 13 || p.session != 14 || p.start != 777 || p.resident == 0 {
		t.Errorf("%+v", p)
	}
	if !slices.ContainsFunc(processes(), func(p proc) bool { return p.pid == syscall.Getpid() }) {
		t.Error("we are not in the process table")
	}
}

// A worker on trial has the priority of background work for good, one that is started ahead has less until it is wanted.
func TestShares(t *testing.T) {
	h := real(t).o.system.(*host)
	for _, tt := range []struct {
		o                  order
		thread, low, after int
	}{
		{order{}, 0, 0, 0},
		{order{ahead: true}, 0, niceAhead, 0},
		{order{trial: true}, niceTrial, niceTrial, niceTrial},
	} {
		o := tt.o
		o.spec, o.path, o.ring, o.mask = childSpec(t, "echo"), testBinary(t), &ring{lines: 1, bytes: 1}, newMasker(nil)
		c, err := h.start(o)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := unix.Getpriority(unix.PRIO_PROCESS, c.pid())
		if nice := 20 - raw; err != nil || nice != tt.thread {
			t.Errorf("%+v: nice %d, %v, want %d", tt.o, nice, err, tt.thread)
		}
		// The kernel takes that of a session from others than root ten times per second, whoever they are: it may stay as it
		// is, but favour does not give up.
		shared := func(want int) {
			t.Helper()
			group, err := os.ReadFile(fmt.Sprintf("/proc/%d/autogroup", c.pid()))
			if err == nil && (os.Geteuid() == 0 || want == 0) && !strings.HasSuffix(strings.TrimSpace(string(group)), fmt.Sprint(" nice ", want)) {
				t.Errorf("%+v: its session is %s, want %d", tt.o, group, want)
			}
		}
		shared(tt.low)
		if o.ahead {
			c.favour(t.Context())
		}
		shared(tt.after)
		c.closeInput()
		<-c.ended()
	}
}

// ignores tells whether a process ignores a signal: SigIgn of proc_pid_status(5).
func ignores(pid int, sig syscall.Signal) bool {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, after, _ := strings.Cut(string(status), "SigIgn:\t")
	mask, err := strconv.ParseUint(strings.TrimSpace(strings.SplitN(after, "\n", 2)[0]), 16, 64)
	return err == nil && mask>>(uint(sig)-1)&1 == 1
}

// zombies counts the children of this process that nobody has waited for.
func zombies() (n int) {
	for _, p := range processes() {
		if p.zombie && p.parent == os.Getpid() {
			n++
		}
	}
	return n
}

// dancers counts the processes of childDance that were started so.
func dancers(dance string) (n int) {
	for _, pid := range pids() {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.Contains(string(line), "child-dance\x00"+dance) && runs(pid) {
			n++
		}
	}
	return n
}

// family are the processes that descend from the workers of a server.
func family(s *Supervisor[*lineConn], name string) (all []int) {
	for _, w := range s.Snapshot().Servers {
		for _, k := range w.Workers {
			if w.Name == name {
				all = append(all, k.PID)
			}
		}
	}
	for i := 0; i < len(all); i++ {
		for _, p := range processes() {
			if p.parent == all[i] {
				all = append(all, p.pid)
			}
		}
	}
	return all
}
