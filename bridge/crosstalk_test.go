package bridge

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// crowd is N people with M sessions each at one server, whose workers are killed and which is replaced under them.
type crowd struct {
	t    *testing.T
	cfg  Config
	seed uint64
	url  string
	srv  atomic.Pointer[Server]
	stop chan struct{}

	mu       sync.Mutex
	workers  map[net.Conn]bool
	started  uint64
	sessions map[string]string  // by caller
	states   map[string]parting // how a caller was sent away last
	asked    int                // number of the newest question
	counts   map[string]int
}

// parting is a call that a client was sent away from with questions.
type parting struct{ who, plan, state string }

const crowdUsers, crowdSessions = 4, 4

// TestCrosstalk: whatever is called, asked, cancelled, broken off, killed and replaced at the same time, nothing
// reaches another person, and every call has one answer, or none if its client gave it up.
//
// MCPD_CROSSTALK is how long each mode goes on ("1m"), MCPD_CROSSTALK_SEED repeats the choices of a run that failed.
func TestCrosstalk(t *testing.T) {
	long, err := time.ParseDuration(os.Getenv("MCPD_CROSSTALK"))
	if err != nil {
		long = 1200 * time.Millisecond
	}
	seed, err := strconv.ParseUint(os.Getenv("MCPD_CROSSTALK_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	for i, mode := range [][2]string{{"user", "legacy"}, {"shared", "legacy"}, {"session", "legacy"}, {"user", "modern"}, {"shared", "modern"}} {
		t.Run(mode[0]+" "+mode[1], func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Isolation, cfg.Era, cfg.Limits.Call, cfg.Limits.Park = mode[0], mode[1], 3*time.Second, time.Second
			c := &crowd{t: t, cfg: cfg, seed: seed + uint64(i), stop: make(chan struct{}),
				workers: map[net.Conn]bool{}, sessions: map[string]string{}, states: map[string]parting{}, counts: map[string]int{}}
			c.run(long)
			if t.Failed() {
				t.Logf("MCPD_CROSSTALK_SEED=%d repeats the choices", seed)
			}
		})
	}
}

func (c *crowd) run(long time.Duration) {
	c.srv.Store(c.open())
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.srv.Load().ServeHTTP(w, r) }))
	c.url = front.URL + "/mcp"
	time.AfterFunc(long, func() { close(c.stop) })
	var wg sync.WaitGroup
	for u := range crowdUsers {
		for m := range crowdSessions {
			p := newCaller(c, u, m)
			wg.Go(p.live)   // until stop
			wg.Go(p.listen) // until stop
		}
	}
	wg.Go(func() { c.havoc(rand.New(rand.NewPCG(c.seed, 0))) }) // until stop
	wg.Wait()
	front.CloseClientConnections()
	front.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := c.srv.Load().Close(ctx); err != nil {
		c.t.Error(err)
	}
	c.t.Logf("%v", c.counts)
	for _, what := range []string{"call", "result", "progress", "cancelled", "kill", "reload", "refused session"} {
		if c.counts[what] == 0 {
			c.t.Errorf("there was no %s", what)
		}
	}
	if c.counts["result"] < c.counts["call"]/6 {
		c.t.Errorf("of %d calls only %d came to a result", c.counts["call"], c.counts["result"])
	}
	if c.cfg.Isolation != "shared" && (c.counts["an answer"] == 0 || c.counts["log"] == 0) {
		c.t.Error("nobody was asked, or told a log line")
	}
}

// open makes the server anew, as after a reload.
func (c *crowd) open() *Server {
	s := testServer(c.t, c.cfg, func(r *http.Request) string { return r.Header.Get("X-User") }, func(key string) io.ReadWriteCloser {
		near, far := net.Pipe()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.started++
		o := &oracle{t: c.t, key: key, shared: c.cfg.Isolation == "shared", modern: c.cfg.Era == "modern", c: far, heard: c.count,
			done: make(chan struct{}), asked: map[string]chan []byte{}, rng: rand.New(rand.NewPCG(c.seed, c.started))}
		c.workers[far] = true
		go func() { // ends when either end is closed
			o.serve()
			far.Close()
			c.mu.Lock()
			delete(c.workers, far)
			c.mu.Unlock()
		}()
		return near
	})
	s.debounce, s.grace = time.Millisecond, 20*time.Millisecond
	return s
}

