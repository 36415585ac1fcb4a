package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A client that makes up a name for every call makes no series: what is not listed is one tool, "other".
func TestMetricsAreNotMadeByClients(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "[auth]\nmode = \"none\"\n[servers.fine]\ncommand = \"peer\"\n")
	session, err := mcp.NewClient(&mcp.Implementation{Name: "attacker", Version: "1"}, nil).Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: d.url("fine")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if _, err := session.ListTools(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"text": "x"}}); err != nil {
		t.Fatal(err)
	}
	before := countSeries(d.must("metrics"))
	const callers, each = 8, 125
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				name := fmt.Sprintf("made-up-%d-%d", c, i)
				if _, err := session.CallTool(context.Background(), &mcp.CallToolParams{Name: name}); err == nil {
					t.Errorf("the tool %s could be called", name)
				}
			}
		})
	}
	wg.Wait()
	after := d.must("metrics")
	if n := countSeries(after); n > before+4 { // of the tool "other": one outcome and its time, and an HTTP status or two
		t.Errorf("%d series became %d", before, n)
	}
	if strings.Contains(after, "made-up") || strings.Contains(after, "attacker") {
		t.Error("the client's words are in the metrics")
	}
	want := fmt.Sprintf(`mcpd_calls_total{method="tools/call",server="fine",status="invalid_params",tool="other"} %d`, callers*each)
	if !strings.Contains(after, want+"\n") || !strings.Contains(after, `status="ok",tool="echo"} 1`+"\n") {
		t.Errorf("want %s in\n%s", want, after)
	}
}

// countSeries counts the series that requests make, not those that come with time, as a worker's first check.
func countSeries(metrics string) (n int) {
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "mcpd_call") || strings.HasPrefix(line, "mcpd_http_") {
			n++
		}
	}
	return n
}
