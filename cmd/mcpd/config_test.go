package main

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
)

func mustLoad(t *testing.T, text string, environ ...string) *Config {
	t.Helper()
	cfg, err := Load(LoadOptions{Path: "servers.toml", Data: []byte(text), Environ: environ})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestLoadEverything(t *testing.T) {
	t.Parallel()
	a, err := txtar.ParseFile("../../testdata/toml/good/everything.txtar")
	if err != nil {
		t.Fatal(err)
	}
	o, _ := unpack(t, a)
	o.Data = append([]byte("\ufeff"), o.Data...) // some editors write one
	cfg, err := Load(o)
	if err != nil {
		t.Fatal(err)
	}
	s := cfg.Servers["my-files"]
	wantArgs := []string{"--token", "t0ps3cret", "$5", "default text", "", "a$", "100$!", "multi\nline"}
	wantEnv := map[string]string{"LANG": "C", "SHARED": "t0ps3cret", "FILE": "from-a-file", "CREDENTIAL": "x-from-systemd-y", "API__KEY": "k3y", "odd.name": "1"}
	if !slices.Equal(s.Args, wantArgs) || !maps.Equal(s.Env, wantEnv) {
		t.Errorf("args %q\nenv %q", s.Args, s.Env)
	}
	if s.Workers.Max != 2 || s.Workers.Idle != 24*time.Hour || s.Workers.Queue == 0 || s.Bridge.Isolation != "user" || s.Bridge.Era != "auto" {
		t.Errorf("inherited wrongly: %+v", s)
	}
	if !slices.Equal(s.Allow, []string{"alice@example.com", "*@corp.example"}) {
		t.Errorf("allow %q", s.Allow)
	}
	if !slices.Equal(cfg.Secrets["my-files"], []string{"from-a-file", "from-systemd", "k3y", "t0ps3cret"}) {
		t.Errorf("secrets %q", cfg.Secrets["my-files"])
	}
	in := cfg.Servers["inline"]
	if in.Command != "inline" || !in.Disabled || in.Bridge.Isolation != "shared" || in.Workers.Max != 8 || in.Env["SHARED"] != "t0ps3cret" ||
		!slices.Equal(cfg.Secrets["inline"], []string{"t0ps3cret"}) {
		t.Errorf("%+v, secrets %q", in, cfg.Secrets["inline"])
	}
	if cfg.Listen.HTTP != "127.0.0.1:9000" || cfg.Listen.BodyTimeout != 0 || cfg.Listen.HeaderTimeout == 0 ||
		!slices.Equal(cfg.Listen.Origins, []string{"https://a.example", "https://b.example"}) {
		t.Errorf("%+v", cfg.Listen)
	}
}

func TestLayers(t *testing.T) {
	t.Parallel()
	const file = "[listen]\nhttp = \"localhost:1111\"\n[log]\nlevel = \"warn\"\n[servers.a]\ncommand = \"a\"\nargs = [\"1\", \"2\", \"3\"]\n"
	cfg := mustLoad(t, "")
	if d := DefaultConfig(); !reflect.DeepEqual(cfg.Listen, d.Listen) || !reflect.DeepEqual(cfg.Auth, d.Auth) || cfg.Log != d.Log || cfg.Domain != "localhost" {
		t.Errorf("an empty file is not the defaults: %+v", cfg)
	}
	cfg, err := Load(LoadOptions{
		Data:    []byte(file),
		Environ: []string{"MCPD_LISTEN__HTTP=localhost:2222", "MCPD_LOG__LEVEL=error", "MCPD_SERVERS__A__ARGS=x", "MCPD_SERVERS__B_C__COMMAND=bc", "MCPD_SERVERS__A__WORKERS__MIN=1"},
		Flags:   map[string]any{"listen.http": "localhost:3333", "listen.max_header": 8192, "log.format": "json"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Listen.HTTP != "localhost:3333" || cfg.Log.Level != "error" || cfg.Log.Format != "json" || cfg.Listen.MaxHeader != 8192 {
		t.Errorf("%+v %+v", cfg.Listen, cfg.Log)
	}
	if a := cfg.Servers["a"]; a.Command != "a" || !slices.Equal(a.Args, []string{"x"}) || a.Workers.Min != 1 || a.Workers.Max == 0 {
		t.Errorf("%+v", a)
	}
	if cfg.Servers["b-c"].Command != "bc" {
		t.Errorf("a server that only the environment names: %+v", cfg.Servers)
	}
	_, err = Load(LoadOptions{Flags: map[string]any{"listen.htpp": "x", "listen.idle_timeout": "soon", "log.level": "loud"}})
	for _, want := range []string{`flag: listen.htpp: there is no setting`, "flag: listen.idle_timeout: must be a duration", "flag: log.level: must be"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("flags: %v, want %s", err, want)
		}
	}
	_, err = Load(LoadOptions{Environ: []string{"MCPD_SERVERS__A__DIR=/tmp"}})
	if err == nil || err.Error() != "servers.a.command: must name the program to run" {
		t.Errorf("no file at all: %v", err)
	}
}

func TestProblemsAreInOrder(t *testing.T) {
	t.Parallel()
	ps := Problems{{File: "flag", Msg: "z"}, {File: "f", Line: 2, Col: 1, Msg: "b"}, {File: "f", Line: 1, Col: 9, Msg: "a"}, {File: "f", Line: 2, Col: 1, Msg: "b"}, {Msg: "alone"}}
	if got := ps.sorted().Error(); got != "f:1:9: a\nf:2:1: b\nalone\nflag: z" {
		t.Error(got)
	}
}

func TestUnreadableFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := Load(LoadOptions{Path: filepath.Join(dir, "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Load(LoadOptions{Path: dir}); err == nil {
		t.Error("a folder was loaded")
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, []byte(strings.Repeat("#\n", maxConfigFile/2+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(LoadOptions{Path: big}); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Error(err)
	}
}

func TestFindConfig(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write := func(path string) string {
		t.Helper()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	env := environment{"HOME=" + dir}
	if _, err := os.Stat("/etc/mcpd/servers.toml"); err != nil {
		if _, err := FindConfig("", env); err == nil || !strings.Contains(err.Error(), "no servers.toml") || !strings.Contains(err.Error(), "--config") {
			t.Error(err)
		}
	}
	check := func(asked, want string) {
		t.Helper()
		if got, err := FindConfig(asked, env); err != nil || got != want {
			t.Errorf("found %q, %v; want %q", got, err, want)
		}
	}
	check("", write(".config/mcpd/servers.toml"))
	env = append(env, "XDG_CONFIG_HOME="+filepath.Join(dir, "xdg"))
	check("", write("xdg/mcpd/servers.toml"))
	write("servers.toml")
	check("", "servers.toml")
	check("asked.toml", "asked.toml")
}

func TestDiffConfig(t *testing.T) {
	t.Parallel()
	a := mustLoad(t, "[servers.a]\ncommand = \"a\"")
	b := mustLoad(t, "domain = \"mcp.example.com\"\nlisten.http = \"localhost:1\"\nlisten.origins = [\"https://x.example\"]\nlog.level = \"debug\"\n[servers.b]\ncommand = \"b\"\n[defaults]\ndisabled = true")
	want := []string{"domain", "listen.http", "listen.origins", "log.level"}
	got := DiffConfig(a, b)
	for i, s := range got {
		got[i], _, _ = strings.Cut(s, " has changed")
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if again := DiffConfig(a, mustLoad(t, "[servers.c]\ncommand = \"c\"")); len(again) != 0 {
		t.Errorf("servers need no restart: %q", again)
	}
}

// TestConfigIsTheManual: every key is documented where it is declared. The house test sees to the
// comments of types; here every field must have a default that its schema can express.
func TestConfigIsTheManual(t *testing.T) {
	t.Parallel()
	s := configSchema()
	var walk func(path []string, s *schema)
	walk = func(path []string, s *schema) {
		for _, name := range s.names() {
			if !isBareKey(name) || strings.ToLower(name) != name {
				t.Errorf("%s cannot be written in an environment variable", keyPath(under(path, name)))
			}
			walk(under(path, name), s.fields[name])
		}
		if s.elem != nil {
			walk(under(path, "*"), s.elem)
		}
	}
	walk(nil, s)
	if s.at("defaults", "command") != nil || s.at("servers", "x", "command") == nil || s.at("servers", "x", "isolation") == nil || s.at("domain", "x") != nil {
		t.Error("the schema is not that of Config")
	}
}

func TestClosest(t *testing.T) {
	t.Parallel()
	words := []string{"args", "command", "disabled", "env", "era", "workers"}
	for word, want := range map[string]string{
		"comand": "command", "Command": "command", "commnad": "command", "arg": "args", "evn": "env", "worker": "workers",
		"x": "", "": "", "transport": "", strings.Repeat("x", 1000): "",
	} {
		if got := closest(word, words); got != want {
			t.Errorf("closest(%.20q) = %q, want %q", word, got, want)
		}
	}
}
