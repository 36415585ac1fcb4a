//go:build !race

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPasskeys: a real browser with a virtual authenticator signs in by passkey, by password and passkey, by password and code,
// and by nothing that is locked or removed. That is testdata/peers/people.mjs, line by line.
func TestPasskeys(t *testing.T) {
	t.Parallel()
	foreign(t)
	need(t, "node", "chromium", "npm:playwright-core", "npm:axe-core")
	d := startDaemon(t, demoConfig)
	d.addUser()
	environ, _ := browserEnv(t, d, "passkeys")
	cmd := exec.CommandContext(t.Context(), nodeBinary(), filepath.Join(peersDir(), "people.mjs"), strings.TrimSuffix(d.url("demo"), "/demo/mcp"))
	cmd.Env = append(environ, "MCPD_TEST_SHOTS="+os.Getenv("MCPD_TEST_SHOTS"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := strings.Count(string(out), "\n"); n != 9 {
		t.Errorf("%d of 9 things went well:\n%s", n, out)
	}
}
