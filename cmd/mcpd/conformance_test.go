package main

import (
	"context"
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

// conformanceSets are what is run of the suites, with the number of scored scenarios: all of them must pass, except those
// that cannot, with the reason.
var conformanceSets = []struct {
	suite  string // package
	args   string // which scenarios
	server string // modern: speaks every revision; legacy: is spoken to in the older ones alone
	scored int
	cannot map[string]string
}{
	{conformance02, "--requirements 2025-11-25", "modern", 30, nil},
	{conformance02, "--requirements 2026-07-28", "modern", 37, nil},
	{conformance02, "--requirements 2026-07-28", "legacy", 37, map[string]string{
		"input-required-result-basic-elicitation": "it wants the question under the name user_name, and a question of the older revisions has no name",
		"input-required-result-multi-round":       "the fixture's SDK asks an older client once and takes the second round for the tool's result",
	}},
	{conformance02, "--suite all --spec-version 2025-06-18", "modern", 27, nil},
	{conformance02, "--suite all --spec-version 2025-03-26", "modern", 1, nil},
	{conformance01, "--suite all", "modern", 32, nil},
}

const (
	conformance02 = "@modelcontextprotocol/conformance"
	conformance01 = "conformance-0.1" // the last release of the suite's first line
)

// TestConformance runs the MCP conformance suite against one mcpd URL, behind which the SDK's fixture server speaks stdio.
func TestConformance(t *testing.T) {
	t.Parallel()
	foreign(t)
	need(t, "node", "go", "npm:"+conformance02, "npm:"+conformance01)
	fixture := filepath.Join(t.TempDir(), "everything-server")
	build := exec.Command("go", "build", "-o", fixture, "github.com/modelcontextprotocol/go-sdk/conformance/everything-server")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the fixture server: %v\n%s", err, out)
	}
	d := startDaemon(t, fmt.Sprintf("[auth]\nmode = \"none\"\n\n[servers.modern]\ncommand = %[1]q\n\n[servers.legacy]\ncommand = %[1]q\nera = \"legacy\"\n", fixture))
	for _, c := range conformanceSets {
		t.Run(c.suite+" "+c.args+" "+c.server, func(t *testing.T) {
			target := d.url(c.server)
			if !strings.HasPrefix(target, "http://localhost:") {
				t.Fatalf("the suite wants to call localhost, and the server is at %s", target)
			}
			of := conformance{suite: c.suite, target: target}
			of.judge(t, "conformance of the "+c.server+" server, "+c.suite, c.args, c.scored, func(name string) bool { return c.cannot[name] != "" })
		})
	}
}

// conformance is a suite and the server that it is run against, with what the suite gets into its environment.
type conformance struct {
	suite, target string
	env           []string
}

// judge runs the scenarios that args choose: so many of them count, and all of these pass that can.
func (c conformance) judge(t *testing.T, title, args string, scored int, cannot func(name string) bool) {
	t.Helper()
	out, err := c.run(t, strings.Fields(args)...) // exit code 1 only says that a scenario failed
	r := readConformance(out)
	counts := fmt.Sprintf("%s %s: %d of %d scenarios, %d of %d not scored", title, args, r.passed, r.scored, r.extraPassed, r.extra)
	t.Log(counts)
	noteCounts(t, counts)
	if r.scored != scored {
		t.Fatalf("%d scored scenarios were run, want %d: %v\n%s", r.scored, scored, err, out)
	}
	for name, passed := range r.all {
		switch {
		case passed && cannot(name):
			t.Errorf("%s passes and is on the list of those that cannot", name)
		case !passed && !cannot(name):
			// The suite gives an answer one second, which a machine that runs other tests beside may need: once more, alone.
			alone := []string{"--scenario", name}
			if version := specVersion.FindString(args); version != "" {
				alone = append(alone, "--spec-version", version)
			}
			if again, err := c.run(t, alone...); err != nil {
				t.Errorf("%s fails twice: %v\n%s", name, err, again)
			}
		}
	}
}

// noteCounts adds a line to the file that MCPD_TEST_COUNTS names, for a summary of the run.
func noteCounts(t *testing.T, line string) {
	t.Helper()
	name := os.Getenv("MCPD_TEST_COUNTS")
	if name == "" {
		return
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, line); err != nil {
		t.Fatal(err)
	}
}

var specVersion = regexp.MustCompile(`\d{4}-\d\d-\d\d`)

// run runs the suite once and returns what it said.
func (c conformance) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, nodeBinary(), append([]string{npmFile(c.suite, "dist/index.js"), "server", "--url", c.target}, args...)...)
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Dir = t.TempDir() // for the suite's own notes
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// taskScenarios are the suite's scenarios of the tasks extension, with the number of checks in each. They belong to no
// revision, so that they are run by name.
var taskScenarios = map[string]int{
	"tasks-lifecycle": 9, "tasks-capability-negotiation": 5, "tasks-wire-fields": 4, "tasks-request-state-removal": 3, "tasks-mrtr-input": 4,
	"tasks-request-headers": 5, "tasks-dispatch-and-envelope": 9, "tasks-required-task-error": 3, "tasks-mrtr-composition": 2,
	"tasks-status-notifications": 0, // the suite has yet to learn where these are sent
}

// TestTaskConformance runs them against a server on the TypeScript SDK.
func TestTaskConformance(t *testing.T) {
	t.Parallel()
	foreign(t)
	need(t, "node", "npm:"+conformance02, "npm:@modelcontextprotocol/server")
	d := startDaemon(t, fmt.Sprintf("[auth]\nmode = \"none\"\n\n[servers.modern]\ncommand = %q\nargs = [%q]\n", nodeBinary(), filepath.Join(peersDir(), "tasks.mjs")))
	for name, checks := range taskScenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := conformance{suite: conformance02, target: d.url("modern")}.run(t, "--scenario", name)
			if want := fmt.Sprintf("Passed: %d/%d, 0 failed, 0 warnings", checks, checks); err != nil || !strings.Contains(out, want) {
				t.Errorf("want %q: %v\n%s", want, err, out)
			}
		})
	}
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
