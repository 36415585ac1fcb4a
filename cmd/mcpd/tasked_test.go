package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// TestTaskedTool: server-everything has a tool that can only be called as a task of 2025-11-25 and asks its client in the
// middle of it. The SDK's client knows nothing of tasks; it speaks 2026-07-28 and is asked, and given the report.
func TestTaskedTool(t *testing.T) {
	t.Parallel()
	foreign(t)
	need(t, "node", "npm:@modelcontextprotocol/server-everything")
	d := startDaemon(t, fmt.Sprintf("[auth]\nmode = \"none\"\n\n[servers.everything]\ncommand = %q\nargs = [%q]\n",
		nodeBinary(), npmFile("@modelcontextprotocol/server-everything", "dist/index.js")))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	asked := 0
	client := mcp.NewClient(&mcp.Implementation{Name: "c", Version: "1"}, &mcp.ClientOptions{
		ElicitationHandler: func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			asked++
			return &mcp.ElicitResult{Action: "decline"}, nil
		},
	})
	s, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: d.url("everything"), HTTPClient: http.DefaultClient}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if v := s.InitializeResult().ProtocolVersion; v != "2026-07-28" {
		t.Fatalf("the client speaks %s", v)
	}
	report, err := sdkCall(ctx, s, "simulate-research-query", map[string]any{"topic": "python", "ambiguous": true})
	if err != nil || !strings.Contains(report, "User declined") || asked != 1 {
		t.Errorf("asked %d times: %v\n%s", asked, err, report)
	}
}
