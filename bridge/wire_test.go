package bridge

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the expected parts of testdata/wire")

// TestWire plays the conversations in testdata/wire. Each part of an archive
// is one step, in order:
//
//	config          isolation, era (default legacy), call, park, body, sse: one "key value" a line
//	request NAME    what a client sends; $SESSION is the last session's id, STREAM1 the
//	                first stream's name, CHANNEL1 the first session of HTTP+SSE, $STATE1
//	                the first sealed requestState a response showed
//	leave NAME      the client hangs up
//	worker says     lines the worker writes
//	worker heard    lines it was sent since the last look        (checked)
//	response NAME   what the client has so far; "…" if it is open (checked)
//	advance         time that passes, e.g. 30s
//	worker dies     the reason
//	close           Server.Close, with a second for the calls in flight
func TestWire(t *testing.T) {
	files, err := filepath.Glob("testdata/wire/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no conversations: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { play(t, file) })
		})
	}
}

type stage struct {
	t       *testing.T
	s       *Server
	session string
	streams []string // resumable ones as they are seen; STREAM1 is the first
	sse     []string // sessions of HTTP+SSE
	states  []string
	who     string
	clients map[string]*client

	mu    sync.Mutex
	far   net.Conn
	heard bytes.Buffer
	death error
}

// client is one request's response as it grows.
type client struct {
	mu     sync.Mutex
	header http.Header
	status int
	body   bytes.Buffer
	done   bool
	leave  context.CancelFunc
}

func (c *client) Header() http.Header              { return c.header }
func (c *client) SetWriteDeadline(time.Time) error { return nil }
func (c *client) FlushError() error                { return nil }
func (c *client) WriteHeader(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status == 0 {
		c.status = code
	}
}
func (c *client) Write(b []byte) (int, error) {
	c.WriteHeader(http.StatusOK)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.body.Write(b)
}

// dying is a worker's pipe whose end has a reason.
type dying struct {
	net.Conn
	st *stage
}

func (d dying) Read(b []byte) (int, error) {
	n, err := d.Conn.Read(b)
	if err != nil {
		d.st.mu.Lock()
		defer d.st.mu.Unlock()
		if d.st.death != nil {
			err = d.st.death
		}
	}
	return n, err
}

