//go:build !race

// What is compared here are the words of foreign servers, a minute of them; the SDK's clients race elsewhere.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// realServer is a server as npm has it, and what is asked of it beyond its lists. In args and env, FILES is a folder that
// every process sees, and OWN one that it has to itself.
type realServer struct {
	name, pkg, entry string
	args             []string
	env              map[string]string
	npx              bool // mcpd starts it as a user's configuration says
	modern           bool // speaks 2026-07-28 on stdio, too
	asks             []ask
}

// ask is a call of a tool, a prompt or a resource: those without a network answer from what they have, the others fail
// in the same way wherever they are.
type ask struct {
	method, name string
	args         map[string]any
}

type object = map[string]any

func tool(name string, args object) ask { return ask{"tools/call", name, args} }

var realServers = []realServer{
	{name: "everything", pkg: "@modelcontextprotocol/server-everything", entry: "dist/index.js", npx: true, asks: []ask{
		tool("echo", object{"message": "hé \"there\"\n\u2028"}), tool("get-sum", object{"a": 2, "b": 40.5}), tool("get-sum", object{"a": "two"}),
		tool("get-tiny-image", nil), tool("get-structured-content", object{"location": "Chicago"}), tool("get-annotated-message", object{"messageType": "error", "includeImage": true}),
		tool("get-resource-links", object{"count": 3}), tool("no-such-tool", nil),
		{"prompts/get", "simple-prompt", nil}, {"prompts/get", "args-prompt", object{"city": "Ulm"}}, {"prompts/get", "no-such-prompt", nil},
		{"resources/read", "demo://resource/static/document/features.md", nil}, {"resources/read", "demo://resource/no/such", nil},
	}},
	{name: "filesystem", pkg: "@modelcontextprotocol/server-filesystem", entry: "dist/index.js", args: []string{"FILES"}, asks: []ask{
		tool("list_allowed_directories", nil), tool("list_directory", object{"path": "FILES"}), tool("directory_tree", object{"path": "FILES"}),
		tool("read_text_file", object{"path": "FILES/a.txt"}), tool("read_text_file", object{"path": "FILES/a.txt", "head": 1}),
		tool("get_file_info", object{"path": "FILES/a.txt"}), tool("search_files", object{"path": "FILES", "pattern": "**/*.md"}),
		tool("read_text_file", object{"path": "FILES/none"}), tool("read_text_file", object{"path": "/etc/passwd"}), tool("read_text_file", nil),
	}},
	{name: "memory", pkg: "@modelcontextprotocol/server-memory", entry: "dist/index.js", env: map[string]string{"MEMORY_FILE_PATH": "OWN/memory.jsonl"}, asks: []ask{
		tool("read_graph", nil),
		tool("create_entities", object{"entities": []object{{"name": "Ann", "entityType": "person", "observations": []string{"né 1970"}}, {"name": "Bo", "entityType": "person", "observations": []string{}}}}),
		tool("create_relations", object{"relations": []object{{"from": "Ann", "to": "Bo", "relationType": "knows"}}}),
		tool("read_graph", nil), tool("search_nodes", object{"query": "1970"}), tool("open_nodes", object{"names": []string{"Bo"}}),
		tool("delete_entities", object{"entityNames": []string{"Ann", "Bo"}}), tool("read_graph", nil), tool("create_entities", object{"entities": "none"}),
	}},
	{name: "context7", pkg: "@upstash/context7-mcp", entry: "dist/index.js", modern: true, asks: []ask{
		tool("resolve-library-id", object{"query": "routing", "libraryName": "express"}), tool("query-docs", object{"libraryId": "/expressjs/express", "query": "routing"}),
		tool("resolve-library-id", nil),
	}},
	{name: "firecrawl", pkg: "firecrawl-mcp", entry: "dist/index.js", env: map[string]string{"FIRECRAWL_API_KEY": "fc-dummy", "FIRECRAWL_API_URL": nowhere}, asks: []ask{
		tool("firecrawl_scrape", object{"url": "https://example.com"}), tool("firecrawl_scrape", nil), tool("no_such_tool", nil),
	}},
	{name: "linkup", pkg: "linkup-mcp-server", entry: "build/index.js", env: map[string]string{"LINKUP_API_KEY": "dummy"}, asks: []ask{
		tool("search-web", object{"query": "news", "depth": "standard"}), tool("search-web", nil),
	}},
	{name: "perplexity", pkg: "@perplexity-ai/mcp-server", entry: "dist/index.js", env: map[string]string{"PERPLEXITY_API_KEY": "dummy", "PERPLEXITY_BASE_URL": nowhere}, asks: []ask{
		tool("perplexity_ask", object{"messages": []object{{"role": "user", "content": "news?"}}}), tool("perplexity_search", object{"query": "news"}), tool("perplexity_ask", nil),
	}},
}

