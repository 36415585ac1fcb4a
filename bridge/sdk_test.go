package bridge

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// sdkServer is a go-sdk server on pipes, as a worker. cancelled receives a
// value when its hanging tool is called and one when that call is cancelled.
func sdkServer(t *testing.T, versions []string, cancelled chan<- struct{}) func(string) io.ReadWriteCloser {
	return func(string) io.ReadWriteCloser {
		s := mcp.NewServer(&mcp.Implementation{Name: "sdk", Version: "1"}, &mcp.ServerOptions{
			Instructions:              "Use it.",
			PageSize:                  2,
			SupportedProtocolVersions: versions,
			CompletionHandler: func(context.Context, *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
				return &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: []string{"one"}}}, nil
			},
		})
		type in struct {
			Text string `json:"text"`
		}
		mcp.AddTool(s, &mcp.Tool{Name: "echo"}, func(_ context.Context, _ *mcp.CallToolRequest, a in) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: a.Text}}}, nil, nil
		})
		mcp.AddTool(s, &mcp.Tool{Name: "count"}, func(ctx context.Context, r *mcp.CallToolRequest, _ any) (*mcp.CallToolResult, any, error) {
			for i := range 3 {
				_ = r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: float64(i + 1)})
			}
			return &mcp.CallToolResult{Content: []mcp.Content{}}, nil, nil
		})
		mcp.AddTool(s, &mcp.Tool{Name: "hang"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ any) (*mcp.CallToolResult, any, error) {
			cancelled <- struct{}{} // it has begun
			<-ctx.Done()
			cancelled <- struct{}{}
			return nil, nil, ctx.Err()
		})
		s.AddPrompt(&mcp.Prompt{Name: "greet"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: "hi"}}}}, nil
		})
		s.AddResource(&mcp.Resource{Name: "r", URI: "t://r"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
			return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: "t://r", Text: "body"}}}, nil
		})
		nearIn, farOut := io.Pipe()
		farIn, nearOut := io.Pipe()
		done := make(chan struct{})
		t.Cleanup(func() { nearOut.Close(); farOut.Close(); <-done })
		go func() { // ends when its input does
			defer close(done)
			_ = s.Run(context.Background(), &mcp.IOTransport{Reader: farIn, Writer: farOut})
			farOut.Close()
		}()
		return duplex{nearIn, nearOut, []io.Closer{nearOut, farOut}}
	}
}

// TestSDKClients: clients of every revision against servers of both
// generations, all in the SDK's own hands.
func TestSDKClients(t *testing.T) {
	legacy := []string{"2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"}
	for _, era := range []string{"legacy", "modern", "auto"} {
		for _, version := range append([]string{"2026-07-28"}, legacy...) {
			t.Run(era+"/"+version, func(t *testing.T) {
				versions := legacy
				switch era {
				case "modern":
					versions = []string{"2026-07-28"}
				case "auto":
					versions = nil
				}
				callAll(t, versions, version)
			})
		}
	}
}

func callAll(t *testing.T, versions []string, version string) {
	cancelled := make(chan struct{}, 1)
	cfg := DefaultConfig()
	cfg.SSE = true
	s := testServer(t, cfg, nil, sdkServer(t, versions, cancelled))
	web := httptest.NewServer(s)
	defer web.Close()
	defer func() { _ = s.Close(t.Context()) }()
	progress := make(chan float64, 8)
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
			if r.Params.ProgressToken == "mine" {
				progress <- r.Params.Progress
			}
		},
	})
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	cs, err := c.Connect(ctx, sdkTransport(web.URL, version == oldestLegacy), &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	defer cs.Close()
	if got := cs.InitializeResult(); got.ProtocolVersion != version || got.Instructions != "Use it." || got.ServerInfo.Name != "sdk" {
		t.Errorf("introduced as %+v", got)
	}
	var tools []string
	for tool, err := range cs.Tools(ctx, nil) {
		if err != nil {
			t.Fatal(err)
		}
		tools = append(tools, tool.Name)
	}
	if strings.Join(tools, " ") != "count echo hang" {
		t.Errorf("tools over pages: %q", tools)
	}
	text := "line\n\"é\" \\u2028   \U0001f600"
	r, err := cs.CallTool(ctx, &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"text": text}})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Content[0].(*mcp.TextContent).Text; got != text {
		t.Errorf("echo %q, want %q", got, text)
	}
	if p, err := cs.GetPrompt(ctx, &mcp.GetPromptParams{Name: "greet"}); err != nil || len(p.Messages) != 1 {
		t.Errorf("prompt: %v, %v", p, err)
	}
	if p, err := cs.ReadResource(ctx, &mcp.ReadResourceParams{URI: "t://r"}); err != nil || p.Contents[0].Text != "body" {
		t.Errorf("resource: %v, %v", p, err)
	}
	if _, err := cs.ReadResource(ctx, &mcp.ReadResourceParams{URI: "t://none"}); err == nil {
		t.Error("an unknown resource was read")
	}
	if p, err := cs.Complete(ctx, &mcp.CompleteParams{Ref: &mcp.CompleteReference{Type: "ref/prompt", Name: "greet"}, Argument: mcp.CompleteParamsArgument{Name: "a"}}); err != nil || p.Completion.Values[0] != "one" {
		t.Errorf("completion: %v, %v", p, err)
	}
	params := &mcp.CallToolParams{Name: "count"}
	params.SetProgressToken("mine")
	if _, err := cs.CallTool(ctx, params); err != nil {
		t.Error(err)
	}
	for range 3 {
		select {
		case <-progress:
		case <-ctx.Done():
			t.Error("progress was lost")
		}
	}
	cancelOne(ctx, t, cs, cancelled)
}

