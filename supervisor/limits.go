package supervisor

import (
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mcpd/mcpd/supervisor/confine"
)

// LimitsConfig is the most that one worker, with all that it starts, may use. A limit is kept by a
// cgroup where one is delegated to mcpd (systemd: Delegate=yes); mcpd status tells how it is kept
// where none is.
type LimitsConfig struct {
	// Memory is in bytes, or text such as "512MiB"; a worker that needs more is killed, alone.
	// 0 is no limit. Default: 0.
	Memory Bytes `koanf:"memory"`

	// Pids is the number of processes and threads; 0 is no limit. Default: 0.
	Pids int `koanf:"pids"`

	// CPU is the number of processors, 0.5 is half the time of one; 0 is no limit. Default: 0.
	CPU float64 `koanf:"cpu"`
}

// SandboxConfig takes files and the network away from a server's workers.
type SandboxConfig struct {
	// Read and Write are absolute paths of files or directories, with all below them. If any is
	// given, a worker can read the programs and settings of the system (/usr, /etc, /opt, /proc
	// and the like), its own program, these, and can change only what is in Write and a temporary
	// directory of its own ($TMPDIR), which is removed with it. Default: none, and no restriction.
	Read  []string `koanf:"read"`
	Write []string `koanf:"write"`

	// Network false leaves a worker without a network. Default: true.
	Network bool `koanf:"network"`

	// By is what keeps it in: "landlock", by which what may not be read is there and refused; or "bwrap", a
	// program to be installed, with which a worker has a root directory, a /tmp and a list of processes of its own,
	// and does not start where that cannot be. With "bwrap" every worker is kept in, whatever read and write say;
	// SIGTERM ends it at once, and the system-wide service of mcpd service install may not mount what it takes.
	// Default: "landlock".
	By string `koanf:"by"`
}

// What SandboxConfig.By may be.
const (
	byLandlock   = "landlock"
	byBubblewrap = "bwrap"
)

// Files tells whether a worker is kept from files.
func (c SandboxConfig) Files() bool { return len(c.Read)+len(c.Write) > 0 || c.By == byBubblewrap }

// Bytes is a number of bytes; in a configuration also "512MiB" or "2GB".
type Bytes int64

var errBytes = errors.New(`must be a number of bytes, such as 1048576 or "512MiB"`)

// ParseBytes reads a number with a unit of 1000 (kB, MB, GB) or of 1024 (KiB, MiB, GiB), or none.
func ParseBytes(text string) (Bytes, error) {
	number := strings.TrimRightFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	unit, known := map[string]int64{
		"": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
	}[strings.TrimSpace(text[len(number):])]
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || !known || n < 0 || n > (1<<62)/unit {
		return 0, errBytes
	}
	return Bytes(n * unit), nil
}

// leastMemory is what a limit must leave: below it no program starts.
const leastMemory = 4 << 20

func (c LimitsConfig) validate(wrong func(key, format string, args ...any)) {
	if c.Memory < 0 || c.Memory > 0 && c.Memory < leastMemory {
		wrong("limits.memory", "%d must be 0 or at least %s", c.Memory, confine.Size(leastMemory))
	}
	if c.Pids < 0 {
		wrong("limits.pids", "%d must not be negative", c.Pids)
	}
	if c.CPU < 0 {
		wrong("limits.cpu", "%v must not be negative", c.CPU)
	}
}

func (c SandboxConfig) validate(wrong func(key, format string, args ...any)) {
	if c.By != byLandlock && c.By != byBubblewrap {
		wrong("sandbox.by", "%q must be %q or %q", c.By, byLandlock, byBubblewrap)
	}
	for key, list := range map[string][]string{"sandbox.read": c.Read, "sandbox.write": c.Write} {
		for i, p := range list {
			if !filepath.IsAbs(p) {
				wrong(key+"["+strconv.Itoa(i)+"]", "%q must be an absolute path", p)
			}
		}
	}
}

func (c SandboxConfig) equal(d SandboxConfig) bool {
	return c.Network == d.Network && c.By == d.By && slices.Equal(c.Read, d.Read) && slices.Equal(c.Write, d.Write)
}

// Never tells what of the limits no mcpd on this machine can keep, a sentence each.
func (c Config) Never() []string { return confine.Never(c.want()) }

// want is what the processes of this server are held to.
func (c Config) want() confine.Want {
	return confine.Want{
		Memory: int64(c.Limits.Memory), Tasks: c.Limits.Pids, CPU: c.Limits.CPU,
		Files: c.Sandbox.Files(), Read: c.Sandbox.Read, Write: c.Sandbox.Write, Offline: !c.Sandbox.Network, Bubblewrap: c.Sandbox.By == byBubblewrap,
	}
}
