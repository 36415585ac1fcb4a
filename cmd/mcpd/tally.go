package main

import (
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/mcpd/mcpd/bridge"
)

// call is one that has just ended, as it is counted.
type call struct {
	kind    callKind
	tool    string // of tools/call
	outcome outcome
	took    time.Duration
}

// callKind is one of the methods that a worker has to work for: those are counted.
type callKind uint8

const (
	toolCall callKind = iota
	promptGet
	resourceRead
	completion
	callKinds
)

func (k callKind) String() string {
	return [callKinds]string{"tools/call", "prompts/get", "resources/read", "completion/complete"}[k]
}

// outcome is how a call ended. The codes of errors are the servers' to choose, so that most are one outcome.
type outcome uint8

const (
	wentWell outcome = iota
	toolFailed
	paramsWrong
	notThere
	internally
	otherwise
	outcomes
)

func (o outcome) String() string {
	return [outcomes]string{"ok", "tool_error", "invalid_params", "not_found", "internal_error", "error"}[o]
}

// failed reports whether the answer was an error of the protocol: a tool that says that it failed was called well.
func (o outcome) failed() bool { return o > toolFailed }

// callOf is what of a request is counted; false for what no worker has to work for.
func callOf(r *bridge.CallRecord) (c call, ok bool) {
	c = call{tool: r.Tool, took: r.Duration, outcome: otherwise}
	switch r.Method {
	case "tools/call":
		c.kind = toolCall
	case "prompts/get":
		c.kind = promptGet
	case "resources/read":
		c.kind = resourceRead
	case "completion/complete":
		c.kind = completion
	default:
		return c, false
	}
	switch r.Code { // JSON-RPC 2.0 §5.1; -32002 is MCP's resource not found, until 2025-11-25
	case 0:
		c.outcome = wentWell
		if r.Failed {
			c.outcome = toolFailed
		}
	case -32602:
		c.outcome = paramsWrong
	case -32601, -32002:
		c.outcome = notThere
	case -32603:
		c.outcome = internally
	}
	return c, true
}

// tally counts the calls of one server by what they were, since mcpd started. What clients make up
// gets no count of its own: a tool has one when the server lists it, and only maxTools have.
type tally struct {
	tools map[string]*row
	other row // tools that have none
	kinds [callKinds]row
	took  [len(latencies) + 1]uint64 // by the first of latencies that was enough; the last: none was
	sum   time.Duration
}

// row are the calls of one kind.
type row struct {
	ended [outcomes]uint64
	took  time.Duration
}

// latencies are the bounds of the histogram of durations.
var latencies = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute,
}

// maxTools is how many tools of a server are counted by name, and otherTool stands for the rest.
const (
	maxTools  = 256
	otherTool = "other"
)

// add counts a call.
func (t *tally) add(c call, listed func(tool string) bool) {
	r := &t.kinds[c.kind]
	if c.kind == toolCall {
		r = t.tool(c.tool, listed)
	}
	r.ended[c.outcome]++
	r.took += c.took
	i, _ := slices.BinarySearch(latencies[:], c.took)
	t.took[i]++
	t.sum += c.took
}

// tool is where the calls of a tool are counted.
func (t *tally) tool(name string, listed func(tool string) bool) *row {
	if r := t.tools[name]; r != nil {
		return r
	}
	if len(t.tools) >= maxTools || name == otherTool || !utf8.ValidString(name) || !listed(name) {
		return &t.other
	}
	if t.tools == nil {
		t.tools = map[string]*row{}
	}
	r := &row{}
	t.tools[name] = r
	return r
}

// answers counts requests by the HTTP status they were answered with.
type answers [500]atomic.Uint64

// add counts a request. A status that HTTP does not have is a mistake of ours, which another status shows.
func (a *answers) add(status int) {
	if status < 100 || status > 599 {
		status = http.StatusInternalServerError
	}
	a[status-100].Add(1)
}

// each visits every status that was answered.
func (a *answers) each(visit func(code string, n uint64)) {
	for i := range a {
		if n := a[i].Load(); n > 0 {
			visit(strconv.Itoa(100+i), n)
		}
	}
}

// tallied is a tally at one moment.
type tallied struct {
	rows []tallyRow
	took [len(latencies) + 1]uint64
	sum  time.Duration
}

type tallyRow struct {
	kind callKind
	tool string
	row
}

// tallied copies what was counted, so that no call waits for whoever reads it.
func (h *health) tallied() (all tallied) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.tally
	if t == nil {
		return all
	}
	for name, r := range t.tools {
		all.rows = append(all.rows, tallyRow{toolCall, name, *r})
	}
	if t.other != (row{}) {
		all.rows = append(all.rows, tallyRow{toolCall, otherTool, t.other})
	}
	for k, r := range t.kinds {
		if r != (row{}) {
			all.rows = append(all.rows, tallyRow{callKind(k), "", r})
		}
	}
	all.took, all.sum = t.took, t.sum
	return all
}