func sdkTransport(base string, sse bool) mcp.Transport {
	if sse {
		return &mcp.SSEClientTransport{Endpoint: base + "/sse"}
	}
	return &mcp.StreamableClientTransport{Endpoint: base + "/mcp"}
}

func cancelOne(ctx context.Context, t *testing.T, cs *mcp.ClientSession, cancelled <-chan struct{}) {
	ctx2, cancel := context.WithCancel(ctx)
	defer cancel()
	back := make(chan error, 1)
	go func() { // ends with ctx2
		_, err := cs.CallTool(ctx2, &mcp.CallToolParams{Name: "hang"})
		back <- err
	}()
	for range 2 {
		select {
		case <-cancelled:
			cancel()
		case <-ctx.Done():
			t.Fatal("the server was not told of the call or its cancellation")
		}
	}
	if <-back == nil {
		t.Error("a cancelled call came back")
	}
}

// TestSDKQuestions: a server that asks, of both generations, through sessions over both transports.
func TestSDKQuestions(t *testing.T) {
	for i, era := range []string{"legacy", "modern", "legacy", "modern"} {
		sse := i > 1
		t.Run(fmt.Sprintf("%s/sse=%v", era, sse), func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Era, cfg.SSE = era, sse
			s := testServer(t, cfg, nil, asking(t, era))
			web := httptest.NewServer(s)
			defer web.Close()
			defer func() { _ = s.Close(t.Context()) }()
			c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ClientOptions{
				ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
					return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"name": "Ann"}}, nil
				},
			})
			ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
			defer stop()
			cs, err := c.Connect(ctx, sdkTransport(web.URL, sse), &mcp.ClientSessionOptions{ProtocolVersion: "2025-11-25"})
			if err != nil {
				t.Fatal(err)
			}
			defer cs.Close()
			r, err := cs.CallTool(ctx, &mcp.CallToolParams{Name: "ask"})
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Content[0].(*mcp.TextContent).Text; got != "Ann" {
				t.Errorf("answered %q", got)
			}
		})
	}
}

func asking(t *testing.T, era string) func(string) io.ReadWriteCloser {
	return func(string) io.ReadWriteCloser {
		s := mcp.NewServer(&mcp.Implementation{Name: "sdk", Version: "1"}, nil)
		ask := &mcp.ElicitParams{Mode: "form", Message: "Name?", RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string"}}}}
		answer := func(r *mcp.ElicitResult) *mcp.CallToolResult {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint(r.Content["name"])}}}
		}
		mcp.AddTool(s, &mcp.Tool{Name: "ask"}, func(ctx context.Context, r *mcp.CallToolRequest, _ any) (*mcp.CallToolResult, any, error) {
			if era == "legacy" {
				got, err := r.Session.Elicit(ctx, ask)
				if err != nil {
					return nil, nil, err
				}
				return answer(got), nil, nil
			}
			if got, ok := r.Params.InputResponses["k"].(*mcp.ElicitResult); ok {
				return answer(got), nil, nil
			}
			return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"k": ask}}, nil, nil
		})
		nearIn, farOut := io.Pipe()
		farIn, nearOut := io.Pipe()
		done := make(chan struct{})
		t.Cleanup(func() { nearOut.Close(); farOut.Close(); <-done })
		go func() { // ends when its input does
			defer close(done)
			_ = s.Run(context.Background(), &mcp.IOTransport{Reader: farIn, Writer: farOut})
			farOut.Close()
		}()
		return duplex{nearIn, nearOut, []io.Closer{nearOut, farOut}}
	}
}

var _ http.Handler = (*Server)(nil)
