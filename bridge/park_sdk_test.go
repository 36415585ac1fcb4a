//lint:file-ignore SA1019 servers ask for roots and samples as long as older revisions are spoken

package bridge

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// curious is a server of the older revisions that asks everything there is to
// ask, one after the other ("chain") or all at once ("fan").
func curious(t *testing.T) func(string) io.ReadWriteCloser {
	return func(string) io.ReadWriteCloser {
		s := mcp.NewServer(&mcp.Implementation{Name: "sdk", Version: "1"}, &mcp.ServerOptions{
			SupportedProtocolVersions: []string{"2025-11-25"},
		})
		ask := &mcp.ElicitParams{Mode: "form", Message: "Name?", RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string"}}}}
		visit := &mcp.ElicitParams{Mode: "url", Message: "Sign in", URL: "https://a.example/", ElicitationID: "e1"}
		sample := &mcp.CreateMessageParams{MaxTokens: 1, Messages: []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: "Hi"}}}}
		told := func(e, u *mcp.ElicitResult, text string, r *mcp.ListRootsResult) *mcp.CallToolResult {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint(e.Content["name"], " ", u.Action, " ", text, " ", r.Roots[0].URI)}}}
		}
		mcp.AddTool(s, &mcp.Tool{Name: "chain"}, func(ctx context.Context, r *mcp.CallToolRequest, _ any) (*mcp.CallToolResult, any, error) {
			e, err := r.Session.Elicit(ctx, ask)
			if err != nil {
				return nil, nil, err
			}
			u, err := r.Session.Elicit(ctx, visit)
			if err != nil {
				return nil, nil, err
			}
			m, err := r.Session.CreateMessage(ctx, sample)
			if err != nil {
				return nil, nil, err
			}
			_ = r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: 1})
			l, err := r.Session.ListRoots(ctx, nil)
			if err != nil {
				return nil, nil, err
			}
			return told(e, u, m.Content.(*mcp.TextContent).Text, l), nil, nil
		})
		mcp.AddTool(s, &mcp.Tool{Name: "fan"}, func(_ context.Context, r *mcp.CallToolRequest, _ any) (*mcp.CallToolResult, any, error) {
			in := r.Params.InputResponses
			if in == nil {
				return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"e": ask, "u": visit, "s": sample, "r": &mcp.ListRootsParams{}}}, nil, nil
			}
			m := in["s"].(*mcp.CreateMessageWithToolsResult)
			return told(in["e"].(*mcp.ElicitResult), in["u"].(*mcp.ElicitResult), m.Content[0].(*mcp.TextContent).Text, in["r"].(*mcp.ListRootsResult)), nil, nil
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

// TestSDKParked: a client of 2026-07-28 that can be asked everything, and a
// server of 2025-11-25 that asks it, both in the SDK's hands, many calls at once.
func TestSDKParked(t *testing.T) {
	for _, era := range []string{"legacy", "auto"} {
		t.Run(era, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Era = era
			s := testServer(t, cfg, nil, curious(t))
			web := httptest.NewServer(s)
			defer web.Close()
			defer func() { _ = s.Close(t.Context()) }()
			progress := make(chan struct{}, 8)
			c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ClientOptions{
				Capabilities: &mcp.ClientCapabilities{
					Elicitation: &mcp.ElicitationCapabilities{Form: &mcp.FormElicitationCapabilities{}, URL: &mcp.URLElicitationCapabilities{}},
					Sampling:    &mcp.SamplingCapabilities{}, RootsV2: &mcp.RootCapabilities{},
				},
				ElicitationHandler: func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
					if r.Params.Mode == "url" {
						return &mcp.ElicitResult{Action: "accept"}, nil
					}
					return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"name": "Ann"}}, nil
				},
				CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
					return &mcp.CreateMessageResult{Role: "assistant", Model: "m", Content: &mcp.TextContent{Text: "hello"}}, nil
				},
				ProgressNotificationHandler: func(context.Context, *mcp.ProgressNotificationClientRequest) { progress <- struct{}{} },
			})
			c.AddRoots(&mcp.Root{URI: "file:///a"})
			ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
			defer stop()
			cs, err := c.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: web.URL + "/mcp"}, &mcp.ClientSessionOptions{ProtocolVersion: "2026-07-28"})
			if err != nil {
				t.Fatal(err)
			}
			defer cs.Close()
			for _, tool := range []string{"chain", "fan"} {
				params := &mcp.CallToolParams{Name: tool}
				params.SetProgressToken("mine")
				r, err := cs.CallTool(ctx, params)
				if err != nil {
					t.Fatalf("%s: %v", tool, err)
				}
				if got := r.Content[0].(*mcp.TextContent).Text; got != "Ann accept hello file:///a" {
					t.Errorf("%s answered %q", tool, got)
				}
			}
			select {
			case <-progress:
			case <-ctx.Done():
				t.Error("progress after a question was lost")
			}
			if n := s.Stats().Parked; n != 0 {
				t.Errorf("%d calls are still parked", n)
			}
			atOnce(ctx, t, cs)
		})
	}
}

// atOnce: whichever call a question is taken for, every one of them gets its answer.
func atOnce(ctx context.Context, t *testing.T, cs *mcp.ClientSession) {
	back := make(chan string)
	for range 6 {
		go func() { // ends with ctx at the latest
			r, err := cs.CallTool(ctx, &mcp.CallToolParams{Name: "chain"})
			if err != nil {
				back <- err.Error()
				return
			}
			back <- r.Content[0].(*mcp.TextContent).Text
		}()
	}
	for range 6 {
		if got := <-back; got != "Ann accept hello file:///a" {
			t.Errorf("at once: %q", got)
		}
	}
}
