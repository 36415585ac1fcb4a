package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// TestSSESessionsArePersonal: the address of one person's session is no address for another who may use the same server,
// and it dies with its stream.
func TestSSESessionsArePersonal(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, demoConfig+"sse = true\n")
	d.addUser()
	target, alice := sseURL(d.url("demo")), d.token("demo")
	d.user = "mallory"
	d.addUser()
	mallory := d.token("demo")
	ctx, leave := context.WithTimeout(t.Context(), time.Minute)
	defer leave()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+alice)
	stream, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	events := bufio.NewReader(stream.Body)
	address := nextData(t, events)
	at, err := req.URL.Parse(address)
	if err != nil || !strings.HasPrefix(address, "/demo/messages?") {
		t.Fatalf("the stream begins with %q, %v", address, err)
	}
	const ping = `{"jsonrpc":"2.0","id":"%s","method":"ping"}`
	if got := postStatus(t, at, mallory, fmt.Sprintf(ping, "hers")); got != http.StatusNotFound {
		t.Errorf("another person's message: %d", got)
	}
	if got := postStatus(t, at, alice, fmt.Sprintf(ping, "mine")); got != http.StatusAccepted {
		t.Errorf("the person's own message: %d", got)
	}
	if got := nextData(t, events); got != `{"jsonrpc":"2.0","id":"mine","result":{}}` {
		t.Errorf("the stream says %s", got)
	}
	leave()
	eventually(t, 10*time.Second, "the address dies with the stream", func() (bool, string) {
		got := postStatus(t, at, alice, fmt.Sprintf(ping, "late"))
		return got == http.StatusNotFound, fmt.Sprint(got)
	})
}

// nextData is the data of the stream's next event.
func nextData(t *testing.T, events *bufio.Reader) string {
	t.Helper()
	for {
		line, err := events.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			return strings.TrimSpace(data)
		}
	}
}

func postStatus(t *testing.T, at *url.URL, token, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at.String(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestSSEClosedMidCall: a client that closes its stream in the middle of a call gives the worker free at once.
func TestSSEClosedMidCall(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, demoConfig+"sse = true\n")
	d.addUser()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stream, leave := context.WithCancel(ctx)
	defer leave()
	s, err := sdkSession(stream, d.url("demo"), d.token("demo"), "2024-11-05")
	if err != nil {
		t.Fatal(err)
	}
	back := make(chan error, 1)
	go func() { // ends with the session
		_, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "slow", Arguments: map[string]any{"seconds": 60}})
		back <- err
	}()
	eventually(t, 20*time.Second, "the call is under way", func() (bool, string) {
		busy := d.server("demo").Busy
		return busy == 1, fmt.Sprint(busy)
	})
	leave() // the stream's end is this client's; the SDK's own Close waits for its calls
	eventually(t, 20*time.Second, "the worker is free", func() (bool, string) {
		busy := d.server("demo").Busy
		return busy == 0, fmt.Sprint(busy)
	})
	cancel()
	if err := <-back; err == nil {
		t.Error("the call came back")
	}
}
