package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// demoClient talks to the demo server over pipes in memory; version "" lets the SDK choose.
func demoClient(t *testing.T, version string, o *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	ct, st := mcp.NewInMemoryTransports()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() { done <- demoServer().Run(ctx, st) }() // ends with the session
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, o).Connect(ctx, ct, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close(); <-done })
	return session
}

func callText(t *testing.T, s *mcp.ClientSession, tool string, args map[string]any) string {
	t.Helper()
	res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, c := range res.Content {
		if tc, ok := c.(*mcp.TextContent); ok {
			b.WriteString(tc.Text)
		}
	}
	return b.String()
}

func TestDemoServer(t *testing.T) {
	for _, version := range []string{"2025-06-18", "2025-11-25", "2026-07-28"} {
		t.Run(version, func(t *testing.T) {
			progress := make(chan float64, 4)
			s := demoClient(t, version, &mcp.ClientOptions{
				ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
					return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"name": "Ada"}}, nil
				},
				ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { progress <- r.Params.Progress },
			})
			if got := callText(t, s, "echo", map[string]any{"text": "hi"}); got != "hi" {
				t.Errorf("echo = %q", got)
			}
			if got := callText(t, s, "time", map[string]any{"zone": "Europe/Berlin"}); !strings.Contains(got, "Europe/Berlin") {
				t.Errorf("time = %q", got)
			}
			if got := callText(t, s, "time", map[string]any{"zone": "Nowhere"}); !strings.Contains(got, "IANA") {
				t.Errorf("time in an unknown zone = %q", got)
			}
			if got := callText(t, s, "greet", nil); got != "Hello, Ada!" {
				t.Errorf("greet = %q", got)
			}
			params := &mcp.CallToolParams{Name: "slow", Arguments: map[string]any{"seconds": 1}}
			params.SetProgressToken("p")
			if _, err := s.CallTool(t.Context(), params); err != nil {
				t.Fatal(err)
			}
			select {
			case p := <-progress:
				if p != 1 {
					t.Errorf("progress = %v", p)
				}
			case <-time.After(5 * time.Second):
				t.Error("slow reported no progress")
			}
		})
	}
}
