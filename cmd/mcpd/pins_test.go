//go:build !race

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// npmRegistry is a registry with one package, for the real npm.
type npmRegistry struct {
	*httptest.Server
	t      *testing.T
	mu     sync.Mutex
	latest string
	files  map[string][]byte // by version
	asked  int
}

// tinyServer is an MCP server in a file of its own: its tools are words of TOOLS.
const tinyServer = `#!/usr/bin/env node
import { createInterface } from "node:readline";
import { existsSync } from "node:fs";
const { version, tools } = JSON.parse(process.argv[2] ?? "null") ?? META;
if (tools.includes("broken")) { console.error("this version does not start"); process.exit(3); }
const say = (id, result) => console.log(JSON.stringify({ jsonrpc: "2.0", id, result }));
const ran = existsSync(new URL("./ran", import.meta.url)) ? " script" : "";
createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined) return;
  if (method === "initialize") say(id, { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: "tiny", version } });
  else if (method === "tools/list") say(id, { tools: tools.map((name) => ({ name, inputSchema: { type: "object" } })) });
  else if (method === "tools/call") say(id, { content: [{ type: "text", text: version + ran + (process.env.npm_execpath ? " by npx" : "") }] });
  else console.log(JSON.stringify({ jsonrpc: "2.0", id, error: { code: -32601, message: "no such method" } }));
});
`

func newNPMRegistry(t *testing.T) *npmRegistry {
	r := &npmRegistry{t: t, files: map[string][]byte{}}
	r.Server = httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(r.Close)
	return r
}

