package supervisor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mcpd/mcpd/supervisor/confine"
)

// TestMain lets the test binary stand in for every child: its first argument says which.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || !strings.HasPrefix(os.Args[1], "child-") {
		os.Exit(m.Run())
	}
	var err error
	switch os.Args[1] {
	case "child-guardian":
		err = RunGuardian(os.Stdin)
	case "child-daemon":
		err = childDaemon()
	case "child-dance":
		err = childDance(os.Args[2])
	case "child-confine":
		err = confine.Run(os.Args[2:])
	default:
		err = childMain(strings.TrimPrefix(os.Args[1], "child-"), os.Args[2:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// childMain answers every line on standard input with its process id and the line.
func childMain(kind string, args []string) error {
	deaf := strings.HasPrefix(kind, "deaf")
	if deaf {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	}
	switch kind {
	case "crash":
		fmt.Fprintln(os.Stderr, "one")
		fmt.Fprintln(os.Stderr, strings.Join(args, " "))
		os.Exit(3)
	case "mute":
		_, _ = io.Copy(io.Discard, os.Stdin)
		return nil
	case "flood":
		for i := range 20000 {
			fmt.Fprintln(os.Stderr, "line", i)
		}
		fmt.Fprintln(os.Stderr, strings.Repeat("x", 100000))
		fmt.Fprintf(os.Stderr, "bad \xff\x1b[31mred\x1b[0m\n")
	case "secret":
		fmt.Fprintln(os.Stderr, "the key is "+os.Getenv("SECRET"))
	case "close":
		fmt.Println("0 hello")
		_ = os.Stdout.Close()
		for {
			time.Sleep(time.Hour)
		}
	}
	var tries attempts
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		word, rest, _ := strings.Cut(in.Text(), " ")
		switch word {
		case "exit":
			fmt.Fprintln(os.Stderr, rest)
			os.Exit(7)
		case "env":
			rest = os.Getenv(rest)
		case "fork": // a deaf grandchild, in our group or in a session of its own
			cmd := exec.Command(os.Args[0], "child-deaf")
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: rest == "setsid"}
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr // holds our pipes
			if err := cmd.Start(); err != nil {
				return err
			}
			rest = fmt.Sprint(cmd.Process.Pid)
		case "escape": // a session of its own, without the mark of its worker
			cmd := exec.Command("/bin/sleep", "60")
			cmd.SysProcAttr, cmd.Env = &syscall.SysProcAttr{Setsid: true}, []string{}
			if err := cmd.Start(); err != nil {
				return err
			}
			rest = fmt.Sprint(cmd.Process.Pid)
		case "orphan": // a zombie for whoever adopts it: fork, in a session of its own, and leave
			cmd := exec.Command("/bin/sh", "-c", "sleep 0.1 & echo $!")
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: rest == "setsid"}
			out, err := cmd.Output()
			if err != nil {
				return err
			}
			rest = strings.TrimSpace(string(out))
		default:
			rest = tries.act(word, rest)
		}
		fmt.Println(os.Getpid(), rest)
	}
	for deaf {
		time.Sleep(time.Hour)
	}
	return in.Err()
}

// attempts are at what a limit or a sandbox may forbid.
type attempts struct{ hoard [][]byte }

// act tells how one went.
func (a *attempts) act(word, arg string) string {
	var err error
	switch word {
	case "hog": // so many MiB, little by little, and keep them
		for range childNumber(arg) {
			page := make([]byte, 1<<20)
			for i := range page {
				page[i] = 1
			}
			a.hoard = append(a.hoard, page)
		}
	case "spawn": // so many processes
		for range childNumber(arg) {
			if err = exec.Command("/bin/sleep", "60").Start(); err != nil {
				break
			}
		}
	case "read":
		_, err = os.ReadFile(arg)
	case "write":
		err = os.WriteFile(arg, []byte("x"), 0o600)
	case "dial":
		var c net.Conn
		if c, err = net.DialTimeout("tcp", arg, time.Second); err == nil {
			err = c.Close()
		}
	case "kill":
		err = syscall.Kill(childNumber(arg), syscall.SIGKILL)
	default:
		return arg
	}
	if err != nil {
		return err.Error()
	}
	return "ok"
}

func childNumber(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return -1
	}
	return n
}

// childDaemon is a supervisor with deaf children that have deaf grandchildren, to be killed.
func childDaemon() error {
	s := New[*lineConn](Options{Guardian: []string{os.Args[0], "child-guardian"}})
	c := DefaultConfig()
	c.Command, c.Args = os.Args[0], []string{"child-deaf"}
	sp, err := NewSpec("deaf", c, nil)
	if err != nil {
		return err
	}
	if _, err := s.Apply(context.Background(), []Entry[*lineConn]{{Spec: sp, Open: openLines}}); err != nil {
		return err
	}
	p, _ := s.Pool("deaf")
	for _, key := range []string{"alice", "bob"} {
		conn, _, err := p.Acquire(context.Background(), key)
		if err != nil {
			return err
		}
		for _, say := range []string{"hello", "fork", "fork setsid", "escape"} {
			answer, err := conn.call(say)
			if err != nil {
				return err
			}
			fmt.Println(strings.Replace(answer, "hello", "", 1))
		}
	}
	if err := childDance(os.Args[2]); err != nil {
		return err
	}
	fmt.Println("guardian", s.o.system.(*host).guardian.processID())
	for {
		time.Sleep(time.Hour)
	}
}

// childDance starts itself anew, in a session of its own and with an empty environment, and ends: a process that is
// another one whenever somebody looks. It does so until that time, in nanoseconds.
func childDance(until string) error {
	if time.Now().UnixNano() >= int64(childNumber(until)) {
		return nil
	}
	next := exec.Command(os.Args[0], "child-dance", until)
	next.SysProcAttr, next.Env = &syscall.SysProcAttr{Setsid: true}, []string{"GORACE=atexit_sleep_ms=0"}
	return next.Start()
}

// lineConn speaks with a child: one line for one line.
type lineConn struct {
	rwc io.ReadWriteCloser
	in  *bufio.Reader
}

func openLines(ctx context.Context, rwc io.ReadWriteCloser) (*lineConn, error) {
	c := &lineConn{rwc: rwc, in: bufio.NewReader(rwc)}
	_, err := c.call("hello")
	return c, err
}

// call returns what comes after the process id of the child, with it.
func (c *lineConn) call(line string) (string, error) {
	if _, err := io.WriteString(c.rwc, line+"\n"); err != nil {
		return "", err
	}
	answer, err := c.in.ReadString('\n')
	return strings.TrimSpace(answer), err
}

// install puts an executable that does nothing into dir.
func install(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// eventually polls until met, which real processes make necessary; it fails the test after 10 s.
func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	late := time.After(10 * time.Second)
	for !met() {
		select {
		case <-late:
			t.Fatalf("not within 10s: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// runs tells whether a process exists and is not a zombie.
func runs(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}