// havoc kills workers and replaces the server.
func (c *crowd) havoc(rng *rand.Rand) {
	for n := 1; ; n++ {
		select {
		case <-c.stop:
			return
		case <-time.After(time.Duration(10+rng.IntN(40)) * time.Millisecond):
		}
		if n%8 == 0 {
			old := c.srv.Swap(c.open())
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			_ = old.Close(ctx) // calls that take longer are ended, as in a reload
			cancel()
			c.count("reload")
			continue
		}
		c.mu.Lock()
		for w := range c.workers {
			w.Close()
			c.counts["kill"]++
			break
		}
		c.mu.Unlock()
	}
}

func (c *crowd) count(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[what]++
}

// caller is one session of one person, or one modern client.
type caller struct {
	c          *crowd
	user, name string // u1, u1/s2
	modern     bool
	rng        *rand.Rand // of the goroutine of live
	n          int
}

func newCaller(c *crowd, u, m int) *caller {
	user := fmt.Sprint("u", u)
	return &caller{c: c, user: user, name: fmt.Sprintf("%s/s%d", user, m), modern: m%2 == 1,
		rng: rand.New(rand.NewPCG(c.seed, uint64(1+u*crowdSessions+m)))}
}

func (p *caller) session() string {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	return p.c.sessions[p.name]
}

func (p *caller) live() {
	for {
		select {
		case <-p.c.stop:
			return
		default:
		}
		if !p.modern && p.session() == "" && !p.begin() {
			continue
		}
		switch k := p.rng.IntN(24); {
		case k == 0 && !p.modern:
			p.end()
		case k <= 2:
			p.intrude()
		default:
			var wg sync.WaitGroup
			for range 1 + p.rng.IntN(3) {
				p.n++
				n, plan, rng := p.n, p.plan(), rand.New(rand.NewPCG(p.rng.Uint64(), 0))
				wg.Go(func() { p.call(n, plan, rng) }) // ends with the answer
			}
			wg.Wait()
		}
	}
}

func (p *caller) plan() string {
	var plan []byte
	for range 1 + p.rng.IntN(6) {
		plan = append(plan, "plwwppltueswx"[p.rng.IntN(13)])
	}
	return string(plan)
}

const crowdCaps = `{"elicitation":{"form":{}},"sampling":{}}`

func (p *caller) begin() bool {
	w, err := p.do(context.Background(), "POST", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":`+crowdCaps+`,"clientInfo":{"name":"c","version":"1"}}}`, nil)
	if err != nil {
		return false
	}
	defer w.Body.Close()
	_, _ = io.Copy(io.Discard, w.Body)
	id := w.Header.Get("Mcp-Session-Id")
	p.keep(id)
	if id != "" {
		p.tell(`{"jsonrpc":"2.0","id":"sub","method":"resources/subscribe","params":{"uri":"res://all"}}`)
	}
	return id != ""
}

func (p *caller) keep(session string) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.c.sessions[p.name] = session
}

// end deletes the session; its id is none from then on.
func (p *caller) end() {
	id := p.session()
	if w, err := p.do(context.Background(), "DELETE", "", map[string]string{"Mcp-Session-Id": id}); err == nil {
		w.Body.Close()
	}
	p.keep("")
}

