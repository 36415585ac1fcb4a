package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// load is callers that call servers as several people, without an end, and judge every answer.
type load struct {
	t       testing.TB
	d       *instance
	client  *http.Client
	base    string
	tokens  map[string]string // by "user server"
	users   []string
	think   time.Duration                         // between two calls of one caller, half of it by chance
	patient time.Duration                         // the longest that a call may take
	excuse  func(server string, f failure) string // why the failure is a true one; "" when it is none
	quit    context.CancelFunc
	all     sync.WaitGroup

	mu      sync.Mutex
	took    []time.Duration // of the calls that went well
	excused map[string]int
	wrong   []string
	wrongs  int
}

// failure is a call that had no right answer.
type failure struct {
	at     time.Time
	status int
	text   string
}

// newLoad makes the people and their tokens.
func newLoad(t testing.TB, d *instance, users, servers []string) *load {
	t.Helper()
	l := &load{t: t, d: d, users: users, tokens: map[string]string{}, excused: map[string]int{}, patient: 30 * time.Second,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}}
	l.base = "http://" + d.status().Listen.HTTP
	admin := d.admin()
	for _, u := range users {
		d.user = u
		d.addUser()
		for _, s := range servers {
			var got tokenAnswer
			if err := admin.post(t.Context(), "/v1/tokens", tokenRequest{User: u, Server: s, TTL: 1e5, Label: "load"}, &got); err != nil {
				t.Fatal(err)
			}
			l.tokens[u+" "+s] = got.Token
		}
	}
	return l
}

// admin is the instance's admin socket, without a process for each command.
func (d *instance) admin() *adminClient {
	d.t.Helper()
	a, err := (&cli{stateFlag: d.path("state"), env: environment(d.env)}).admin()
	if err != nil {
		d.t.Fatal(err)
	}
	return a
}

// begin starts callers of servers.
func (l *load) begin(callers int, servers []string) {
	ctx, quit := context.WithCancel(context.Background())
	l.quit = quit
	for i := range callers {
		rng := rand.New(rand.NewPCG(uint64(i), 7))
		l.all.Go(func() { // ends with quit
			for n := 0; ctx.Err() == nil; n++ {
				server := servers[rng.IntN(len(servers))]
				l.call(ctx, l.users[rng.IntN(len(l.users))], server, fmt.Sprintf("%d of %d", n, i), n%2 == 0)
				if l.think > 0 {
					select {
					case <-time.After(l.think/2 + time.Duration(rng.Int64N(int64(l.think)))):
					case <-ctx.Done():
					}
				}
			}
		})
	}
}

// end stops the callers and takes what they measured.
func (l *load) end() []time.Duration {
	l.quit()
	l.all.Wait()
	l.client.CloseIdleConnections()
	l.mu.Lock()
	defer l.mu.Unlock()
	took := l.took
	l.took = nil
	slices.Sort(took)
	return took
}

// forget drops what was measured until now.
func (l *load) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = nil
}

const (
	modernCall = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":%q},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"load","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`
	legacyCall = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":%q}}}`
	legacyOpen = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"load","version":"1"}}}`
)

// call makes one call, modern or in a session of its own, and judges what comes back.
func (l *load) call(ctx context.Context, user, server, words string, modern bool) {
	limited, cancel := context.WithTimeout(ctx, l.patient)
	defer cancel()
	begun := time.Now()
	header, body := map[string]string{"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "echo"}, modernCall
	var f failure
	if !modern {
		session, status, text := l.post(limited, user, server, legacyOpen, nil)
		if session == "" {
			f = failure{begun, status, text}
		}
		header, body = map[string]string{"Mcp-Protocol-Version": "2025-11-25", "Mcp-Session-Id": session}, legacyCall
	}
	if f.text == "" {
		_, status, text := l.post(limited, user, server, fmt.Sprintf(body, words), header)
		var r struct {
			Result struct {
				Content []struct{ Text string }
			}
		}
		if i := strings.Index(text, "data: {"); i >= 0 { // an event stream
			text = text[i+len("data: "):]
		}
		if status == http.StatusOK && json.NewDecoder(strings.NewReader(text)).Decode(&r) == nil && len(r.Result.Content) == 1 && r.Result.Content[0].Text == words {
			l.mu.Lock()
			l.took = append(l.took, time.Since(begun))
			l.mu.Unlock()
			return
		}
		f = failure{begun, status, text}
	}
	if ctx.Err() == nil {
		l.judge(server, f)
	}
}

func (l *load) judge(server string, f failure) {
	why := ""
	if l.excuse != nil {
		why = l.excuse(server, f)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if why != "" {
		l.excused[why]++
		return
	}
	if l.wrongs++; len(l.wrong) < 10 {
		l.wrong = append(l.wrong, fmt.Sprintf("%s, after %v: %s: %d %s", f.at.Format(time.TimeOnly), time.Since(f.at).Round(time.Millisecond), server, f.status, f.text))
	}
}

// post sends one message; the text is that of the answer, or of the error that there was instead.
func (l *load) post(ctx context.Context, user, server, body string, header map[string]string) (session string, status int, text string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.base+"/"+server+"/mcp", strings.NewReader(body))
	if err != nil {
		return "", 0, err.Error()
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Authorization", "Bearer "+l.tokens[user+" "+server])
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return "", 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", resp.StatusCode, string(b) + err.Error()
	}
	return resp.Header.Get("Mcp-Session-Id"), resp.StatusCode, strings.TrimSpace(string(b))
}

// check reports what went wrong.
func (l *load) check() {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for why, n := range l.excused {
		l.t.Logf("%d calls failed: %s", n, why)
	}
	if l.wrongs > 0 {
		l.t.Errorf("%d calls failed without a true reason; the first:\n%s", l.wrongs, strings.Join(l.wrong, "\n"))
	}
}

// percentile99 is of sorted durations.
func percentile99(took []time.Duration) time.Duration {
	if len(took) == 0 {
		return 0
	}
	return took[len(took)*99/100]
}
