package bridge

import (
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// oracle is a worker that says in everything it writes whose call it is about: "for USER/SESSION/CALL". It does so late,
// twice, and after the end, and looks at what it is told in return.
type oracle struct {
	t      *testing.T
	key    string
	shared bool
	modern bool
	c      net.Conn
	done   chan struct{}
	wg     sync.WaitGroup
	heard  func(what string)

	mu    sync.Mutex
	rng   *rand.Rand
	asked map[string]chan []byte
	next  int
	whose string // isolation = "session": whose it is
}

func (o *oracle) serve() {
	cut := ""
	eachLine(o.c, func(line []byte) {
		if cut != "" { // else it was the kill that cut the last line short
			o.t.Errorf("a worker was sent %s", cut)
		}
		var e envelope
		if e.scan(line) != nil {
			cut = string(line)
			return
		}
		switch e.kind {
		case kindRequest:
			o.request(append([]byte(nil), line...), e)
		case kindResult, kindError:
			o.mu.Lock()
			if got := o.asked[string(text(e.id.of(line)))]; got != nil {
				got <- append([]byte(nil), line...)
				delete(o.asked, string(text(e.id.of(line))))
			} else {
				o.t.Errorf("a worker was given an answer to nothing, or a second one: %s", line)
			}
			o.mu.Unlock()
		}
	})
	close(o.done)
	o.wg.Wait()
}

func (o *oracle) request(line []byte, e envelope) {
	reply := func(result string) {
		o.wg.Go(func() { // ends when the line is written or the pipe is closed
			o.say(`{"jsonrpc":"2.0","id":` + string(e.id.of(line)) + `,"result":` + result + `}`)
		})
	}
	const caps = `{"tools":{},"logging":{},"tasks":{},"resources":{"subscribe":true}}`
	switch string(text(e.method.of(line))) {
	case "initialize":
		reply(`{"protocolVersion":"2025-11-25","capabilities":` + caps + `,"serverInfo":{"name":"w","version":"1"}}`)
	case "server/discover":
		reply(`{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":` + caps + `,"_meta":{"` + metaServer + `":{"name":"w","version":"1"}}}`)
	case "tools/call":
		o.wg.Go(func() { o.call(line, &e) }) // ends with its plan, or when the pipe is closed
	case "subscriptions/listen":
	case "tools/list":
		reply(`{"tools":[]}`)
	default:
		reply(`{}`)
	}
}

// call does what the caller's plan says, a letter at a time.
func (o *oracle) call(line []byte, e *envelope) {
	who := string(text(memberOf(line, e.args, "who").of(line)))
	plan := string(text(memberOf(line, e.args, "plan").of(line)))
	o.mine(who)
	if o.modern && strings.ContainsAny(plan, "es") {
		if !e.answers.ok() {
			o.say(`{"jsonrpc":"2.0","id":` + string(e.id.of(line)) + `,"result":{"resultType":"input_required","inputRequests":{"k":{"method":"elicitation/create","params":{"mode":"form","message":"for ` +
				who + `","requestedSchema":{"type":"object","properties":{}}}}},"requestState":"for ` + who + `"}}`)
			return
		}
		if got := string(e.state.of(line)); got != `"for `+who+`"` {
			o.t.Errorf("the state of %s came back as %s", who, got)
		}
		o.answered(who, line, e.answers)
	}
	token := ""
	if e.progress.ok() {
		token = string(e.progress.of(line))
	}
	for i, step := range plan {
		o.step(step, who, token, i, !o.modern || e.mLevel.ok())
	}
	result := `{"jsonrpc":"2.0","id":` + string(e.id.of(line)) + `,"result":{"content":[{"type":"text","text":"for ` + who + `"}]}}`
	o.say(result)
	if strings.Contains(plan, "x") { // from now on all is for nobody, or at most for the person
		o.step('p', who, token, 99, true)
		o.say(result)
		o.step('l', who, token, 0, !o.modern)
	}
}

func (o *oracle) step(step rune, who, token string, i int, logs bool) {
	switch {
	case step == 'p' && token != "":
		o.say(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":` + token + `,"progress":` + strconv.Itoa(i) + `,"message":"for ` + who + `"}}`)
	case step == 'l' && logs:
		o.say(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"for ` + who + `"}}`)
	case step == 't' && !o.modern:
		o.say(`{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"1","status":"working","statusMessage":"for ` + who + `"}}`)
	case step == 'u' && !o.shared:
		o.say(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"res://all/for ` + who + `"}}`)
	case step == 'e' && !o.modern:
		o.ask(who, `"method":"elicitation/create","params":{"mode":"form","message":"for `+who+`","requestedSchema":{"type":"object","properties":{}}}`)
	case step == 's' && !o.modern:
		o.ask(who, `"method":"sampling/createMessage","params":{"maxTokens":1,"messages":[],"systemPrompt":"for `+who+`"}`)
	case step == 'w':
		o.mu.Lock()
		d := time.Duration(o.rng.IntN(3000)) * time.Microsecond
		o.mu.Unlock()
		pause(d)
	}
}

// ask waits for the answer, which is the asked person's or a refusal.
func (o *oracle) ask(who, question string) {
	got := make(chan []byte, 1)
	o.mu.Lock()
	o.next++
	id := "q" + strconv.Itoa(o.next)
	o.asked[id] = got
	o.mu.Unlock()
	o.say(`{"jsonrpc":"2.0","id":"` + id + `",` + question + `}`)
	select {
	case line := <-got:
		var e envelope
		if e.scan(line) == nil && e.kind == kindResult {
			o.answered(who, line, e.result)
		}
	case <-o.done:
	}
}

// answered checks that the answer is to this question and by this person.
func (o *oracle) answered(who string, line []byte, at span) {
	if o.shared && !o.modern {
		o.t.Errorf("somebody was asked by a worker of everyone, for %s", who)
	}
	user, _, _ := strings.Cut(who, "/")
	if got := string(at.of(line)); !strings.Contains(got, "to "+who+" by "+user+".") && !strings.Contains(got, "taken by "+user+".") {
		o.t.Errorf("the question for %s was answered %s", who, got)
	}
	o.heard("an answer")
}

// mine checks that a call may be on this worker.
func (o *oracle) mine(who string) {
	if o.shared {
		return
	}
	user, rest, _ := strings.Cut(who, "/")
	if got := Owner(o.key); got != user {
		o.t.Errorf("the worker of %s was given a call of %s", got, who)
	}
	if p, _ := splitKey(o.key); p.session != (sid{}) {
		session, _, _ := strings.Cut(rest, "/")
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.whose == "" {
			o.whose = session
		}
		if o.whose != session {
			o.t.Errorf("the worker of session %s was given a call of %s", o.whose, who)
		}
	}
}

func (o *oracle) say(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, _ = io.WriteString(o.c, line+"\n") // the pipe may be closed: that was a kill
}

// pause lets others go first for a while.
func pause(d time.Duration) { <-time.After(d) }
