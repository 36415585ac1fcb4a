//go:build !race

package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// pythonIndex is a package index (peps.python.org/pep-0503) with one package, for the real uv.
type pythonIndex struct {
	*httptest.Server
	t     *testing.T
	mu    sync.Mutex
	files map[string][]byte // by name of the file
	asked int
}

// tinyPython is an MCP server in a module of its own: META are its version and tools.
const tinyPython = `import json, os, sys
META = json.loads('''META''')
def main():
    if "broken" in META["tools"]:
        sys.exit("this version does not start")
    for line in sys.stdin:
        call = json.loads(line)
        method = call["method"]
        if "id" not in call:
            continue
        if method == "initialize":
            said = {"result": {"protocolVersion": call["params"]["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "tiny", "version": META["version"]}}}
        elif method == "tools/list":
            said = {"result": {"tools": [{"name": n, "inputSchema": {"type": "object"}} for n in META["tools"]]}}
        elif method == "tools/call":
            words = [META["version"], os.path.basename(sys.argv[0])] + sys.argv[1:] + (["by uvx"] if os.path.join("", "archive-v0", "") in sys.prefix else [])
            said = {"result": {"content": [{"type": "text", "text": " ".join(words)}]}}
        else:
            said = {"error": {"code": -32601, "message": "no such method"}}
        print(json.dumps({"jsonrpc": "2.0", "id": call["id"], **said}), flush=True)
`

func newPythonIndex(t *testing.T) *pythonIndex {
	r := &pythonIndex{t: t, files: map[string][]byte{}}
	r.Server = httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(r.Close)
	return r
}