// nowhere is an address at which nobody listens. It is also the proxy of the servers, so that they fail at once and in the
// same way with a network and without.
const nowhere = "http://127.0.0.1:9"

// TestRealServers: what a real server lists and answers is the same through mcpd, for clients of every revision, as over
// bare stdio.
func TestRealServers(t *testing.T) {
	t.Parallel()
	foreign(t)
	need(t, "node", "npx")
	for _, s := range realServers {
		need(t, "npm:"+s.pkg)
	}
	var config strings.Builder
	config.WriteString("[auth]\nmode = \"none\"\n")
	d := newInstance(t, "", withNode())
	for _, folder := range []string{"files", "files/sub", "own", "bare"} {
		if err := os.Mkdir(d.path(folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for file, text := range map[string]string{"a.txt": "first\nzweité\n", "sub/b.md": "# b\n"} {
		if err := os.WriteFile(filepath.Join(d.path("files"), file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range realServers {
		argv, environ := s.command(d, d.path("own"))
		if s.npx {
			argv = append([]string{"npx", "-y", s.pkg}, argv[2:]...)
		}
		fmt.Fprintf(&config, "\n[servers.%s]\ncommand = %q\nargs = %s\ndir = %q\nsse = true\ntimeouts = { start = \"60s\" }\n[servers.%[1]s.env]\n", s.name, argv[0], list(argv[1:]), peersDir())
		for k, v := range environ {
			fmt.Fprintf(&config, "%s = %q\n", k, v)
		}
	}
	d.configure(config.String())
	d.start()
	for _, s := range realServers {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for _, version := range revisions() {
				bare := s.bare(t, d, version)
				served := s.served(t, d, version)
				bare.compare(t, served, version)
				t.Logf("%s: %s", version, served)
			}
		})
	}
}

// list is a TOML array.
func list(words []string) string {
	b, _ := json.Marshal(words)
	return string(b)
}

// command is how the server is started, and what it has in its environment.
func (s *realServer) command(d *instance, own string) (argv []string, environ map[string]string) {
	fill := func(v string) string { return strings.NewReplacer("FILES", d.path("files"), "OWN", own).Replace(v) }
	argv = []string{nodeBinary(), npmFile(s.pkg, s.entry)}
	for _, a := range s.args {
		argv = append(argv, fill(a))
	}
	environ = map[string]string{"NODE_USE_ENV_PROXY": "1", "HTTP_PROXY": nowhere, "HTTPS_PROXY": nowhere, "NO_PROXY": "127.0.0.1", "NODE_NO_WARNINGS": "1"}
	for k, v := range s.env {
		environ[k] = fill(v)
	}
	return argv, environ
}

// said is what a server said, by what it was asked.
type said struct {
	order []string
	raw   map[string]object
}

// String counts what was said.
func (s said) String() string {
	var out []string
	results, failures, faults := 0, 0, 0
	for _, what := range s.order {
		result, ok := s.raw[what]["result"].(object)
		items := 0
		for _, v := range result {
			if list, ok := v.([]any); ok {
				items += len(list)
			}
		}
		switch {
		case strings.HasSuffix(what, "/list"):
			out = append(out, fmt.Sprintf("%s %d", what, items))
		case !ok:
			faults++
		case result["isError"] == true:
			failures++
		default:
			results++
		}
	}
	return fmt.Sprintf("%s; %d results, %d tools that failed, %d errors", strings.Join(out, ", "), results, failures, faults)
}

// bare asks the server over its own pipes.
func (s *realServer) bare(t *testing.T, d *instance, version string) said {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	own := filepath.Join(d.path("bare"), s.name+version)
	if err := os.Mkdir(own, 0o700); err != nil {
		t.Fatal(err)
	}
	argv, environ := s.command(d, own)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = peersDir(), []string{withNode(), "HOME=" + d.path("home"), "LANG=C.UTF-8"}, 5*time.Second
	for k, v := range environ {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		in.Close()
		_ = cmd.Wait() // some servers make an error of it
	}()
	tape := &tape{}
	return s.converse(ctx, t, d, version, &mcp.IOTransport{Reader: tape.copy(out), Writer: in}, tape)
}

// served asks it through mcpd.
func (s *realServer) served(t *testing.T, d *instance, version string) said {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tape := &tape{}
	web := &http.Client{Transport: tape}
	url := d.url(s.name)
	var way mcp.Transport = &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: web, DisableStandaloneSSE: true, MaxRetries: -1}
	if version == "2024-11-05" {
		way = &mcp.SSEClientTransport{Endpoint: sseURL(url), HTTPClient: web}
	}
	return s.converse(ctx, t, d, version, way, tape)
}

// converse asks for the server's lists, as far as it has them, and everything that it is to be asked.
func (s *realServer) converse(ctx context.Context, t *testing.T, d *instance, version string, way mcp.Transport, tape *tape) said {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "sdk", Version: "1"}, &mcp.ClientOptions{Capabilities: &mcp.ClientCapabilities{}})
	cs, err := client.Connect(ctx, way, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatalf("%s %s: %v", s.name, version, err)
	}
	defer cs.Close()
	out := said{raw: map[string]object{}}
	note := func(what string, err error) {
		t.Helper()
		var wire *jsonrpc.Error
		if err != nil && !errors.As(err, &wire) {
			t.Fatalf("%s %s: %s: %v", s.name, version, what, err)
		}
		out.order = append(out.order, what)
		out.raw[what] = tape.last(t)
	}
	note("introduction", nil)
	caps := cs.InitializeResult().Capabilities
	if caps.Tools != nil {
		_, err := cs.ListTools(ctx, nil)
		note("tools/list", err)
	}
	if caps.Prompts != nil {
		_, err := cs.ListPrompts(ctx, nil)
		note("prompts/list", err)
	}
	if caps.Resources != nil {
		_, err := cs.ListResources(ctx, nil)
		note("resources/list", err)
		_, err = cs.ListResourceTemplates(ctx, nil)
		note("resources/templates/list", err)
	}
	for i, a := range s.asks {
		var err error
		switch a.method {
		case "tools/call":
			_, err = cs.CallTool(ctx, &mcp.CallToolParams{Name: a.name, Arguments: a.filled(d)})
		case "prompts/get":
			words := map[string]string{}
			for k, v := range a.args {
				words[k] = fmt.Sprint(v)
			}
			_, err = cs.GetPrompt(ctx, &mcp.GetPromptParams{Name: a.name, Arguments: words})
		case "resources/read":
			_, err = cs.ReadResource(ctx, &mcp.ReadResourceParams{URI: a.name})
		}
		note(fmt.Sprintf("%d %s %s", i, a.method, a.name), err)
	}
	return out
}

// filled are the arguments with the folder's name in them.
func (a ask) filled(d *instance) object {
	out := object{}
	for k, v := range a.args {
		if s, ok := v.(string); ok {
			v = strings.ReplaceAll(s, "FILES", d.path("files"))
		}
		out[k] = v
	}
	return out
}

// compare demands the same of both, but for what the protocol demands to be different.
func (bare said) compare(t *testing.T, served said, version string) {
	t.Helper()
	if !slices.Equal(bare.order, served.order) {
		t.Fatalf("%s: over stdio %q, through mcpd %q", version, bare.order, served.order)
	}
	for _, what := range bare.order {
		if _, ok := bare.raw[what]["result"]; strings.HasSuffix(what, "/list") && !ok {
			t.Errorf("%s: %s: %v", version, what, bare.raw[what])
		}
		demanded(t, version, what, served.raw[what])
		want, got := alike(bare.raw[what], version), alike(served.raw[what], version)
		if !reflect.DeepEqual(want, got) {
			a, _ := json.MarshalIndent(want, "", " ")
			b, _ := json.MarshalIndent(got, "", " ")
			t.Errorf("%s: %s differs\nover stdio:\n%.3000s\nthrough mcpd:\n%.3000s\nfirst difference: %s", version, what, a, b, difference("", want, got))
		}
	}
}

// difference says where two values differ.
func difference(at string, a, b any) string {
	x, ok1 := a.(object)
	y, ok2 := b.(object)
	if ok1 && ok2 {
		for k := range x {
			if d := difference(at+"."+k, x[k], y[k]); d != "" {
				return d
			}
		}
		for k := range y {
			if _, ok := x[k]; !ok {
				return at + "." + k + " is not there over stdio"
			}
		}
		return ""
	}
	v, ok1 := a.([]any)
	w, ok2 := b.([]any)
	if ok1 && ok2 && len(v) == len(w) {
		for i := range v {
			if d := difference(fmt.Sprintf("%s[%d]", at, i), v[i], w[i]); d != "" {
				return d
			}
		}
		return ""
	}
	if !reflect.DeepEqual(a, b) {
		return fmt.Sprintf("%s: %.300v / %.300v", at, a, b)
	}
	return ""
}

// demanded checks what a result must and must not have in a revision, whatever the server gave.
func demanded(t *testing.T, version, what string, raw object) {
	t.Helper()
	result, ok := raw["result"].(object)
	if !ok {
		return
	}
	kind, has := result["resultType"]
	if version < "2026-07-28" {
		if has {
			t.Errorf("%s: %s: a client of sessions is given resultType", version, what)
		}
		return
	}
	if kind != "complete" { // MCP 2026-07-28, basic
		t.Errorf("%s: resultType is %v", what, kind)
	}
	list := strings.HasSuffix(what, "/list") || strings.Contains(what, "resources/read") || what == "introduction"
	if _, isNumber := result["ttlMs"].(json.Number); list && (!isNumber || result["cacheScope"] != "private") { // MCP 2026-07-28, caching
		t.Errorf("%s: ttlMs %v, cacheScope %v", what, result["ttlMs"], result["cacheScope"])
	}
	meta, _ := result["_meta"].(object)
	if _, ok := meta[serverInfo].(object); !ok {
		t.Errorf("%s: no %s", what, serverInfo)
	}
}

const serverInfo = "io.modelcontextprotocol/serverInfo"

// alike is an answer without what differs between the generations of the protocol.
func alike(raw object, version string) any {
	if fault, ok := raw["error"].(object); ok {
		if version >= "2026-07-28" && fmt.Sprint(fault["code"]) == "-32002" {
			fault["code"] = json.Number("-32602") // -32002 must not be emitted any more (MCP 2026-07-28, basic)
		}
		return fault
	}
	result, ok := raw["result"].(object)
	if !ok {
		return raw
	}
	meta, _ := result["_meta"].(object)
	info := result["serverInfo"]
	if info == nil {
		info = meta[serverInfo] // where the modern generation has it
	}
	if caps, ok := result["capabilities"].(object); ok {
		// What a server says of itself, in either generation's form. The tasks of 2025-11-25 are not for modern clients.
		if version >= "2026-07-28" {
			delete(caps, "tasks")
		}
		return object{"capabilities": caps, "serverInfo": info, "instructions": result["instructions"]}
	}
	// A modern result has these; clients of sessions put up with the last two.
	delete(result, "resultType")
	delete(result, "ttlMs")
	delete(result, "cacheScope")
	if delete(meta, serverInfo); len(meta) == 0 {
		delete(result, "_meta")
	}
	tools, _ := result["tools"].([]any)
	for _, v := range tools {
		// taskSupport speaks of the tasks of 2025-11-25, which a modern client does not have.
		tool, _ := v.(object)
		if execution, ok := tool["execution"].(object); ok && version >= "2026-07-28" {
			if delete(execution, "taskSupport"); len(execution) == 0 {
				delete(tool, "execution")
			}
		}
	}
	return result
}

// tape keeps the last response that came by, as it was on the wire: over pipes, in JSON bodies and in event streams.
type tape struct {
	mu  sync.Mutex
	raw []byte
}

// RoundTrip is for the clients of HTTP.
func (p *tape) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		resp.Body = p.copy(resp.Body)
	}
	return resp, err
}

func (p *tape) copy(r io.ReadCloser) io.ReadCloser { return &taped{ReadCloser: r, tape: p} }

// last is the last response.
func (p *tape) last(t *testing.T) object {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var out object
	d := json.NewDecoder(bytes.NewReader(p.raw))
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		t.Fatalf("%v: %s", err, p.raw)
	}
	delete(out, "id")
	return out
}

// taped notes the lines that are read.
type taped struct {
	io.ReadCloser
	tape *tape
	part []byte
}

func (r *taped) Read(b []byte) (int, error) {
	n, err := r.ReadCloser.Read(b)
	r.part = append(r.part, b[:n]...)
	for {
		line, rest, ok := bytes.Cut(r.part, []byte("\n"))
		if !ok && err == nil {
			return n, err
		}
		r.note(line)
		if r.part = rest; !ok {
			return n, err
		}
	}
}

func (r *taped) note(line []byte) {
	line = bytes.TrimPrefix(line, []byte("data: "))
	var m reply
	if json.Unmarshal(line, &m) != nil || m.Result == nil && m.Error == nil {
		return
	}
	r.tape.mu.Lock()
	defer r.tape.mu.Unlock()
	r.tape.raw = bytes.Clone(line)
}
