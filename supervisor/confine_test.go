package supervisor

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// confined are workers that are held to something; they and what holds them are there on Linux only.
func confined(t *testing.T, change func(*Config)) *Supervisor[*lineConn] {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("nothing is confined outside Linux")
	}
	s := real(t)
	apply(t, s, childSpec(t, "echo", change), childSpec(t, "neighbour", func(c *Config) { c.Args = []string{"child-echo"} }))
	return s
}

func TestOverItsMemoryAWorkerDiesAlone(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector wants more memory for itself than the limit is")
	}
	s := confined(t, func(c *Config) { c.Limits.Memory = 256 << 20 })
	c, release := acquire(t, s, "echo", "alice")
	defer release()
	other, done := acquire(t, s, "neighbour", "alice")
	defer done()
	pid, answer := say(t, c, "hog 20")
	if answer != "ok" {
		t.Fatalf("within its limit: %s", answer)
	}
	_, err := c.call("hog 400")
	if err == nil || !strings.HasPrefix(err.Error(), "out of memory at 256MiB") {
		t.Errorf("got %v", err)
	}
	if runs(pid) {
		t.Error("it still runs")
	}
	say(t, other, "hello")
	eventually(t, "the reason is in the status", func() bool {
		return strings.Contains(s.Snapshot().Servers[0].Reason, "out of memory at 256MiB")
	})
}

// Many small processes: what no limit for a single process can see.
func TestOverItsNumberOfProcesses(t *testing.T) {
	s := confined(t, func(c *Config) { c.Limits.Pids = 40 })
	c, release := acquire(t, s, "echo", "alice")
	defer release()
	other, done := acquire(t, s, "neighbour", "alice")
	defer done()
	answer, err := c.call("spawn 60")
	held := strings.Contains(answer, "resource temporarily unavailable") || err != nil && strings.Contains(err.Error(), "pthread_create") // by a cgroup
	for err == nil && !held {
		_, err = c.call("hello") // or within a second
	}
	if !held && !strings.HasPrefix(err.Error(), "more than 40 processes and threads") {
		t.Errorf("got %q, %v", answer, err)
	}
	say(t, other, "hello")
}

func TestSandbox(t *testing.T) {
	for by, means := range map[string]string{byLandlock: "Landlock", byBubblewrap: "bwrap"} {
		t.Run(by, func(t *testing.T) { sandbox(t, by, means) })
	}
}

func sandbox(t *testing.T, by, means string) {
	files := t.TempDir()
	readable, writable, secret := filepath.Join(files, "readable"), filepath.Join(files, "writable"), filepath.Join(files, "secret")
	for _, dir := range []string{readable, writable, secret} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := confined(t, func(c *Config) {
		c.Sandbox.Read, c.Sandbox.Write, c.Sandbox.By = []string{readable}, []string{writable}, by
	})
	if st := statusOf(t, s, "echo"); !slices.Contains(st.InForce, "files ("+means+")") {
		lacking(t, by, st.Missing)
	}
	c, release := acquire(t, s, "echo", "alice")
	defer release()
	other, done := acquire(t, s, "neighbour", "alice")
	defer done()
	victim, _ := say(t, other, "hello")
	_, tmp := say(t, c, "env TMPDIR")
	for _, try := range []struct {
		what string
		ok   bool
	}{
		{"read " + readable + "/file", true}, {"write " + readable + "/file", false}, {"write " + readable + "/new", false},
		{"read " + writable + "/file", true}, {"write " + writable + "/file", true}, {"write " + writable + "/new", true},
		{"read " + secret + "/file", false}, {"write " + secret + "/file", false}, {"read " + readable + "/../secret/file", false},
		{"write " + tmp + "/new", true}, {"read /etc/passwd", true}, {"write /etc/mcpd-test", false},
		{"write " + os.TempDir() + "/mcpd-test", by == byBubblewrap && os.TempDir() == "/tmp"}, // which is its own
		{"read /proc/self/environ", true}, {"read /proc/" + strconv.Itoa(victim) + "/environ", false}, {"read /proc/" + strconv.Itoa(os.Getpid()) + "/environ", false},
		{"write /dev/null", true},
	} {
		if _, answer := say(t, c, try.what); (answer == "ok") != try.ok {
			t.Errorf("%s: %s", try.what, answer)
		}
	}
	if _, err := os.Stat("/tmp/mcpd-test"); err == nil {
		t.Error("it wrote to the /tmp of all")
	}
	if _, answer := say(t, other, "read "+secret+"/file"); answer != "ok" {
		t.Errorf("the neighbour is confined too: %s", answer)
	}
	release()
	if err := s.Stop(t.Context(), "echo"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the temporary directory is gone", func() bool {
		left, err := filepath.Glob(filepath.Join(s.o.Scratch, "*"))
		return len(left) == 0 && err == nil
	})
}

// lacking skips a test of what this machine lacks; with MCPD_TEST_REQUIRE=all, or bwrap named in it, the tests of bwrap fail instead.
func lacking(t *testing.T, by string, missing []string) {
	t.Helper()
	words := strings.FieldsFunc(os.Getenv("MCPD_TEST_REQUIRE"), func(r rune) bool { return r == ',' || r == ' ' })
	if by == byBubblewrap && (slices.Contains(words, "all") || slices.Contains(words, "bwrap")) {
		t.Fatalf("bwrap is required by MCPD_TEST_REQUIRE: apt-get install bubblewrap: %v", missing)
	}
	t.Skip(missing)
}

