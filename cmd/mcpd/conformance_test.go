package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// conformanceFloor is what must pass of the scored scenarios of each frozen requirement set. Raise it when more do.
var conformanceFloor = []struct {
	version          string
	minimum, ofTotal int
}{
	{"2025-11-25", 26, 30},
	{"2026-07-28", 37, 37},
}

// TestConformance runs the MCP conformance suite against one mcpd URL, behind which the SDK's fixture server speaks stdio.
// What is known to fail is in testdata/peers/conformance-expected.yml; that list may be wrong in neither direction.
// The suite can read it as well (--expected-failures), but then does not say which scenarios count.
func TestConformance(t *testing.T) {
	t.Parallel()
	foreign(t)
	need(t, "node", "go", "npm:@modelcontextprotocol/conformance")
	fixture := filepath.Join(t.TempDir(), "everything-server")
	build := exec.Command("go", "build", "-o", fixture, "github.com/modelcontextprotocol/go-sdk/conformance/everything-server")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the fixture server: %v\n%s", err, out)
	}
	d := startDaemon(t, fmt.Sprintf("[auth]\nmode = \"none\"\n\n[servers.everything]\ncommand = %q\n", fixture))
	target := d.url("everything")
	if !strings.HasPrefix(target, "http://localhost:") {
		t.Fatalf("the suite wants to call localhost, and the server is at %s", target)
	}
	expected := expectedFailures(t)
	for _, c := range conformanceFloor {
		t.Run(c.version, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			args := []string{npmFile("@modelcontextprotocol/conformance", "dist/index.js"), "server", "--url", target, "--requirements", c.version, "-o", t.TempDir()}
			cmd := exec.CommandContext(ctx, nodeBinary(), args...)
			cmd.WaitDelay = 5 * time.Second
			out, err := cmd.CombinedOutput() // exit code 1 only says that a scenario failed
			r := readConformance(string(out))
			t.Logf("conformance %s: %d of %d scored scenarios, %d of %d not scored", c.version, r.passed, r.scored, r.extraPassed, r.extra)
			if r.scored != c.ofTotal {
				t.Fatalf("%d scored scenarios were run, want %d: %v\n%s", r.scored, c.ofTotal, err, out)
			}
			if r.passed < c.minimum {
				t.Errorf("%d scored scenarios passed, want at least %d", r.passed, c.minimum)
			}
			for name, passed := range r.all {
				switch expected := slices.Contains(expected, name); {
				case !passed && !expected:
					t.Errorf("%s fails and is not in conformance-expected.yml:\n%s", name, scenarioText(string(out), name))
				case passed && expected:
					t.Errorf("%s passes: take it out of conformance-expected.yml", name)
				}
			}
		})
	}
}

// expectedFailures reads the suite's own format: a list of scenarios under "server".
func expectedFailures(t *testing.T) (names []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(peersDir(), "conformance-expected.yml"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "- "); ok {
			names = append(names, name)
		}
	}
	return names
}

// scenarioText is what the suite said while it ran a scenario.
func scenarioText(out, name string) string {
	_, after, _ := strings.Cut(out, "=== Running scenario: "+name+" ===")
	before, _, _ := strings.Cut(after, "\n===")
	return before
}

// conformanceResult counts scenarios, not checks: many checks pass when nothing works at all.
type conformanceResult struct {
	passed, scored, extraPassed, extra int
	all                                map[string]bool // scored ones, and whether they passed
}

var (
	scenarioLine = regexp.MustCompile(`(?m)^([✓✗]) ([a-z0-9-]+): \d+ passed, \d+ failed`)
	unscoredLine = regexp.MustCompile(`(?m)^  [✓✗] ([a-z0-9-]+) \(`)
)

func readConformance(out string) (r conformanceResult) {
	if i := strings.Index(out, "=== SUMMARY ==="); i >= 0 {
		out = out[i:]
	}
	r.all = map[string]bool{}
	var unscored []string
	for _, m := range unscoredLine.FindAllStringSubmatch(out, -1) {
		unscored = append(unscored, m[1])
	}
	for _, m := range scenarioLine.FindAllStringSubmatch(out, -1) {
		passed := m[1] == "✓"
		if slices.Contains(unscored, m[2]) {
			r.extra++
			if passed {
				r.extraPassed++
			}
			continue
		}
		r.scored++
		r.all[m[2]] = passed
		if passed {
			r.passed++
		}
	}
	return r
}

func TestReadConformance(t *testing.T) {
	r := readConformance("✓ before: 1 passed, 0 failed\n=== SUMMARY ===\n✓ a-1: 3 passed, 0 failed\n✗ b: 1 passed, 2 failed\n✗ c: 0 passed, 1 failed\n✓ d: 0 passed, 0 failed\n" +
		"\nNot scored for x: 2 scenario(s) run, 1 failing.\n  ✗ c (extension)\n  ✓ d (pending)\n")
	if r.passed != 1 || r.scored != 2 || r.extraPassed != 1 || r.extra != 2 || len(r.all) != 2 || r.all["b"] || !r.all["a-1"] {
		t.Errorf("%+v", r)
	}
}
