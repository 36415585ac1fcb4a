package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the daemon scripts. Beyond testscript's own commands:
//
//	exec mcpd run &mcpd&                    the daemon; its port is free choice, its directories are below $WORK
//	up [USER]                               wait until it answers, and add a user whose password is $PASSWORD
//	waitfor SERVER STATE [REGEXP]           wait until a server is in a state, its reason matching
//	waitfor SERVER workers|busy N           wait until a server has that many workers, or busy ones
//	waitfor SERVER check REGEXP             wait until a server was checked, its error matching
//	url VAR SERVER                          set a variable to a server's address
//	pids VAR SERVER                         set a variable to the pids of a server's workers
//	[!] running PID…                        the processes run; with !, they are gone within 1 s
//	processes N WORD                        within 1 s, N processes of the machine have that argument
//	signal SIGNAL mcpd|PID…                 send a signal to the daemon or to processes
//	request METHOD URL [NAME:VALUE…] [BODY] print status line, headers and body to stdout
//	await STATUS METHOD URL …               request until the answer has that status, for at most 10 s
//	capture VAR [REGEXP]                    set a variable to stdout, or to the first group of a match in it
//	clock start | clock below DURATION      measure
//
// $INIT is the body of an initialize request, $BIN the folder of mcpd, $UNIQUE a word that is this script's alone.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "../../testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			// Short, for the admin socket's address.
			runtime, err := os.MkdirTemp("", "mcpd")
			if err != nil {
				return err
			}
			env.Defer(func() { os.RemoveAll(runtime) })
			env.Vars = append(env.Vars, "XDG_CONFIG_HOME="+filepath.Join(env.WorkDir, "config"), "XDG_STATE_HOME="+filepath.Join(env.WorkDir, "state"),
				"XDG_RUNTIME_DIR="+runtime, "HOME="+env.WorkDir, "MCPD_LISTEN__HTTP=127.0.0.1:0", "PASSWORD="+testPassword,
				"INIT="+`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"script","version":"1"}}}`, "BIN="+strings.Split(os.Getenv("PATH"), string(os.PathListSeparator))[0], "UNIQUE=u"+strconv.FormatInt(time.Now().UnixNano(), 36))
			env.Vars = append(env.Vars, quickEnds()...)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"up": scriptUp, "waitfor": scriptWaitFor, "url": scriptURL, "pids": scriptPIDs, "running": scriptRunning,
			"processes": scriptProcesses, "signal": scriptSignal, "request": scriptRequest, "await": scriptAwait, "capture": scriptCapture, "clock": scriptClock, "private": scriptPrivate,
		},
	})
}

// arity ends a script whose command has the wrong number of arguments, or a ! that means nothing.
func arity(ts *testscript.TestScript, neg bool, args []string, low, high int) {
	if neg {
		ts.Fatalf("! means nothing here")
	}
	if len(args) < low || len(args) > high {
		ts.Fatalf("want %d to %d arguments, got %q", low, high, args)
	}
}

// scriptStatus asks the script's daemon without leaving a trace in the script's output.
func scriptStatus(ts *testscript.TestScript) (st Status, err error) {
	var environ []string
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"} {
		environ = append(environ, name+"="+ts.Getenv(name))
	}
	admin, err := (&cli{env: environment(environ)}).admin()
	if err != nil {
		return st, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err = admin.get(ctx, "/v1/status", &st)
	return st, err
}

func scriptServer(ts *testscript.TestScript, name string) (ServerStatus, error) {
	st, err := scriptStatus(ts)
	if err != nil {
		return ServerStatus{}, err
	}
	for _, s := range st.Servers {
		if s.Name == name {
			return s, nil
		}
	}
	return ServerStatus{}, fmt.Errorf("no server %q in %+v", name, st.Servers)
}

func scriptUp(ts *testscript.TestScript, neg bool, args []string) {
	arity(ts, neg, args, 0, 1)
	ts.Check(until(20*time.Second, "mcpd answers", func() (bool, string) {
		st, err := scriptStatus(ts)
		return err == nil && st.Listen.addrs() != "", fmt.Sprint(err)
	}))
	if len(args) == 1 {
		ts.Check(os.WriteFile(ts.MkAbs(".password"), []byte(ts.Getenv("PASSWORD")+"\n"), 0o600))
		ts.Check(ts.Exec("sh", "-c", "mcpd user add "+args[0]+" --password-stdin <"+ts.MkAbs(".password")))
	}
}

func scriptWaitFor(ts *testscript.TestScript, neg bool, args []string) {
	arity(ts, neg, args, 2, 3)
	what := regexp.MustCompile("")
	if len(args) == 3 {
		what = regexp.MustCompile(args[2])
	}
	ts.Check(until(30*time.Second, strings.Join(args, " "), func() (bool, string) {
		s, err := scriptServer(ts, args[0])
		now := fmt.Sprintf("%v, %d workers, %s: %s", err, len(s.Workers), s.State, s.Reason)
		switch args[1] {
		case "workers":
			return err == nil && fmt.Sprint(len(s.Workers)) == args[2], now
		case "check":
			return err == nil && s.Check != nil && what.MatchString(s.Check.Error), now
		case "busy":
			return err == nil && fmt.Sprint(s.Busy) == args[2], now
		}
		return err == nil && s.State == args[1] && what.MatchString(s.Reason), now
	}))
}

func scriptURL(ts *testscript.TestScript, neg bool, args []string) {
	arity(ts, neg, args, 2, 2)
	s, err := scriptServer(ts, args[1])
	ts.Check(err)
	ts.Setenv(args[0], s.URL)
}

