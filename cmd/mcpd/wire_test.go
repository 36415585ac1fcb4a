package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// wire is an MCP client without a library: what is sent and what comes back can be seen whole.
type wire struct {
	url, token, session, version string
	ids                          *atomic.Int64
}

func newWire(url, token string) *wire { return &wire{url: url, token: token, ids: &atomic.Int64{}} }

// answer is one HTTP response with the JSON-RPC response in it, if there is one.
type answer struct {
	Status int
	Header http.Header
	Body   string
	reply
}

type reply struct {
	ID     json.RawMessage `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// do sends a request to the server's address with the client's token, session and version on it.
func (w *wire) do(ctx context.Context, method, body string, header map[string]string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, w.url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	set := map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"Mcp-Session-Id": w.session, "Mcp-Protocol-Version": w.version}
	if w.token != "" {
		set["Authorization"] = "Bearer " + w.token
	}
	for k, v := range header {
		set[k] = v
	}
	for k, v := range set {
		if v != "" {
			req.Header.Set(k, v)
		}
	}
	return http.DefaultClient.Do(req)
}

// call sends one JSON-RPC request and reads its response, from JSON or from an event stream.
func (w *wire) call(ctx context.Context, method string, params any) (answer, error) {
	p, err := json.Marshal(params)
	if err != nil {
		return answer{}, err
	}
	id := w.ids.Add(1)
	resp, err := w.do(ctx, http.MethodPost, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`, id, method, p), nil)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	a := answer{Status: resp.StatusCode, Header: resp.Header}
	body, err := io.ReadAll(resp.Body)
	if a.Body = string(body); err != nil {
		return a, err
	}
	messages := [][]byte{body}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		messages = eventData(bytes.NewReader(body))
	}
	for _, m := range messages {
		var r reply
		if json.Unmarshal(m, &r) == nil && string(r.ID) == fmt.Sprint(id) {
			a.reply = r
		}
	}
	return a, nil
}

func eventData(r io.Reader) (all [][]byte) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		if data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data:")); ok {
			all = append(all, bytes.Clone(bytes.TrimSpace(data)))
		}
	}
	return all
}

// open makes a session of a legacy version.
func (w *wire) open(t testing.TB, version string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	a, err := w.call(ctx, "initialize", map[string]any{"protocolVersion": version, "capabilities": map[string]any{}, "clientInfo": map[string]string{"name": "wire", "version": "1"}})
	if err != nil || a.Status != http.StatusOK || a.Error != nil {
		t.Fatalf("initialize: %v, %d %s", err, a.Status, a.Body)
	}
	if w.session = a.Header.Get("Mcp-Session-Id"); w.session == "" {
		t.Fatalf("initialize: no Mcp-Session-Id in %v", a.Header)
	}
	w.version = version
	resp, err := w.do(ctx, http.MethodPost, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("notifications/initialized: %s, want 202", resp.Status)
	}
}

// tool calls a tool in the open session and returns the text of its first content.
func (w *wire) tool(ctx context.Context, name string, arguments any) (string, error) {
	a, err := w.call(ctx, "tools/call", map[string]any{"name": name, "arguments": arguments})
	if err != nil {
		return "", err
	}
	var r struct {
		Content []struct{ Text string }
		IsError bool
	}
	if a.Status != http.StatusOK || a.Error != nil || json.Unmarshal(a.Result, &r) != nil || len(r.Content) == 0 || r.IsError {
		return "", fmt.Errorf("%d %s", a.Status, strings.TrimSpace(a.Body))
	}
	return r.Content[0].Text, nil
}

// sdkSession connects a client of the official SDK that speaks one protocol version.
func sdkSession(ctx context.Context, url, token, version string) (*mcp.ClientSession, error) {
	client := mcp.NewClient(&mcp.Implementation{Name: "sdk-" + version, Version: "1"}, &mcp.ClientOptions{Capabilities: &mcp.ClientCapabilities{}})
	web := &http.Client{Transport: bearer{token, http.DefaultTransport}}
	var way mcp.Transport = &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: web, DisableStandaloneSSE: true, MaxRetries: -1}
	if version == "2024-11-05" {
		way = &mcp.SSEClientTransport{Endpoint: sseURL(url), HTTPClient: web}
	}
	return client.Connect(ctx, way, &mcp.ClientSessionOptions{ProtocolVersion: version})
}

// sseURL is where a server's clients of HTTP+SSE go.
func sseURL(url string) string { return strings.TrimSuffix(url, "/mcp") + "/sse" }

// sdkCall calls a tool and returns the text of its first content.
func sdkCall(ctx context.Context, s *mcp.ClientSession, name string, arguments any) (string, error) {
	res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: arguments})
	if err != nil {
		return "", err
	}
	if res.IsError || len(res.Content) == 0 {
		return "", fmt.Errorf("tool result %+v", res)
	}
	t, ok := res.Content[0].(*mcp.TextContent)
	if !ok {
		return "", fmt.Errorf("content is %T", res.Content[0])
	}
	return t.Text, nil
}
