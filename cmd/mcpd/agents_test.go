//go:build !race

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAgents: coding agents sign in through the real pages in Chromium, known by a document of theirs (CIMD) or registered
// (RFC 7591), and call a tool, at hosts of a domain with certificates of a private authority. Only the language model behind
// them is a stand-in: it wants that tool called.
func TestAgents(t *testing.T) {
	t.Parallel()
	need(t, "node", "chromium", "npm:playwright-core", "npm:@anthropic-ai/claude-code-linux-x64", "npm:codex-linux-x64", "npm:opencode-linux-x64")
	model := httptest.NewServer(http.HandlerFunc(standInModel))
	t.Cleanup(model.Close)
	known := startSecure(t, secureDemo+documentsOfAgents)
	registered := startSecure(t, secureDemo+"\n[auth.documents]\nallow = []\n")
	for _, at := range []struct {
		name string
		s    *secureDoor
		run  func(t *testing.T, a *agent)
	}{
		{"claude-code-document", known, claudeCode},
		{"claude-code-registered", registered, claudeCode},
		{"codex-document", known, codex},
		{"codex-registered", registered, codex},
		{"opencode-registered", registered, openCode},
	} {
		t.Run(at.name, func(t *testing.T) {
			a := &agent{t: t, url: at.s.server("demo").URL, model: model.URL, dir: filepath.Join(at.s.dir, at.name)}
			a.environ, a.log = browserEnv(t, at.s.instance, at.name)
			a.environ = append(a.environ, at.s.environ(t)...)
			at.run(t, a)
		})
	}
}

// agent is one coding agent with a home directory of its own.
type agent struct {
	t                    *testing.T
	url, model, dir, log string
	environ              []string
}

// must runs a command of the agent, whose output must have want in it. tty gives it a terminal.
func (a *agent) must(tty bool, want string, command ...string) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	if tty {
		cmd = exec.CommandContext(ctx, "script", "-qec", "'"+strings.Join(command, "' '")+"'", "/dev/null")
	}
	cmd.Env, cmd.Dir, cmd.WaitDelay = a.environ, a.dir, 5*time.Second
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte(want)) {
		a.t.Fatalf("%v: %v, want %q\n%s\nbrowser:\n%s", command, err, want, out, readLog(a.log))
	}
}

func claudeCode(t *testing.T, a *agent) {
	bin := npmFile("@anthropic-ai/claude-code-linux-x64", "claude")
	a.environ = append(a.environ, "DISABLE_TELEMETRY=1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "ENABLE_TOOL_SEARCH=false",
		"ANTHROPIC_BASE_URL="+a.model, "ANTHROPIC_API_KEY=none")
	a.must(false, "demo", bin, "mcp", "add", "--transport", "http", "demo", a.url)
	a.must(true, `Authenticated with "demo"`, bin, "mcp", "login", "demo")
	a.must(false, "Connected", bin, "mcp", "list")
	a.must(false, "the tool said hi there", bin, "-p", "call it", "--allowedTools", "mcp__demo__echo")
}

func codex(t *testing.T, a *agent) {
	bin := npmFile("codex-linux-x64", "vendor/x86_64-unknown-linux-musl/bin/codex")
	a.must(false, "Successfully logged in", bin, "mcp", "add", "demo", "--url", a.url)
	a.environ = append(a.environ, "OPENAI_API_KEY=none")
	a.must(false, "the tool said hi there", bin, "exec", "--skip-git-repo-check",
		"-c", fmt.Sprintf(`model_providers.d={name="d",base_url="%s/v1",env_key="OPENAI_API_KEY"}`, a.model),
		"-c", `model_provider="d"`, "-c", `approval_policy="never"`, "-c", `mcp_servers.demo.default_tools_approval_mode="approve"`, "call it")
}

func openCode(t *testing.T, a *agent) {
	config := fmt.Sprintf(`{"autoupdate":false,"mcp":{"demo":{"type":"remote","url":%q,"enabled":true}},`+
		`"provider":{"d":{"npm":"@ai-sdk/openai-compatible","options":{"baseURL":"%s/v1","apiKey":"none"},"models":{"m":{}}}}}`, a.url, a.model)
	if err := os.WriteFile(filepath.Join(a.dir, "opencode.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	bin := npmFile("opencode-linux-x64", "bin/opencode")
	a.must(true, "Done", bin, "mcp", "auth", "demo")
	a.must(false, "connected", bin, "mcp", "list")
	a.must(false, "the tool said hi there", bin, "run", "--model", "d/m", "call it")
}

// standInModel speaks what the three agents speak to their language models. Until it is told a tool's result it wants
// the tool echo of the server demo called; then it tells what the tool said.
func standInModel(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Method != http.MethodPost {
		http.NotFound(w, r)
		return
	}
	var asked struct {
		Stream   bool
		Messages []json.RawMessage
		Input    []json.RawMessage
	}
	if err := json.Unmarshal(body, &asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	all := append(asked.Messages, asked.Input...)
	var last json.RawMessage
	if len(all) > 0 {
		last = all[len(all)-1]
	}
	told := bytes.Contains(last, []byte("hi there"))
	const arguments, said = `{\"text\":\"hi there\"}`, "the tool said hi there"
	var events []string
	switch {
	case strings.HasSuffix(r.URL.Path, "/messages"):
		block, delta, stop := `{"type":"tool_use","id":"toolu_1","name":"mcp__demo__echo","input":{}}`, `{"type":"input_json_delta","partial_json":"`+arguments+`"}`, "tool_use"
		if told {
			block, delta, stop = `{"type":"text","text":""}`, `{"type":"text_delta","text":"`+said+`"}`, "end_turn"
		}
		events = []string{
			`{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}}`,
			`{"type":"content_block_start","index":0,"content_block":` + block + `}`, `{"type":"content_block_delta","index":0,"delta":` + delta + `}`, `{"type":"content_block_stop","index":0}`,
			`{"type":"message_delta","delta":{"stop_reason":"` + stop + `","stop_sequence":null},"usage":{"output_tokens":1}}`, `{"type":"message_stop"}`,
		}
	case strings.HasSuffix(r.URL.Path, "/responses"):
		item := `{"type":"function_call","id":"fc_1","call_id":"call_1","name":"echo","namespace":"mcp__demo","arguments":"` + arguments + `"}`
		if told {
			item = `{"type":"message","role":"assistant","id":"msg_1","content":[{"type":"output_text","text":"` + said + `"}]}`
		}
		events = []string{`{"type":"response.created","response":{"id":"r"}}`, `{"type":"response.output_item.done","output_index":0,"item":` + item + `}`,
			`{"type":"response.completed","response":{"id":"r","usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}}`}
	case strings.HasSuffix(r.URL.Path, "/chat/completions"):
		delta, stop := `{"role":"assistant","tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"demo_echo","arguments":"`+arguments+`"}}]}`, "tool_calls"
		if told {
			delta, stop = `{"role":"assistant","content":"`+said+`"}`, "stop"
		}
		head := `{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":`
		events = []string{head + delta + `,"finish_reason":null}]}`, head + `{},"finish_reason":"` + stop + `"}]}`, "[DONE]"}
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for _, data := range events {
		var e struct{ Type string }
		_ = json.Unmarshal([]byte(data), &e) // the last line of one of the three is no JSON
		if e.Type != "" {
			fmt.Fprintf(w, "event: %s\n", e.Type)
		}
		fmt.Fprintf(w, "data: %s\n\n", data)
	}
}