func scriptPIDs(ts *testscript.TestScript, neg bool, args []string) {
	arity(ts, neg, args, 2, 2)
	s, err := scriptServer(ts, args[1])
	ts.Check(err)
	var pids []string
	for _, w := range s.Workers {
		if w.PID > 0 { // else it has no process yet
			pids = append(pids, fmt.Sprint(w.PID))
		}
	}
	if len(pids) == 0 {
		ts.Fatalf("%s has no worker: %s %s", args[1], s.State, s.Reason)
	}
	ts.Setenv(args[0], strings.Join(pids, " "))
}

// numbers reads pids; one argument may hold several, as a variable of pids does.
func numbers(ts *testscript.TestScript, args []string) (pids []int) {
	for _, word := range strings.Fields(strings.Join(args, " ")) {
		n, err := strconv.Atoi(word)
		if err != nil || n < 2 {
			ts.Fatalf("%q is not a pid", word)
		}
		pids = append(pids, n)
	}
	if len(pids) == 0 {
		ts.Fatalf("no pids")
	}
	return pids
}

func scriptRunning(ts *testscript.TestScript, neg bool, args []string) {
	pids := numbers(ts, args)
	if !neg {
		for _, p := range pids {
			if !alive(p) {
				ts.Fatalf("process %d is gone", p)
			}
		}
		return
	}
	ts.Check(until(time.Second, "the processes are gone", func() (bool, string) {
		left := slices.DeleteFunc(slices.Clone(pids), func(p int) bool { return !alive(p) })
		return len(left) == 0, fmt.Sprintf("%v run", left)
	}))
}

func scriptProcesses(ts *testscript.TestScript, neg bool, args []string) {
	arity(ts, neg, args, 2, 2)
	ts.Check(until(time.Second, args[0]+" processes have the argument "+args[1], func() (bool, string) {
		pids := everywhere(args[1])
		return fmt.Sprint(len(pids)) == args[0], fmt.Sprint(pids)
	}))
}

var signals = map[string]syscall.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT}

func scriptSignal(ts *testscript.TestScript, neg bool, args []string) {
	arity(ts, neg, args, 2, 99)
	sig, ok := signals[args[0]]
	if !ok {
		ts.Fatalf("unknown signal %q", args[0])
	}
	if args[1] != "mcpd" {
		for _, p := range numbers(ts, args[1:]) {
			ts.Check(syscall.Kill(p, sig))
		}
		return
	}
	for _, cmd := range slices.Backward(ts.BackgroundCmds()) {
		if len(cmd.Args) > 1 && cmd.Args[1] == "run" && alive(cmd.Process.Pid) {
			ts.Check(cmd.Process.Signal(sig))
			return
		}
	}
	ts.Fatalf("mcpd does not run")
}

func scriptRequest(ts *testscript.TestScript, neg bool, args []string) {
	arity(ts, neg, args, 2, 99)
	_, text, err := scriptHTTP(args)
	ts.Check(err)
	fmt.Fprint(ts.Stdout(), text)
}

func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	arity(ts, neg, args, 3, 99)
	var last string
	ts.Check(until(10*time.Second, "status "+args[0], func() (bool, string) {
		status, text, err := scriptHTTP(args[1:])
		last = text
		return err == nil && fmt.Sprint(status) == args[0], fmt.Sprintf("%d %v", status, err)
	}))
	fmt.Fprint(ts.Stdout(), last)
}

// scriptHTTP makes one request and renders the whole response.
func scriptHTTP(args []string) (status int, text string, err error) {
	var body string
	header := http.Header{}
	for _, a := range args[2:] {
		name, value, ok := strings.Cut(a, ":")
		if !ok || strings.HasPrefix(a, "{") {
			body = a
			continue
		}
		header.Set(name, strings.TrimSpace(value))
	}
	req, err := http.NewRequest(args[0], args[1], strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header = header
	if h := header.Get("Host"); h != "" {
		req.Host = h
	}
	client := &http.Client{Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, "", err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP %d\n", resp.StatusCode)
	err = resp.Header.Write(&b)
	return resp.StatusCode, fmt.Sprintf("%s\n%s\n", strings.ReplaceAll(b.String(), "\r\n", "\n"), content), err
}

func scriptCapture(ts *testscript.TestScript, neg bool, args []string) {
	arity(ts, neg, args, 1, 2)
	out := strings.TrimSpace(ts.ReadFile("stdout"))
	if len(args) == 2 {
		m := regexp.MustCompile(args[1]).FindStringSubmatch(out)
		if len(m) < 2 {
			ts.Fatalf("no group of %q in %q", args[1], out)
		}
		out = m[1]
	}
	ts.Setenv(args[0], out)
}

func scriptClock(ts *testscript.TestScript, neg bool, args []string) {
	arity(ts, neg, args, 1, 2)
	if args[0] == "start" {
		ts.Setenv("CLOCK", strconv.FormatInt(time.Now().UnixNano(), 10))
		return
	}
	limit, err := time.ParseDuration(args[1])
	ts.Check(err)
	begin, err := strconv.ParseInt(ts.Getenv("CLOCK"), 10, 64)
	ts.Check(err)
	if took := time.Since(time.Unix(0, begin)); took > limit {
		ts.Fatalf("took %s, at most %s", took.Round(time.Millisecond), limit)
	}
}

// scriptPrivate: private DIR. Nobody but its owner can enter the folder, or read or write a file below it.
func scriptPrivate(ts *testscript.TestScript, neg bool, args []string) {
	arity(ts, neg, args, 1, 1)
	dir := ts.MkAbs(args[0])
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist): // renamed meanwhile: the daemon writes aside
			return nil
		case err == nil && (path == dir || e.Type().IsRegular()) && info.Mode().Perm()&0o077 != 0:
			return fmt.Errorf("%s has mode %v", path, info.Mode().Perm())
		}
		return err
	})
	ts.Check(err)
}
