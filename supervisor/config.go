package supervisor

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// Config is what a server's entry says about its processes. The tags are the keys of servers.toml.
// A reload applies every field: workers and timeouts in place, all others by new processes that
// take over from the old ones.
type Config struct {
	// Command is the program: a name looked up in the child's PATH, or a path. "mcpd" is this
	// very program, wherever it is installed. Required.
	Command string `koanf:"command"`

	// Args are the arguments, passed as they are: no shell reads them. Default: none.
	Args []string `koanf:"args"`

	// Pin starts the program of a package itself where the command is npx, uvx or uv tool run: its version
	// is looked up and installed once, and stays until mcpd update. Where that cannot be, the command is
	// run as it is written, and a warning says why. Default: true.
	Pin bool `koanf:"pin"`

	// InstallScripts lets packages run their install scripts, with pin; for those of Python, be built from source, which
	// runs theirs. Default: false.
	InstallScripts bool `koanf:"install_scripts"`

	// Env is added to the child's small base environment. Default: none.
	Env map[string]string `koanf:"env"`

	// PassEnv are globs over the names of mcpd's own environment variables; what they match is
	// passed on. A pattern with a wildcard never matches what belongs to mcpd itself (MCPD_*,
	// the variables of systemd); naming one in full does. Default: none.
	PassEnv []string `koanf:"pass_env"`

	// Dir is the child's working directory, an absolute path. Default: mcpd's own.
	Dir string `koanf:"dir"`

	// Disabled keeps the entry and runs nothing. Default: false.
	Disabled bool `koanf:"disabled"`

	// Exclusive is for a server that cannot run twice at the same time, because of a file that it
	// locks or a port: it has one worker at most, and after a change the new one starts when the
	// old one is gone. It is not tried out for its protocol either: era = "auto" means "legacy".
	// Default: false.
	Exclusive bool `koanf:"exclusive"`

	Workers  WorkersConfig  `koanf:"workers"`
	Timeouts TimeoutsConfig `koanf:"timeouts"`
	Limits   LimitsConfig   `koanf:"limits"`
	Sandbox  SandboxConfig  `koanf:"sandbox"`
}

// WorkersConfig says how many processes a server has.
type WorkersConfig struct {
	// Min is how many workers are kept ready for callers that have none of their own: 0 starts
	// the first worker at the first call. Default: 0.
	Min int `koanf:"min"`

	// Max is the most workers the server ever has, over all callers. Default: 4.
	Max int `koanf:"max"`

	// Idle is how long a worker stays after its last call. Default: 15m.
	Idle time.Duration `koanf:"idle"`

	// Queue is how many calls may wait for a worker before the next is told that the server is
	// busy. Default: 256.
	Queue int `koanf:"queue"`
}

// TimeoutsConfig bounds the beginning and the end of a process.
type TimeoutsConfig struct {
	// Start is the longest time from the start of a process to the end of its handshake, and
	// the longest a call waits for a free worker. Default: 60s.
	Start time.Duration `koanf:"start"`

	// Stdin is how long a child may take to end after its standard input was closed, before it
	// gets SIGTERM. Default: 2s.
	Stdin time.Duration `koanf:"stdin"`

	// Term is how long a child may take to end after SIGTERM, before it gets SIGKILL. Default: 3s.
	Term time.Duration `koanf:"term"`
}

// DefaultConfig is what an entry inherits where neither it nor [defaults] says otherwise.
func DefaultConfig() Config {
	return Config{
		Pin:      true,
		Workers:  WorkersConfig{Max: 4, Idle: 15 * time.Minute, Queue: 256},
		Timeouts: TimeoutsConfig{Start: time.Minute, Stdin: 2 * time.Second, Term: 3 * time.Second},
		Sandbox:  SandboxConfig{Network: true, By: byLandlock},
	}
}

// Validate reports everything that is wrong, one error per line, each beginning with its key.
func (c Config) Validate() error {
	var errs []error
	wrong := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
	switch {
	case c.Command == "":
		wrong("command", "must name the program to run")
	case strings.ContainsRune(c.Command, 0):
		wrong("command", "must not contain a zero byte")
	}
	for i, a := range c.Args {
		if strings.ContainsRune(a, 0) {
			wrong(fmt.Sprintf("args[%d]", i), "must not contain a zero byte")
		}
	}
	for _, name := range sortedKeys(c.Env) {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			wrong("env", "%q is not a name of a variable", name)
		} else if strings.ContainsRune(c.Env[name], 0) {
			wrong("env."+name, "must not contain a zero byte")
		}
	}
	for i, p := range c.PassEnv {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			wrong(fmt.Sprintf("pass_env[%d]", i), "%q is not a pattern", p)
		}
	}
	if c.Dir != "" && !filepath.IsAbs(c.Dir) {
		wrong("dir", "%q must be an absolute path", c.Dir)
	}
	c.Workers.validate(wrong)
	c.Timeouts.validate(wrong)
	c.Limits.validate(wrong)
	c.Sandbox.validate(wrong)
	return errors.Join(errs...)
}

// most is how many workers the server may have.
func (c Config) most() int {
	if c.Exclusive {
		return 1
	}
	return c.Workers.Max
}

func (c WorkersConfig) validate(wrong func(key, format string, args ...any)) {
	if c.Max < 1 {
		wrong("workers.max", "%d must be at least 1", c.Max)
	}
	if c.Min < 0 {
		wrong("workers.min", "%d must not be negative", c.Min)
	} else if c.Max >= 1 && c.Min > c.Max {
		wrong("workers.min", "%d must not be more than workers.max, which is %d", c.Min, c.Max)
	}
	if c.Idle <= 0 {
		wrong("workers.idle", "%v must be more than zero", c.Idle)
	}
	if c.Queue < 1 {
		wrong("workers.queue", "%d must be at least 1", c.Queue)
	}
}

func (c TimeoutsConfig) validate(wrong func(key, format string, args ...any)) {
	if c.Start <= 0 {
		wrong("timeouts.start", "%v must be more than zero", c.Start)
	}
	if c.Stdin < 0 {
		wrong("timeouts.stdin", "%v must not be negative", c.Stdin)
	}
	if c.Term < 0 {
		wrong("timeouts.term", "%v must not be negative", c.Term)
	}
}
