package supervisor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestConfigErrorsNameTheirKey(t *testing.T) {
	c := Config{
		Args: []string{"ok", "a\x00b"}, Env: map[string]string{"": "x", "A=B": "y", "N": "a\x00"},
		PassEnv: []string{"OK_*", "[", ""}, Dir: "relative",
		Workers:  WorkersConfig{Min: -1},
		Timeouts: TimeoutsConfig{Stdin: -1, Term: -1},
		Sandbox:  SandboxConfig{By: "docker"},
	}
	_, err := NewSpec("x", c, nil)
	want := `command: must name the program to run
args[1]: must not contain a zero byte
env: "" is not a name of a variable
env: "A=B" is not a name of a variable
env.N: must not contain a zero byte
pass_env[1]: "[" is not a pattern
pass_env[2]: "" is not a pattern
dir: "relative" must be an absolute path
workers.max: 0 must be at least 1
workers.min: -1 must not be negative
workers.idle: 0s must be more than zero
workers.queue: 0 must be at least 1
timeouts.start: 0s must be more than zero
timeouts.stdin: -1ns must not be negative
timeouts.term: -1ns must not be negative
sandbox.by: "docker" must be "landlock" or "bwrap"`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	c = DefaultConfig()
	c.Command, c.Workers.Min = "x", 5
	if _, err := NewSpec("x", c, nil); err == nil || err.Error() != "workers.min: 5 must not be more than workers.max, which is 4" {
		t.Error(err)
	}
	if _, err := NewSpec("", DefaultConfig(), nil); err == nil {
		t.Error("a server without a name")
	}
}

func TestEnvironment(t *testing.T) {
	own := []string{"PATH=/bin", "HOME=/h", "LC_ALL=C", "https_proxy=p", "SSL_CERT_FILE=f", "NPM_CONFIG_UPDATE_NOTIFIER=yes",
		"GITHUB_TOKEN=t", "LINKUP_API_KEY=l", "MCPD_STATE=s", "NOTIFY_SOCKET=n", "odd"}
	base := []string{"HOME=/h", "LC_ALL=C", "PATH=/bin", "SSL_CERT_FILE=f", "https_proxy=p"}
	for _, tt := range []struct {
		name   string
		config Config
		want   []string // besides base
	}{
		{"base only", Config{Command: "x"}, nil},
		{"glob", Config{PassEnv: []string{"GITHUB_*"}}, []string{"GITHUB_TOKEN=t"}},
		{"all, and that is less than mcpd's own", Config{PassEnv: []string{"*"}},
			[]string{"GITHUB_TOKEN=t", "LINKUP_API_KEY=l", "NPM_CONFIG_UPDATE_NOTIFIER=yes"}},
		{"own by name", Config{PassEnv: []string{"MCPD_STATE"}}, []string{"MCPD_STATE=s"}},
		{"entry wins", Config{PassEnv: []string{"GITHUB_*"}, Env: map[string]string{"GITHUB_TOKEN": "mine"}}, []string{"GITHUB_TOKEN=mine"}},
		{"npx", Config{Command: "npx"}, append(patient("true"), "npm_config_update_notifier=false")},
		{"npx, set by pass_env", Config{Command: "/usr/bin/npx", PassEnv: []string{"NPM_*"}},
			append(patient("true"), "NPM_CONFIG_UPDATE_NOTIFIER=yes")},
		{"npx, set by the entry", Config{Command: "npx", Env: map[string]string{"npm_config_prefer_offline": "false"}},
			append(patient("false"), "npm_config_update_notifier=false")},
		{"npx, pinned", Config{Command: "npx", Pin: true}, append(patient("true"), "npm_config_ignore_scripts=true", "npm_config_update_notifier=false")},
		{"npx, pinned, with scripts", Config{Command: "npx", Pin: true, InstallScripts: true}, append(patient("true"), "npm_config_update_notifier=false")},
	} {
		want := append(slices.Clone(base), tt.want...)
		slices.Sort(want)
		if got := environ(tt.config, own); !slices.Equal(got, want) {
			t.Errorf("%s:\ngot  %q\nwant %q", tt.name, got, want)
		}
	}
}

