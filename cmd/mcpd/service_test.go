package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpd/mcpd/cmd/mcpd/systemd"
)

// oddDir has what a unit file could misunderstand; systemd refuses programs with quotes in their path.
const oddDir = "a $HOME %h;ü"

// writeUnits makes the units of a service whose paths have all that a unit file could misunderstand.
func writeUnits(t *testing.T, system bool, version int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	binary, err := exec.LookPath("mcpd")
	if err != nil {
		t.Fatal(err)
	}
	odd := filepath.Join(dir, `a $HOME %h "b" \t 'c'; ü`)
	if err := os.Mkdir(filepath.Join(dir, oddDir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(dir, oddDir, "mcpd")); err != nil {
		t.Fatal(err)
	}
	s := systemd.Service{
		System: system, Binary: filepath.Join(dir, oddDir, "mcpd"), Config: filepath.Join(odd, "servers.toml"), State: filepath.Join(odd, "state"),
		Path: odd + ":/usr/bin", Listen: []string{":443", ":80", "localhost:8080", "192.0.2.1:81"}, IPv6: true, Version: version, Sandbox: true,
	}
	if system {
		s.Config = "/etc/mcpd/servers.toml"
	}
	files, err := s.Files()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		at := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, f.Text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// analyze runs systemd-analyze, whose exit code says little: what it complains of is on standard error.
func analyze(t *testing.T, args ...string) (stdout string, ok bool) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command("systemd-analyze", args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "XDG_RUNTIME_DIR=" + t.TempDir(), "SYSTEMD_COLORS=0", "LANG=C.UTF-8"}
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if errs.Len() > 0 {
		t.Errorf("systemd-analyze %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), err == nil
}

func systemdVersion(t *testing.T) (version int) {
	t.Helper()
	out, err := exec.Command("systemd-analyze", "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range strings.TrimPrefix(string(out), "systemd ") {
		if c < '0' || c > '9' {
			return version
		}
		version = version*10 + int(c-'0')
	}
	return version
}

func TestUnitsAreClean(t *testing.T) {
	t.Parallel()
	need(t, "systemd-analyze")
	version := systemdVersion(t)
	for _, tt := range []struct {
		name   string
		system bool
		args   []string
	}{
		{"user", false, []string{"--user", "verify"}},
		{"system", true, []string{"verify"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := writeUnits(t, tt.system, version)
			if _, ok := analyze(t, append(tt.args, filepath.Join(dir, "mcpd.service"), filepath.Join(dir, "mcpd.socket"))...); !ok {
				t.Error("systemd-analyze verify refuses the units")
			}
			// It does complain where there is something to complain of.
			broken := exec.Command("systemd-analyze", append(tt.args, filepath.Join(dir, "mcpd.service"))...)
			broken.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir())
			if err := os.RemoveAll(filepath.Join(dir, oddDir)); err != nil {
				t.Fatal(err)
			}
			if out, _ := broken.CombinedOutput(); !strings.Contains(string(out), oddDir+"/mcpd is not executable") {
				t.Errorf("with the program gone it says %q, so the path was not understood", out)
			}
		})
	}
}

func TestSystemUnitIsHardened(t *testing.T) {
	t.Parallel()
	need(t, "systemd-analyze")
	dir := writeUnits(t, true, systemdVersion(t))
	out, ok := analyze(t, "security", "--offline=yes", "--threshold=30", "--no-pager", filepath.Join(dir, "mcpd.service"))
	if !ok {
		t.Errorf("the exposure is more than 3.0:\n%s", out)
	}
	t.Log(strings.TrimSpace(out[max(0, strings.LastIndex(out, "→")):]))
}

func TestServiceCommands(t *testing.T) {
	t.Parallel()
	write := func(text string) string {
		file := filepath.Join(t.TempDir(), "servers.toml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	good := write("[listen]\nhttp = \"localhost:9090\"\n[servers.a]\ncommand = \"true\"\nenv = { A = \"${NOWHERE_SET}\", B = \"${credential:b}\" }\n")
	bad := write("[servers.a]\ncomand = \"true\"\n")
	low := write("[listen]\nhttp = \"localhost:1\"\n")
	for _, tt := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{"service", "--help"}, exitFine, "enable-linger", ""},
		{[]string{"service", "instal"}, exitUsage, "", "want print, install or uninstall"},
		{[]string{"service", "print", "--user", "--system"}, exitUsage, "", "only one of them"},
		{[]string{"service", "print", "--user", "--config", good}, exitFine, "ListenStream=127.0.0.1:9090", ""},
		{[]string{"service", "print", "--user", "--config", good}, exitFine, "EnvironmentFile=-" + filepath.Dir(good) + "/mcpd.env", ""},
		{[]string{"service", "print", "--user", "--config", good}, exitFine, "PrivateUsers=yes", ""},
		{[]string{"service", "print", "--system", "--config", good}, exitFine, "DynamicUser=yes", ""},
		{[]string{"service", "print", "--user"}, exitFine, "ListenStream=127.0.0.1:8080", "there is no"},
		{[]string{"service", "print", "--user", "--config", bad}, exitFailed, "", `unknown key "servers.a.comand"`},
		{[]string{"service", "print", "--system", "--state-dir", "/x"}, exitUsage, "", "--state-dir"},
		{[]string{"service", "install", "--user", "--config", bad}, exitFailed, "", `unknown key "servers.a.comand"`},
		{[]string{"service", "install", "--user", "--config", "/nowhere/servers.toml"}, exitFailed, "", "[servers.demo]"},
		{[]string{"service", "install", "--user", "--config", low}, exitFailed, "", "cannot open port 1 as a service of yours"},
		{[]string{"service", "install", "--system", "--dry-run", "--config", good}, exitFailed, "", "does not see"},
		{[]string{"service", "uninstall", "--user", "--purge"}, exitUsage, "", "give --yes"},
		{[]string{"service", "uninstall", "--user", "--dry-run"}, exitFine, "mcpd has written nothing there", ""},
	} {
		t.Run(strings.Join(tt.args[1:], " "), func(t *testing.T) {
			code, stdout, stderr := callCLI(t, "", tt.args...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("exit code %d, want %d\nstdout: %s\n(want %q)\nstderr: %s\n(want %q)", code, tt.code, stdout, tt.stdout, stderr, tt.stderr)
			}
		})
	}
}

func TestServicePath(t *testing.T) {
	t.Parallel()
	const path = "/home/a/.nvm/v24/bin:relative::/run/user/1000/fnm/bin:/tmp/x:/usr/bin:/opt/node/bin:/usr/bin"
	for system, want := range map[bool]string{
		false: "/home/a/.nvm/v24/bin:/usr/bin:/opt/node/bin:/usr/local/bin:/bin",
		true:  "/usr/bin:/opt/node/bin:/usr/local/bin:/bin",
	} {
		if got := servicePath(path, system); got != want {
			t.Errorf("system %t: %s, want %s", system, got, want)
		}
	}
}

// The root of a package gets the machine's units, which name the paths inside it.
func TestInstallIntoARoot(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc/mcpd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc/mcpd/servers.toml"), []byte("domain = \"localhost\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := callCLI(t, "", "service", "install", "--system", "--root", root); code != exitFine || stderr != "" {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	units := filepath.Join(root, "etc/systemd/system")
	text, err := os.ReadFile(filepath.Join(units, "mcpd.service"))
	if err != nil || !strings.Contains(string(text), "ExecStart=:/usr/bin/mcpd run --config /etc/mcpd/servers.toml\n") {
		t.Errorf("%v\n%s", err, text)
	}
	if _, err := os.Stat(filepath.Join(units, "mcpd.socket")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(units, "mcpd.service.d")); err == nil {
		t.Error("a package is for every systemd, and a drop-in for newer ones is in it")
	}
}
