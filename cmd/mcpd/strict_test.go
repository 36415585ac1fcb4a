package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestStrictClient has a client that believes nothing walk all ways, good and bad (testdata/peers/strict.mjs).
func TestStrictClient(t *testing.T) {
	t.Parallel()
	foreign(t)
	need(t, "node", "npm:oauth4webapi")
	d := startDaemon(t, `
[auth]
refresh_grace = "0s"

[servers.a]
command = "mcpd"
args    = ["demo-server"]

[servers.b]
command = "mcpd"
args    = ["demo-server"]
`)
	d.addUser()
	link := strings.TrimSpace(d.must("user", "link", d.user))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, nodeBinary(), filepath.Join(peersDir(), "strict.mjs"),
		strings.TrimSuffix(d.url("a"), "/a/mcp"), d.url("a"), d.url("b"), link).CombinedOutput()
	m := regexp.MustCompile(`strict client: (\d+) that work, (\d+) that are refused`).FindSubmatch(out)
	if err != nil || m == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	works, _ := strconv.Atoi(string(m[1]))
	refused, _ := strconv.Atoi(string(m[2]))
	if works < 9 || refused < 45 {
		t.Errorf("%s: some were left out\n%s", m[0], out)
	}
	t.Logf("%s", m[0])
}