func TestPasswordsOfProxiesAreSecret(t *testing.T) {
	got := passwords([]string{"https_proxy=http://me:hunter2@proxy:3128", "HTTP_PROXY=http://proxy", "PASSWORD=x"})
	if !slices.Equal(got, []string{"hunter2"}) {
		t.Errorf("%q", got)
	}
}

func TestFingerprint(t *testing.T) {
	one := Spec{Name: "a", Config: Config{Command: "x", Args: []string{"a", "b"}}, Environ: []string{"K=v"}}
	first := one.Fingerprint()
	if again := one.Fingerprint(); first != again {
		t.Error("not the same twice")
	}
	for name, other := range map[string]Spec{
		"value":     {Config: one.Config, Environ: []string{"K=w"}},
		"name":      {Config: one.Config, Environ: []string{"L=v"}},
		"arguments": {Config: Config{Command: "x", Args: []string{"a b"}}, Environ: one.Environ},
		"moved":     {Config: Config{Command: "x", Args: []string{"a"}}, Environ: []string{"b", "K=v"}},
		"directory": {Config: Config{Command: "x", Args: one.Args, Dir: "/"}, Environ: one.Environ},
		"key":       {Config: one.Config, Environ: one.Environ, Key: []byte("k")},
	} {
		if other.Fingerprint() == one.Fingerprint() {
			t.Errorf("%s makes no difference", name)
		}
	}
	limits := one
	limits.Workers.Max, limits.Timeouts.Start = 7, time.Hour
	if limits.Fingerprint() != one.Fingerprint() {
		t.Error("limits make a difference")
	}
}

func TestLookup(t *testing.T) {
	dir := t.TempDir()
	install(t, dir, "tool")
	if err := os.WriteFile(filepath.Join(dir, "text"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ command, path, want, reason string }{
		{"tool", "/nowhere:" + dir, filepath.Join(dir, "tool"), ""},
		{"tool", "/nowhere", "", "tool not found in PATH"},
		{"tool", "", "", "tool not found in PATH"},
		{"text", dir, "", "text not found in PATH"},
		{"mcpd", "/nowhere", self, ""},
		{filepath.Join(dir, "tool"), "", filepath.Join(dir, "tool"), ""},
		{"./tool", "", filepath.Join(dir, "tool"), ""},
		{filepath.Join(dir, "text"), "", "", filepath.Join(dir, "text") + " is not executable"},
		{filepath.Join(dir, "none"), "", "", filepath.Join(dir, "none") + " does not exist"},
		{dir, "", "", dir + " is a directory"},
	} {
		got, err := lookup(Spec{Config: Config{Command: tt.command, Dir: dir}, Environ: []string{"PATH=" + tt.path}})
		if tt.reason != "" {
			if err == nil || err.Error() != tt.reason {
				t.Errorf("%s: %v, want %s", tt.command, err, tt.reason)
			}
		} else if err != nil || got != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.command, got, err, tt.want)
		}
	}
}

func TestSpecShowsNoSecret(t *testing.T) {
	c := DefaultConfig()
	c.Command, c.Args, c.Env = "x", []string{"--key=hunter2"}, map[string]string{"KEY": "hunter2"}
	s, err := NewSpec("x", c, []string{"hunter2"})
	if err != nil {
		t.Fatal(err)
	}
	if s.String() != "x --key=***" || strings.Contains(s.GoString(), "hunter2") {
		t.Errorf("%v %#v", s, s)
	}
}

// patient is what npm is told about a registry that it may not reach.
func patient(preferOffline string) []string {
	return []string{"npm_config_fetch_retries=1", "npm_config_fetch_retry_mintimeout=1000", "npm_config_prefer_offline=" + preferOffline}
}