// publish makes a version the latest.
func (r *npmRegistry) publish(version string, tools ...string) {
	r.t.Helper()
	meta, err := json.Marshal(map[string]any{"version": version, "tools": tools})
	if err != nil {
		r.t.Fatal(err)
	}
	var tgz bytes.Buffer
	zip := gzip.NewWriter(&tgz)
	out := tar.NewWriter(zip)
	for name, text := range map[string]string{
		"package.json": fmt.Sprintf(`{"name":"@tiny/server","version":%q,"type":"module","bin":"cli.js","scripts":{"postinstall":"echo x >ran"}}`, version),
		"cli.js":       strings.Replace(tinyServer, "META", string(meta), 1),
	} {
		if err := out.WriteHeader(&tar.Header{Name: "package/" + name, Mode: 0o755, Size: int64(len(text)), ModTime: time.Unix(1e9, 0)}); err != nil {
			r.t.Fatal(err)
		}
		if _, err := out.Write([]byte(text)); err != nil {
			r.t.Fatal(err)
		}
	}
	if out.Close() != nil || zip.Close() != nil {
		r.t.Fatal("cannot pack")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latest, r.files[version] = version, tgz.Bytes()
}

func (r *npmRegistry) serve(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if file, ok := r.files[strings.TrimSuffix(path.Base(req.URL.Path), ".tgz")]; ok {
		_, _ = w.Write(file)
		return
	}
	if name, err := url.PathUnescape(req.URL.EscapedPath()); err != nil || name != "/@tiny/server" {
		http.NotFound(w, req)
		return
	}
	versions := map[string]any{}
	for v, file := range r.files {
		sum := sha512.Sum512(file)
		versions[v] = map[string]any{
			"name": "@tiny/server", "version": v, "bin": map[string]string{"server": "cli.js"}, "hasInstallScript": true,
			"dist": map[string]string{"tarball": r.URL + "/" + v + ".tgz", "integrity": "sha512-" + base64.StdEncoding.EncodeToString(sum[:])},
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"name": "@tiny/server", "dist-tags": map[string]string{"latest": r.latest}, "versions": versions})
}

func (r *npmRegistry) requests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// TestPinnedPackages: the real npm and npx, and a registry that is this test.
func TestPinnedPackages(t *testing.T) {
	t.Parallel()
	foreign(t)
	need(t, "node", "npx")
	r := newNPMRegistry(t)
	r.publish("1.0.0", "alpha", "beta")
	config := func(more string) string {
		return fmt.Sprintf("[auth]\nmode = \"none\"\n[servers.tiny]\ncommand = \"npx\"\nargs = [\"-y\", \"@tiny/server\"]\nenv = { npm_config_registry = %q }\nisolation = \"shared\"\n%s\n", r.URL, more)
	}
	d := startDaemon(t, config(""), withNode())
	says := func(want string) {
		t.Helper()
		if got := strings.TrimSpace(d.must("call", "tiny", "alpha")); got != want {
			t.Errorf("it is %q, want %q", got, want)
		}
	}
	fails := func(want string, args ...string) {
		t.Helper()
		if _, out, code := d.run("", args...); code != exitFailed || !strings.Contains(out, want) {
			t.Errorf("mcpd %s: exit code %d: %s, want %s", strings.Join(args, " "), code, out, want)
		}
	}
	says("1.0.0")
	if text := d.must("status", "tiny"); !strings.Contains(text, "pinned at 1.0.0; install scripts were not run: @tiny/server") {
		t.Errorf("%s", text)
	}

	r.publish("1.1.0", "alpha", "beta", "gamma")
	d.restart()
	asked := r.requests()
	says("1.0.0") // until somebody asks for another
	if n := r.requests() - asked; n != 0 {
		t.Errorf("a start asked the registry %d times", n)
	}
	if out := d.must("update", "tiny"); out != "tiny: + tool gamma\ntiny: 1.1.0, before 1.0.0\n" {
		t.Errorf("update: %s", out)
	}
	says("1.1.0")
	r.publish("2.0.0", "alpha", "gamma")
	fails("1.1.0 stays: 2.0.0 does not have tool beta any more", "update", "tiny")
	r.publish("2.1.0", "broken")
	fails("1.1.0 stays: 2.1.0 does not work: ", "update", "tiny")
	says("1.1.0")
	r.publish("2.0.0", "alpha", "gamma")
	if out := d.must("update", "--force"); !strings.HasSuffix(out, "tiny: 2.0.0, before 1.1.0\n") {
		t.Errorf("forced update: %s", out)
	}
	says("2.0.0")
	if out := d.must("rollback"); out != "tiny: 1.1.0, before 2.0.0\n" {
		t.Errorf("rollback: %s", out)
	}
	says("1.1.0")

	// A sandbox that does not name the package lets it be read, and installed.
	d.configure(config(fmt.Sprintf("sandbox = { write = [%q], network = false }", d.path("home"))))
	d.must("reload")
	says("1.1.0")

	d.configure(config("install_scripts = true"))
	d.must("reload")
	says("1.1.0 script")
	d.configure(config("pin = false"))
	d.must("reload")
	says("2.0.0 script by npx") // npx takes the newest, and runs its scripts
	fails("nothing is pinned", "update", "tiny")
}

// TestStartWithoutRegistry: what is pinned starts although the registry is gone, and what is not pinned is left to npx, which says why
// that cannot be.
func TestStartWithoutRegistry(t *testing.T) {
	t.Parallel()
	foreign(t)
	need(t, "node", "npx")
	r := newNPMRegistry(t)
	r.publish("1.0.0", "alpha")
	entry := "[servers.%s]\ncommand = \"npx\"\nargs = [\"-y\", \"%s\"]\nenv = { npm_config_registry = %q }\n"
	d := startDaemon(t, "[auth]\nmode = \"none\"\n"+fmt.Sprintf(entry, "here", "@tiny/server", r.URL)+fmt.Sprintf(entry, "lacking", "@tiny/none", r.URL), withNode())
	d.must("start", "here")
	r.Close()
	d.restart()
	if got := strings.TrimSpace(d.must("call", "here", "alpha")); got != "1.0.0" {
		t.Errorf("it is %q", got)
	}
	if _, out, code := d.run("", "start", "lacking"); code != exitFailed || !strings.Contains(out, "npm error") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if text, _, _ := d.run("", "status", "lacking"); !strings.Contains(text, "not pinned, npx runs it: cannot install @tiny/none: ") {
		t.Errorf("%s", text)
	}
}

func TestCatalogueDiff(t *testing.T) {
	t.Parallel()
	was := catalogue{"tool a": {"x"}, "tool b": nil, "prompt p": nil}
	for _, tt := range []struct {
		is          catalogue
		lost, lines string
	}{
		{catalogue{"tool a": {"x"}, "tool b": nil, "prompt p": nil}, "", ""},
		{catalogue{"tool a": nil, "tool b": nil, "tool c": {"y"}, "prompt p": nil}, "", "+ tool c"},
		{catalogue{"tool a": {"x", "y"}, "tool b": nil, "prompt p": nil}, "tool a without y", "! no tool a without y any more"},
		{catalogue{"tool a": {"x"}, "tool p": nil}, "prompt p; tool b", "+ tool p\n- prompt p\n- tool b"},
	} {
		d := was.diff(tt.is)
		if d.lost() != tt.lost || strings.Join(d.lines(), "\n") != tt.lines {
			t.Errorf("%v: lost %q, lines %q", tt.is, d.lost(), d.lines())
		}
	}
	if got := mustHave(&mcp.Tool{}); got != nil {
		t.Errorf("%q", got)
	}
	if got := mustHave(map[string]any{"type": "object", "required": []string{"a"}}); len(got) != 1 || got[0] != "a" {
		t.Errorf("%q", got)
	}
}