// intrude uses what belongs to somebody else.
func (p *caller) intrude() {
	other := fmt.Sprintf("u%d/s%d", p.rng.IntN(crowdUsers), p.rng.IntN(crowdSessions))
	if strings.HasPrefix(other, p.user+"/") {
		return
	}
	p.c.mu.Lock()
	session, left, asked := p.c.sessions[other], p.c.states[other], p.c.asked
	p.c.mu.Unlock()
	stolen := `{"jsonrpc":"2.0","id":"mcpd-` + strconv.Itoa(asked-p.rng.IntN(3)) + `","result":{"action":"accept","content":{"text":"taken by ` + p.user + `."}}}`
	if !p.modern {
		p.tell(stolen) // the question is another's, or of a call of this session that it gave up
	}
	if session != "" {
		body := stolen
		if p.rng.IntN(2) == 0 {
			body = `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + strconv.Itoa(p.rng.IntN(50)) + `}}`
		}
		w, err := p.do(context.Background(), "POST", body, map[string]string{"Mcp-Session-Id": session})
		if err != nil {
			return
		}
		w.Body.Close()
		if w.StatusCode != http.StatusNotFound && w.StatusCode != http.StatusOK { // 200: the error of a server that is being replaced
			p.c.t.Errorf("%s was let into the session of %s: %s", p.name, other, w.Status)
		}
		p.c.count("refused session")
	}
	if left.state != "" && p.modern && p.c.cfg.Era == "legacy" {
		got := p.ask(context.Background(), 1, left.who, left.plan, `,"inputResponses":{},"requestState":`+left.state)
		if got.answers != 1 || !got.failed {
			p.c.t.Errorf("%s went on with a call of %s: %+v", p.name, other, got)
		}
	}
}

func (p *caller) do(ctx context.Context, method, body string, header map[string]string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, p.c.url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-User", p.user)
	r.Header.Set("Accept", "application/json, text/event-stream")
	for k, v := range header {
		r.Header.Set(k, v)
	}
	return http.DefaultClient.Do(r)
}

// tell posts a message of the session whose response does not matter.
func (p *caller) tell(body string) {
	if w, err := p.do(context.Background(), "POST", body, map[string]string{"Mcp-Session-Id": p.session()}); err == nil {
		_, _ = io.Copy(io.Discard, w.Body)
		w.Body.Close()
	}
}

// got is what came of one request.
type got struct {
	answers int
	failed  bool
	last    string // event id
	asks    map[string]json.RawMessage
	state   json.RawMessage
}

// call makes a call, with a client that may give it up in the middle.
func (p *caller) call(n int, plan string, rng *rand.Rand) {
	p.c.count("call")
	who := fmt.Sprintf("%s/%d", p.name, n)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	given := rng.IntN(5)
	late := time.Duration(rng.IntN(4000)) * time.Microsecond
	switch {
	case given == 0: // the connection breaks
		time.AfterFunc(late, cancel)
	case given == 1 && !p.modern:
		t := time.AfterFunc(late, func() {
			p.tell(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + strconv.Itoa(n) + `}}`)
		})
		defer t.Stop()
	}
	r, answers := p.ask(ctx, n, who, plan, ""), ""
	for round := 0; r.asks != nil && round < 8; round++ {
		p.c.mu.Lock()
		p.c.states[p.name] = parting{who, plan, string(r.state)}
		p.c.mu.Unlock()
		if rng.IntN(6) == 0 {
			return // it never comes back
		}
		answers = ""
		for key, q := range r.asks {
			answers += `,"` + key + `":` + p.answer(q)
		}
		r = p.ask(ctx, n, who, plan, `,"inputResponses":{`+answers[1:]+`},"requestState":`+string(r.state))
	}
	if r.last != "" && r.answers == 0 && given == 0 && rng.IntN(2) == 0 {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		r = p.read(ctx, n, who, "GET", "", map[string]string{"Last-Event-ID": r.last}, r)
	}
	if r.answers > 1 || r.answers == 0 && given > 1 {
		p.c.t.Errorf("%s (%s) had %d answers", who, plan, r.answers)
	}
	if r.answers == 0 {
		p.c.count("cancelled")
	} else if !r.failed {
		p.c.count("result")
	}
}

// ask is one request for the call and its response.
func (p *caller) ask(ctx context.Context, n int, who, plan, more string) got {
	meta, header := "", map[string]string{}
	if p.modern {
		meta = `,"` + metaVersion + `":"` + modernVersion + `","` + metaCaps + `":` + crowdCaps + `,"` + metaLevel + `":"debug"`
		header = map[string]string{"Mcp-Protocol-Version": modernVersion, "Mcp-Method": "tools/call", "Mcp-Name": "x"}
	}
	return p.read(ctx, n, who, "POST", fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"x","arguments":{"who":%q,"plan":%q}%s,"_meta":{"progressToken":%d%s}}}`,
		n, who, plan, more, n, meta), header, got{})
}