// Whatever a worker in bwrap does or ignores, and whatever it started, ends with it.
func TestBubblewrapLeavesNothing(t *testing.T) {
	s := confined(t, func(c *Config) {
		c.Args, c.Sandbox.By, c.Sandbox.Network, c.Limits.Memory = []string{"child-deaf"}, byBubblewrap, false, 1<<30
	})
	st := statusOf(t, s, "echo")
	if !slices.Contains(st.InForce, "no network (bwrap)") {
		lacking(t, byBubblewrap, st.Missing)
	}
	_, release := acquire(t, s, "echo", "bob")
	release()
	c, release := acquire(t, s, "echo", "alice")
	for _, what := range []string{"fork", "fork setsid", "escape"} {
		say(t, c, what)
	}
	if _, answer := say(t, c, "dial 127.0.0.1:1"); answer == "ok" {
		t.Error("the worker has a network")
	}
	release()
	inside := family(s, "echo")
	if len(inside) < 2*3+3 { // bwrap, its child and the worker, each twice, and what one started
		t.Fatalf("only %v are in there", inside)
	}
	if err := s.Stop(t.Context(), "echo"); err != nil {
		t.Fatal(err)
	}
	for _, pid := range inside {
		eventually(t, "end of "+strconv.Itoa(pid), func() bool { return !runs(pid) })
	}
}

// A sandbox that cannot be had starts nothing.
func TestNoBubblewrapNoWorker(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	s := confined(t, func(c *Config) { c.Sandbox.By = byBubblewrap })
	p, _ := s.Pool("echo")
	if _, _, err := p.Acquire(t.Context(), "alice"); err == nil || !strings.Contains(err.Error(), "cannot be confined: bwrap is not installed") {
		t.Errorf("got %v", err)
	}
	if st := statusOf(t, s, "echo"); !slices.ContainsFunc(st.Missing, func(m string) bool { return strings.Contains(m, "nothing starts: bwrap is not installed") }) {
		t.Errorf("missing: %q", st.Missing)
	}
}

// Signals do not leave a sandbox where Landlock can hold them in.
func TestSandboxHoldsSignals(t *testing.T) {
	s := confined(t, func(c *Config) { c.Sandbox.Read = []string{"/"} })
	if !slices.Contains(statusOf(t, s, "echo").InForce, "signals (Landlock)") {
		t.Skip("Landlock of this kernel does not know signals, which came with Linux 6.12")
	}
	c, release := acquire(t, s, "echo", "alice")
	defer release()
	other, done := acquire(t, s, "neighbour", "alice")
	defer done()
	victim, _ := say(t, other, "hello")
	if _, answer := say(t, c, "kill "+strconv.Itoa(victim)); answer != "operation not permitted" {
		t.Errorf("killing a neighbour: %s", answer)
	}
	say(t, other, "hello")
}

func TestNoNetwork(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := confined(t, func(c *Config) { c.Sandbox.Network = false })
	st := statusOf(t, s, "echo")
	if len(st.InForce) == 0 || !slices.ContainsFunc(st.InForce, func(what string) bool {
		return strings.HasPrefix(what, "no network") || strings.HasPrefix(what, "no TCP")
	}) {
		t.Skipf("this kernel can take no network away: %v", st.Missing)
	}
	c, release := acquire(t, s, "echo", "alice")
	defer release()
	other, done := acquire(t, s, "neighbour", "alice")
	defer done()
	if _, answer := say(t, c, "dial "+l.Addr().String()); answer == "ok" {
		t.Error("the worker has a network")
	}
	if _, answer := say(t, other, "dial "+l.Addr().String()); answer != "ok" {
		t.Errorf("the neighbour has none: %s", answer)
	}
}

func TestAPathThatIsNotThere(t *testing.T) {
	s := confined(t, func(c *Config) { c.Sandbox.Read = []string{"/no/such/path"} })
	p, _ := s.Pool("echo")
	if _, _, err := p.Acquire(t.Context(), "alice"); err == nil || !strings.Contains(err.Error(), "sandbox.read: stat /no/such/path: no such file or directory") {
		t.Errorf("got %v", err)
	}
}

// In a cgroup of its own a worker leaves nothing behind, also what has a session of its own and has
// forgotten where it came from; nothing but the cgroup knows of that.
func TestCgroupHoldsEverything(t *testing.T) {
	s := confined(t, func(c *Config) { c.Limits.CPU, c.Limits.Memory, c.Limits.Pids = 0.5, 512<<20, 64 })
	st := statusOf(t, s, "echo")
	if !slices.Contains(st.InForce, "cpu 0.5 (cgroup)") {
		if os.Getenv("MCPD_TEST_CGROUP") != "" {
			t.Fatalf("no cgroup: %v, %v", st.Missing, s.o.system.(*host).machine.Why())
		}
		t.Skip("no cgroup v2 is delegated to this process; just vm has one")
	}
	c, release := acquire(t, s, "echo", "alice")
	_, escaped := say(t, c, "escape")
	release()
	if err := s.Stop(t.Context(), "echo"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the one that escaped", func() bool { return !runs(number(t, escaped)) })
	groups := "/sys/fs/cgroup/worker-*"
	eventually(t, "its cgroup is removed", func() bool { left, _ := filepath.Glob(groups); return len(left) == 0 })
}

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]Bytes{"0": 0, "1": 1, "4096": 4096, "512MiB": 512 << 20, "1GiB": 1 << 30, "2 GB": 2e9, "10kB": 10000, "7B": 7} {
		if got, err := ParseBytes(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5GiB", "12XB", "9999999999999GiB", "1e3", "0x10"} {
		if got, err := ParseBytes(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}

func statusOf(t *testing.T, s *Supervisor[*lineConn], name string) ServerStatus {
	t.Helper()
	for _, st := range s.Snapshot().Servers {
		if st.Name == name {
			return st
		}
	}
	t.Fatalf("no server %q", name)
	return ServerStatus{}
}
