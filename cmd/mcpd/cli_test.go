package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// call runs one command line in a process environment of its own, without a terminal.
func callCLI(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	home := t.TempDir()
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &errOut, []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")})
	return code, out.String(), errOut.String()
}

func TestCommandLine(t *testing.T) {
	good := filepath.Join(t.TempDir(), "servers.toml")
	if err := os.WriteFile(good, []byte("[servers.a]\ncommand = \"true\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "servers.toml")
	if err := os.WriteFile(bad, []byte("[servers.a]\ncomand = \"true\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args           []string
		code           int
		stdout, stderr string // parts of them
	}{
		{nil, exitFine, "mcpd [command]", ""},
		{[]string{"help"}, exitFine, "People, tokens and keys", ""},
		{[]string{"version"}, exitFine, "platform", ""},
		{[]string{"version", "--json"}, exitFine, `"platform"`, ""},
		{[]string{"completion", "bash"}, exitFine, "bash completion", ""},
		{[]string{"statsu"}, exitUsage, "", `unknown command "statsu"; did you mean status?`},
		{[]string{"user", "ad"}, exitUsage, "", "want add, list"},
		{[]string{"status", "--nope"}, exitUsage, "", "unknown flag"},
		{[]string{"logs"}, exitUsage, "", "usage: mcpd logs SERVER"},
		{[]string{"call", "demo"}, exitUsage, "", "usage: mcpd call SERVER TOOL"},
		{[]string{"call", "demo", "echo", "[1]"}, exitUsage, "", "must be a JSON object"},
		{[]string{"token", "create"}, exitUsage, "", "--server"},
		{[]string{"token", "create", "--server", "a", "--ttl", "0s"}, exitUsage, "", "at least 1s"},
		{[]string{"status"}, exitFailed, "", "start it with 'mcpd run'"},
		{[]string{"reload"}, exitFailed, "", "mcpd is not running"},
		{[]string{"check", "--config", good}, exitFine, "fine, 1 server", ""},
		{[]string{"check", "--config", bad}, exitFailed, "", `servers.toml:2:1: unknown key "servers.a.comand"; did you mean "command"?`},
		{[]string{"check", "--config", "/nowhere/servers.toml"}, exitFailed, "", "/nowhere/servers.toml"},
		{[]string{"user", "add", "bob", "--password-stdin"}, exitFailed, "", "standard input is empty"},
		{[]string{"user", "add", "bob"}, exitUsage, "", "--password-stdin"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			code, stdout, stderr := callCLI(t, "", tt.args...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("exit code %d, want %d\nstdout: %s\n(want %q)\nstderr: %s\n(want %q)", code, tt.code, stdout, tt.stdout, stderr, tt.stderr)
			}
			if strings.Contains(stderr, "goroutine ") {
				t.Errorf("a stack trace reached the terminal:\n%s", stderr)
			}
		})
	}
}

func TestTableAlignsAndHasNoColourInAFile(t *testing.T) {
	now := time.Now()
	var out bytes.Buffer
	c := &cli{}
	next := now.Add(90 * time.Second)
	err := c.printStatus(&out, terminalOf(&out), Status{Servers: []ServerStatus{
		{Name: "a", State: "ready", Max: 4, Since: now, URL: "http://localhost/a/mcp"},
		{Name: "longer-name", State: "backoff", Max: 4, Since: now, URL: "http://localhost/longer-name/mcp", Reason: "exited with code 1", NextTry: &next},
	}}, Status{})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if strings.Contains(out.String(), "\x1b") {
		t.Error("an escape sequence went into what is not a terminal")
	}
	for _, column := range []string{"STATE", "URL"} {
		i := strings.Index(lines[0], column)
		for _, l := range lines[1:3] {
			if l[i] == ' ' || l[i-1] != ' ' {
				t.Errorf("column %s is not aligned:\n%s", column, out.String())
			}
		}
	}
	if !strings.Contains(lines[2], "exited with code 1; next try in 1m") {
		t.Errorf("the reason does not say when the next try is: %s", lines[2])
	}
	for _, l := range lines {
		if strings.HasSuffix(l, " ") {
			t.Errorf("trailing blanks: %q", l)
		}
	}
}