// read takes a response to its end, and answers what is asked in it.
func (p *caller) read(ctx context.Context, n int, who, method, body string, header map[string]string, r got) got {
	if !p.modern {
		header["Mcp-Session-Id"] = p.session()
	}
	r.asks = nil
	w, err := p.do(ctx, method, body, header)
	if err != nil {
		return r
	}
	defer w.Body.Close()
	if method == "GET" && w.StatusCode != http.StatusOK {
		return r // of before a reload
	}
	in := bufio.NewScanner(w.Body)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		line := bytes.TrimSpace(in.Bytes())
		if id, ok := bytes.CutPrefix(line, []byte("id: ")); ok {
			r.last = string(id)
		}
		line = bytes.TrimPrefix(line, []byte("data: "))
		if len(line) > 0 && line[0] == '{' {
			p.message(n, who, append([]byte(nil), line...), &r)
		}
	}
	return r
}

var marked = regexp.MustCompile(`for (u\d+)/s\d+/\d+`)

// own checks that what arrived is about this person, and returns whose call it is about.
func (p *caller) own(line []byte) (about string) {
	for _, m := range marked.FindAllSubmatch(line, -1) {
		if string(m[1]) != p.user {
			p.c.t.Errorf("%s was told %s", p.name, line)
		}
		about = strings.TrimPrefix(string(m[0]), "for ")
	}
	return about
}

// message takes one message of the response to call n.
func (p *caller) message(n int, who string, line []byte, r *got) {
	about := p.own(line)
	var m struct {
		ID     json.RawMessage
		Method string
		Error  json.RawMessage
		Result struct {
			ResultType    string
			InputRequests map[string]json.RawMessage
			RequestState  json.RawMessage
		}
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return // an event that the connection's end cut
	}
	switch m.Method {
	case "notifications/progress":
		if about != who || !bytes.Contains(line, []byte(`"progressToken":`+strconv.Itoa(n)+`,`)) {
			p.c.t.Errorf("%s was told the progress %s", who, line)
		}
		p.c.count("progress")
		return
	case "notifications/message":
		if p.c.cfg.Isolation == "shared" {
			p.c.t.Errorf("%s was told a log line of a worker of everyone: %s", who, line)
		}
		p.c.count("log")
		return
	case "":
	default:
		if len(m.ID) > 0 {
			p.c.mu.Lock()
			p.c.asked, _ = strconv.Atoi(strings.Trim(string(m.ID), `"mcpd-`))
			p.c.mu.Unlock()
			p.tell(`{"jsonrpc":"2.0","id":` + string(m.ID) + `,"result":` + p.answer(line) + `}`)
		}
		return
	}
	r.answers++
	if string(m.ID) != strconv.Itoa(n) {
		p.c.t.Errorf("%s was answered %s", who, line)
	}
	switch {
	case bytes.Contains(m.Error, []byte("did not answer within")):
		p.c.t.Errorf("the call %s was forgotten", who)
	case m.Error != nil:
		r.failed = true
	case m.Result.ResultType == "input_required":
		r.answers--
		r.asks, r.state = m.Result.InputRequests, m.Result.RequestState
	case about != who:
		p.c.t.Errorf("%s had the result %s", who, line)
	}
}

// answer names the question and the person who answers.
func (p *caller) answer(question []byte) string {
	text := "to " + p.own(question) + " by " + p.user + "."
	if bytes.Contains(question, []byte("sampling/createMessage")) {
		return `{"role":"assistant","content":{"type":"text","text":"` + text + `"},"model":"m"}`
	}
	return `{"action":"accept","content":{"text":"` + text + `"}}`
}

// listen keeps the stream open that belongs to no call.
func (p *caller) listen() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // ends with the crowd
		<-p.c.stop
		cancel()
	}()
	for ctx.Err() == nil {
		method, body, header := "GET", "", map[string]string{"Mcp-Session-Id": p.session()}
		if p.modern {
			method = "POST"
			body = `{"jsonrpc":"2.0","id":"l","method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["res://all"]},"_meta":{"` +
				metaVersion + `":"` + modernVersion + `","` + metaCaps + `":{}}}}`
			header = map[string]string{"Mcp-Protocol-Version": modernVersion, "Mcp-Method": "subscriptions/listen"}
		}
		if w, err := p.do(ctx, method, body, header); err == nil {
			in := bufio.NewScanner(w.Body)
			for in.Scan() {
				if p.own(in.Bytes()) != "" {
					p.c.count("announcement")
				}
			}
			w.Body.Close()
		}
		pause(5 * time.Millisecond)
	}
}
