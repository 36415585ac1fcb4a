package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// TestCrosstalk: three people with two sessions each, of either generation, call a server that asks them and tells them
// how far it is, while its processes are killed and it is replaced. A process has one owner, and nobody is told or asked
// what is another's. (The bridge has the same test with more of everything, without processes.)
func TestCrosstalk(t *testing.T) {
	t.Parallel()
	const config = "[servers.s]\ncommand = \"peer\"\nargs = [\"-tag=%s\"]\nera = \"legacy\"\nworkers = { max = 12 }\n"
	tag := fmt.Sprintf("crosstalk-%d", os.Getpid())
	seed, err := strconv.ParseUint(os.Getenv("MCPD_CROSSTALK_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("MCPD_CROSSTALK_SEED=%d repeats the choices", seed)
		}
	})
	d := startDaemon(t, fmt.Sprintf(config, tag))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel() // at the latest when there was enough of everything
	m := &marks{t: t, owner: map[string]string{}}
	var all sync.WaitGroup
	for u := range 3 {
		d.user = fmt.Sprintf("u%d", u)
		d.addUser()
		token := d.token("s")
		for n, version := range []string{"2026-07-28", "2025-11-25"} {
			all.Go(func() { m.live(ctx, d.url("s"), token, fmt.Sprintf("u%d", u), n, version) }) // until ctx ends
		}
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	kills := 0
	for n := 0; ctx.Err() == nil && (n < 6 || kills < 3 || !m.enough()); n++ {
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(200+rng.IntN(400)) * time.Millisecond):
		}
		if n == 3 {
			d.configure(fmt.Sprintf(config, tag) + "env = { REPLACED = \"yes\" }\n")
			d.must("reload")
		} else if pids := d.pids("s"); len(pids) > 0 && kills < 6 { // one that is killed all the time has pauses, and answers nobody
			if syscall.Kill(pids[rng.IntN(len(pids))], syscall.SIGKILL) == nil {
				kills++
			}
		}
	}
	cancel()
	all.Wait()
	t.Logf("%d results, %d questions, %d words of progress, %d calls failed, %d kills, %d processes", m.results.Load(), m.asked.Load(), m.progress.Load(), m.failed.Load(), kills, len(m.owner))
	if kills < 3 || !m.enough() {
		t.Error("that is too little to show anything")
	}
}

// marks check that what a person sees bears that person's mark.
type marks struct {
	t                                *testing.T
	results, asked, progress, failed atomic.Int64

	mu    sync.Mutex
	owner map[string]string // by process id
}

// enough tells whether so much was seen that something would have crossed over.
func (m *marks) enough() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.results.Load() >= 50 && m.asked.Load() >= 50 && m.progress.Load() >= 50 && len(m.owner) >= 5
}

func (m *marks) own(user, what, text string) {
	if !strings.HasPrefix(text, "for "+user+"/") {
		m.t.Errorf("%s of %s: %q", what, user, text)
	}
}

// live is one session after another, each until a call of it fails for good.
func (m *marks) live(ctx context.Context, url, token, user string, n int, version string) {
	client := mcp.NewClient(&mcp.Implementation{Name: user, Version: "1"}, &mcp.ClientOptions{
		ElicitationHandler: func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			m.own(user, "a question", r.Params.Message)
			m.asked.Add(1)
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"by": "by " + user}}, nil
		},
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
			m.own(user, "progress", r.Params.Message)
			m.progress.Add(1)
		},
	})
	for ctx.Err() == nil {
		s, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: &http.Client{Transport: bearer{token, http.DefaultTransport}}, MaxRetries: -1},
			&mcp.ClientSessionOptions{ProtocolVersion: version})
		if err != nil {
			continue
		}
		for i := 0; ctx.Err() == nil && m.call(ctx, s, user, fmt.Sprintf("%s/%d/%d", user, n, i)); i++ {
		}
		_ = s.Close()
	}
}

// call has one answer: the own one, or an error within the time that a new process takes.
func (m *marks) call(ctx context.Context, s *mcp.ClientSession, user, who string) bool {
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	p := &mcp.CallToolParams{Name: "tell", Arguments: map[string]any{"who": who}}
	p.SetProgressToken("p")
	r, err := s.CallTool(limited, p)
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil:
		m.failed.Add(1)
		return false
	case len(r.Content) != 1 || r.IsError:
		m.failed.Add(1) // the tool's own: its question was not answered
		return true
	}
	words := strings.Split(r.Content[0].(*mcp.TextContent).Text, "|") // who, who answered, process id
	if len(words) != 3 || words[0] != "for "+who || words[1] != "by "+user {
		m.t.Errorf("the result of %s is %q", who, words)
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if had, ok := m.owner[words[2]]; ok && had != user {
		m.t.Errorf("process %s served %s and %s", words[2], had, user)
	}
	m.owner[words[2]] = user
	m.results.Add(1)
	return true
}
