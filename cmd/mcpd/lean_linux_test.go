//go:build !race

// The race detector takes memory of its own.

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Five servers with TLS and issuer rest in 30 MB, the guardian beside them in 15: little of a program of 40 MB is needed again after its start.
// A build with a C compiler brings libc, which reads more of the file; what is released has none.
func TestRestingMemory(t *testing.T) {
	t.Parallel()
	config := "domain = \"mcp.test\"\ntls.mode = \"internal\"\n"
	for i := range 5 {
		config += fmt.Sprintf("[servers.s%d]\ncommand = \"mcpd\"\nargs = [\"demo-server\"]\nworkers.min = 1\nisolation = \"shared\"\n", i)
	}
	d := startDaemon(t, config, "MCPD_LISTEN__HTTPS=127.0.0.1:0")
	eventually(t, time.Minute, "all are ready", func() (bool, string) {
		servers := d.status().Servers
		return !slices.ContainsFunc(servers, func(s ServerStatus) bool { return s.State != "ready" }), fmt.Sprintf("%+v", servers)
	})
	most, guardians := int64(30<<20), int64(15<<20)
	if maps, err := os.ReadFile("/proc/self/maps"); err != nil || strings.Contains(string(maps), "/libc.so") {
		most, guardians = most+(8<<20), guardians+(8<<20)
	}
	eventually(t, time.Minute, fmt.Sprintf("it rests in %d MB, its guardian in %d", most>>20, guardians>>20), func() (bool, string) {
		guardian := guardianOf(t, d.cmd.Process.Pid)
		own, other := memoryOf(d.cmd.Process.Pid, "VmRSS"), memoryOf(guardian, "VmRSS")
		return own > 0 && own <= most && other > 0 && other <= guardians, fmt.Sprintf("%d and %d KiB", own>>10, other>>10)
	})
}

// guardianOf finds the process that mcpd keeps for its own end.
func guardianOf(t *testing.T, parent int) int {
	t.Helper()
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range lines {
		text, _ := os.ReadFile(f)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(rest); strings.Contains(string(text), guardianVerb) && len(f) > 1 && f[1] == strconv.Itoa(parent) {
			return pid
		}
	}
	t.Fatal("there is no guardian")
	return 0
}