// publish makes a wheel of a version (packaging.python.org, binary distribution format).
func (r *pythonIndex) publish(version string, tools ...string) {
	r.t.Helper()
	meta, err := json.Marshal(map[string]any{"version": version, "tools": tools})
	if err != nil {
		r.t.Fatal(err)
	}
	info := "tiny_server-" + version + ".dist-info/"
	files := [][2]string{
		{"tiny_server.py", strings.Replace(tinyPython, "'''META'''", "'''"+string(meta)+"'''", 1)},
		{info + "METADATA", "Metadata-Version: 2.1\nName: tiny-server\nVersion: " + version + "\n"},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: mcpd\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{info + "entry_points.txt", "[console_scripts]\ntiny-server = tiny_server:main\nother = tiny_server:main\n"},
	}
	record := info + "RECORD,,\n"
	for _, f := range files {
		sum := sha256.Sum256([]byte(f[1]))
		record = fmt.Sprintf("%s,sha256=%s,%d\n", f[0], base64.RawURLEncoding.EncodeToString(sum[:]), len(f[1])) + record
	}
	var wheel bytes.Buffer
	out := zip.NewWriter(&wheel)
	for _, f := range append(files, [2]string{info + "RECORD", record}) {
		w, err := out.Create(f[0])
		if err == nil {
			_, err = w.Write([]byte(f[1]))
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files["tiny_server-"+version+"-py3-none-any.whl"] = wheel.Bytes()
}

func (r *pythonIndex) serve(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if file, ok := r.files[path.Base(req.URL.Path)]; ok {
		http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(file))
		return
	}
	if req.URL.Path != "/simple/tiny-server/" {
		http.NotFound(w, req)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	for name, file := range r.files {
		_, _ = fmt.Fprintf(w, "<a href=\"../../files/%s#sha256=%x\">%s</a>\n", name, sha256.Sum256(file), name)
	}
}

func (r *pythonIndex) requests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// withUV is a PATH on which there are uv and Python, or the test is left out: neither Debian nor npm has a uv that one could
// rely on, so these tests are for machines where it was installed (docs.astral.sh/uv).
func withUV(t *testing.T) string {
	t.Helper()
	foreign(t)
	for _, name := range []string{"uv", "uvx", "python3"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip(err)
		}
	}
	// The system's Python goes first: that of a version manager is behind a shell script, and uv asks it often.
	return "PATH=" + strings.Join([]string{"/usr/bin", os.Getenv("PATH")}, string(os.PathListSeparator))
}

// uvxServer is the entry of a server that uvx, or whatever command is, runs.
func (r *pythonIndex) uvxServer(name, command, more string) string {
	words := strings.Fields(command)
	args, err := json.Marshal(words[1:])
	if err != nil {
		r.t.Fatal(err)
	}
	return fmt.Sprintf("[servers.%s]\ncommand = %q\nargs = %s\nenv = { UV_DEFAULT_INDEX = %q }\nisolation = \"shared\"\n%s\n", name, words[0], args, r.URL+"/simple", more)
}

// TestPinnedPython: the real uv, and an index that is this test.
func TestPinnedPython(t *testing.T) {
	t.Parallel()
	env := withUV(t)
	r := newPythonIndex(t)
	r.publish("1.0.0", "alpha", "beta")
	config := func(more string) string {
		return "[auth]\nmode = \"none\"\n" + r.uvxServer("tiny", "uvx tiny-server --flag", more) + r.uvxServer("exact", "uv tool run --from tiny_server==1.0.0 other", "")
	}
	d := startDaemon(t, config(""), env)
	says := func(server, want string) {
		t.Helper()
		if got := strings.TrimSpace(d.must("call", server, "alpha")); got != want {
			t.Errorf("%s is %q, want %q", server, got, want)
		}
	}
	fails := func(want string, args ...string) {
		t.Helper()
		if _, out, code := d.run("", args...); code != exitFailed || !strings.Contains(out, want) {
			t.Errorf("mcpd %s: exit code %d: %s, want %s", strings.Join(args, " "), code, out, want)
		}
	}
	says("tiny", "1.0.0 tiny-server --flag")
	says("exact", "1.0.0 other")
	if text := d.must("status", "tiny"); !strings.Contains(text, "tiny-server (Python), pinned at 1.0.0") {
		t.Errorf("%s", text)
	}
	for _, pid := range d.pids("tiny") {
		if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && !bytes.Contains(line, []byte("/venv/bin/python\x00")) {
			t.Errorf("the worker is %q", line)
		}
	}

	r.publish("1.1.0", "alpha", "beta", "gamma")
	d.restart()
	asked := r.requests()
	says("tiny", "1.0.0 tiny-server --flag") // until somebody asks for another
	if n := r.requests() - asked; n != 0 {
		t.Errorf("a start asked the index %d times", n)
	}
	if out := d.must("update"); !slices.Equal(slices.Sorted(strings.Lines(out)), []string{"exact: 1.0.0 is the newest\n", "tiny: + tool gamma\n", "tiny: 1.1.0, before 1.0.0\n"}) {
		t.Errorf("update: %s", out)
	}
	says("tiny", "1.1.0 tiny-server --flag")
	says("exact", "1.0.0 other")
	if out := d.must("rollback"); out != "tiny: 1.0.0, before 1.1.0\n" {
		t.Errorf("rollback: %s", out)
	}

	// A sandbox that does not name the package lets it be read, and installed.
	d.configure(config(fmt.Sprintf("sandbox = { write = [%q], network = false }", d.path("tmp"))))
	d.must("reload")
	says("tiny", "1.0.0 tiny-server --flag")

	r.publish("2.0.0", "alpha")
	d.configure(config("pin = false"))
	d.must("reload")
	says("tiny", "2.0.0 tiny-server --flag by uvx") // uvx takes the newest
	fails("nothing is pinned", "update", "tiny")

	// uvx waits for the program that it started, and both end.
	tree := d.pids("tiny")
	byThread, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", tree[0]))
	for _, file := range byThread {
		children, failed := os.ReadFile(file)
		for _, child := range strings.Fields(string(children)) {
			n, wrong := strconv.Atoi(child)
			tree, err = append(tree, n), errors.Join(err, wrong)
		}
		err = errors.Join(err, failed)
	}
	if err != nil || len(tree) != 2 {
		t.Errorf("uvx and what it started are %d, %v", tree, err)
	}
	d.must("stop", "tiny")
	if slices.ContainsFunc(tree, func(pid int) bool { return syscall.Kill(pid, 0) == nil }) {
		t.Errorf("of %d some live", tree)
	}
}

// TestPythonThatChanged: what was pinned comes back if it was lost, without asking which version, and nothing else comes in its place; what
// would have to be built is left to uvx.
func TestPythonThatChanged(t *testing.T) {
	t.Parallel()
	env := withUV(t)
	r := newPythonIndex(t)
	r.publish("1.0.0", "alpha")
	leaky := "[servers.leaky]\ncommand = \"uvx\"\nargs = [\"tiny-server\"]\nenv = { UV_DEFAULT_INDEX = \"" + r.URL + "/simple\", UV_OVERRIDE = \"/nowhere/${PASSWORD}\" }\n"
	d := startDaemon(t, "[auth]\nmode = \"none\"\n"+r.uvxServer("tiny", "uvx tiny-server", "")+r.uvxServer("none", "uvx lacking-server", "")+leaky, env, "PASSWORD=hunter2hunter2")
	d.must("start", "tiny")
	r.publish("1.1.0", "alpha")
	lose := func() {
		t.Helper()
		d.stop()
		if err := errors.Join(os.RemoveAll(d.path("state/packages")), os.RemoveAll(d.path("home/.cache"))); err != nil {
			t.Fatal(err)
		}
		d.start()
	}
	lose()
	if got := strings.TrimSpace(d.must("call", "tiny", "alpha")); got != "1.0.0 tiny-server" {
		t.Errorf("it came back as %q", got)
	}
	r.publish("1.0.0", "alpha", "evil")
	lose()
	for range 2 { // the second time from memory
		if _, out, code := d.run("", "start", "tiny"); code != exitFailed || !strings.Contains(out, "cannot trust the package") {
			t.Errorf("something else under the same version: exit code %d: %s", code, out)
		}
	}
	if _, out, code := d.run("", "start", "none"); code != exitFailed || !strings.Contains(out, "lacking-server was not found") {
		t.Errorf("exit code %d: %s", code, out)
	}
	d.run("", "start", "leaky")
	text, _, _ := d.run("", "status", "leaky")
	if text += d.must("logs", "leaky") + d.log.String(); !strings.Contains(text, "uvx runs it: cannot install tiny-server 1.0.0: uv says: error: File not found: `/nowhere/***`") || strings.Contains(text, "hunter2") {
		t.Errorf("%s", text)
	}
	if text, _, _ := d.run("", "status", "none"); !strings.Contains(text, "not pinned, uvx runs it: cannot install lacking-server (Python): uv says: No solution found") {
		t.Errorf("%s", text)
	}
}