func (st *stage) start(string) io.ReadWriteCloser {
	near, far := net.Pipe()
	st.mu.Lock()
	st.far, st.death = far, nil
	st.mu.Unlock()
	go func() { // ends with the pipe
		in := bufio.NewReader(far)
		for {
			line, err := in.ReadString('\n')
			st.mu.Lock()
			st.heard.WriteString(line)
			st.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return dying{near, st}
}

func play(t *testing.T, file string) {
	ar, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	st := &stage{t: t, clients: map[string]*client{}, who: "alice"}
	cfg := DefaultConfig()
	cfg.Era = "legacy"
	changed := false
	for i := range ar.Files {
		f := &ar.Files[i]
		what, name, _ := strings.Cut(f.Name, " ")
		if what == "config" {
			configure(t, &cfg, string(f.Data))
			continue
		}
		if st.s == nil {
			st.s = testServer(t, cfg, func(r *http.Request) string { return r.Header.Get("X-User") }, st.start)
			st.s.o.Spawn = nil
			st.s.questions.next = 0 // not random
		}
		got, checked := st.step(what, name, string(f.Data))
		if checked && got != string(f.Data) {
			if !*update {
				t.Errorf("%s: %s\n--- got\n%s--- want\n%s", file, f.Name, got, f.Data)
			}
			f.Data, changed = []byte(got), true
		}
	}
	for _, c := range st.clients {
		c.leave()
	}
	synctest.Wait()
	time.Sleep(time.Hour) // the grace of calls whose client left
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_ = st.s.Close(ctx)
	if changed && *update {
		if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func configure(t *testing.T, cfg *Config, text string) {
	for line := range strings.Lines(text) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), " ")
		var err error
		switch k {
		case "isolation":
			cfg.Isolation = v
		case "era":
			cfg.Era = v
		case "call":
			cfg.Limits.Call, err = time.ParseDuration(v)
		case "park":
			cfg.Limits.Park, err = time.ParseDuration(v)
		case "sse":
			cfg.SSE, err = strconv.ParseBool(v)
		case "body":
			_, err = fmt.Sscan(v, &cfg.Limits.Body)
		default:
			t.Fatalf("config: %q", line)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (st *stage) step(what, name, data string) (got string, checked bool) {
	switch what {
	case "request":
		st.request(name, data)
		time.Sleep(2 * glance) // until then a call hears nothing but its worker
	case "leave":
		st.clients[name].leave()
	case "response":
		got, checked = st.response(name), true
	case "advance":
		d, err := time.ParseDuration(strings.TrimSpace(data))
		if err != nil {
			st.t.Fatal(err)
		}
		time.Sleep(d)
	case "close":
		ctx, cancel := context.WithTimeout(st.t.Context(), time.Second)
		defer cancel()
		_ = st.s.Close(ctx)
	case "worker":
		got, checked = st.worker(name, data)
	default:
		st.t.Fatalf("no such step: %q", what)
	}
	synctest.Wait()
	return got, checked
}

func (st *stage) worker(what, data string) (string, bool) {
	st.mu.Lock()
	far := st.far
	if what == "dies" {
		st.death = fmt.Errorf("%s", strings.TrimSpace(data))
	}
	defer st.mu.Unlock()
	switch what {
	case "heard":
		out := st.heard.String()
		st.heard.Reset()
		return out, true
	case "dies":
		far.Close()
	case "says":
		if far == nil {
			st.t.Error("no worker was started")
			break
		}
		st.mu.Unlock()
		_, err := far.Write([]byte(data))
		st.mu.Lock()
		if err != nil {
			st.t.Errorf("worker says: %v", err)
		}
	default:
		st.t.Fatalf("worker cannot %q", what)
	}
	return "", false
}

// request sends a message. Sessions' and people's headers are written out in
// the archive; Content-Type and Accept are what clients must send.
func (st *stage) request(name, data string) {
	data = strings.ReplaceAll(data, "$SESSION", st.session)
	for i, name := range st.streams {
		data = strings.ReplaceAll(data, fmt.Sprintf("STREAM%d", i+1), name)
	}
	for i, id := range st.sse {
		data = strings.ReplaceAll(data, fmt.Sprintf("CHANNEL%d", i+1), id)
	}
	for i, state := range st.states {
		data = strings.ReplaceAll(data, fmt.Sprintf("$STATE%d", i+1), state)
	}
	head, body, _ := strings.Cut(data, "\n\n")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	method, path, _ := strings.Cut(lines[0], " ")
	r := httptest.NewRequest(method, path, strings.NewReader(strings.TrimSuffix(body, "\n")))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set("X-User", "alice")
	for _, l := range lines[1:] {
		k, v, _ := strings.Cut(l, ":")
		r.Header.Add(k, strings.TrimSpace(v))
		if vs := r.Header.Values(k); len(vs) == 2 && (k == "Accept" || k == "Content-Type" || k == "X-User") {
			r.Header.Set(k, vs[1])
		}
	}
	ctx, cancel := context.WithCancel(st.t.Context())
	c := &client{header: http.Header{}, leave: cancel}
	st.clients[name] = c
	go func() { // ends with the request
		st.s.ServeHTTP(c, r.WithContext(ctx))
		c.mu.Lock()
		c.done = true
		c.mu.Unlock()
	}()
}

func (st *stage) response(name string) string {
	c := st.clients[name]
	if c == nil {
		st.t.Fatalf("nobody sent request %s", name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	if c.status == 0 && c.done {
		c.status = http.StatusOK
	}
	if c.status != 0 {
		fmt.Fprintf(&b, "%d\n", c.status)
		for _, k := range []string{"Content-Type", "Allow", "X-Accel-Buffering"} {
			if v := c.header.Get(k); v != "" {
				fmt.Fprintf(&b, "%s: %s\n", k, v)
			}
		}
		if v := c.header.Get("Mcp-Session-Id"); v != "" {
			st.session = v
			b.WriteString("Mcp-Session-Id: $SESSION\n")
		}
		b.WriteString("\n")
		b.Write(eventID.ReplaceAllFunc(c.body.Bytes(), st.streamName))
		if n := c.body.Len(); n > 0 && c.body.Bytes()[n-1] != '\n' {
			b.WriteString("\n")
		}
	}
	if !c.done {
		b.WriteString("…\n")
	}
	return st.named(b.String())
}

var sealedState = regexp.MustCompile(`"requestState":"([A-Za-z0-9_-]{64,})"`)

// named gives the sealed states in a response their names.
func (st *stage) named(s string) string {
	for _, m := range sealedState.FindAllStringSubmatch(s, -1) {
		i := slices.Index(st.states, m[1])
		if i < 0 {
			i = len(st.states)
			st.states = append(st.states, m[1])
		}
		s = strings.ReplaceAll(s, m[1], fmt.Sprintf("$STATE%d", i+1))
	}
	return channelID.ReplaceAllStringFunc(s, func(id string) string {
		i := slices.Index(st.sse, id)
		if i < 0 {
			i = len(st.sse)
			st.sse = append(st.sse, id)
		}
		return fmt.Sprintf("CHANNEL%d", i+1)
	})
}

var channelID = regexp.MustCompile(`\b[0-9a-f]{32}\b`)

var eventID = regexp.MustCompile(`(?m)^id: [cs][0-9a-f]{16}-`)

// streamName gives a stream's random name a number, in the order in which they are seen.
func (st *stage) streamName(line []byte) []byte {
	name := string(line[len("id: ") : len(line)-1])
	i := slices.Index(st.streams, name)
	if i < 0 {
		i = len(st.streams)
		st.streams = append(st.streams, name)
	}
	return fmt.Appendf(nil, "id: STREAM%d-", i+1)
}
