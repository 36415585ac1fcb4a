package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/mcpd/mcpd/bridge"
)

func TestCallOf(t *testing.T) {
	for _, c := range []struct {
		record bridge.CallRecord
		kind   string
		want   string
		failed bool
	}{
		{bridge.CallRecord{Method: "tools/call"}, "tools/call", "ok", false},
		{bridge.CallRecord{Method: "tools/call", Failed: true}, "tools/call", "tool_error", false},
		{bridge.CallRecord{Method: "tools/call", Code: -32602}, "tools/call", "invalid_params", true},
		{bridge.CallRecord{Method: "prompts/get", Code: -32603}, "prompts/get", "internal_error", true},
		{bridge.CallRecord{Method: "resources/read", Code: -32002}, "resources/read", "not_found", true},
		{bridge.CallRecord{Method: "completion/complete", Code: 4711}, "completion/complete", "error", true},
		{bridge.CallRecord{Method: "tools/list"}, "", "", false},
		{bridge.CallRecord{Method: "x"}, "", "", false},
	} {
		got, ok := callOf(&c.record)
		if ok != (c.kind != "") || ok && (got.kind.String() != c.kind || got.outcome.String() != c.want || got.outcome.failed() != c.failed) {
			t.Errorf("%+v: %s %s, %v", c.record, got.kind, got.outcome, ok)
		}
	}
}

// A client can call what it likes: only what the server lists has a count of its own, and never more than maxTools have.
func TestTallyIsBounded(t *testing.T) {
	var h health
	now := time.Now()
	listed := func(tool string) bool { return tool == "echo" || tool == otherTool || tool == "\xff" || tool[0] == '#' }
	for _, tool := range []string{"echo", "", otherTool, "\xff"} {
		h.record(now, call{kind: toolCall, tool: tool, took: time.Millisecond}, func(s string) bool { return s != "" && listed(s) })
	}
	for i := range 10_000 {
		h.record(now, call{kind: toolCall, tool: fmt.Sprint("made up ", i), outcome: paramsWrong, took: time.Hour}, listed)
	}
	h.record(now, call{kind: promptGet, took: time.Microsecond}, listed)
	got := map[string]row{}
	all := h.tallied()
	for _, r := range all.rows {
		if _, twice := got[r.kind.String()+" "+r.tool]; twice {
			t.Errorf("%s %s is there twice", r.kind, r.tool)
		}
		got[r.kind.String()+" "+r.tool] = r.row
	}
	if len(got) != 3 || got["tools/call echo"].ended[wentWell] != 1 || got["tools/call other"].ended[wentWell] != 3 ||
		got["tools/call other"].ended[paramsWrong] != 10_000 || got["prompts/get "].ended[wentWell] != 1 {
		t.Errorf("%+v", got)
	}
	if all.took[0] != 1 || all.took[3] != 4 || all.took[len(latencies)] != 10_000 || all.sum < 10_000*time.Hour {
		t.Errorf("%v, %v", all.took, all.sum)
	}
	for i := range 10_000 {
		h.record(now, call{kind: toolCall, tool: fmt.Sprint("#", i)}, listed) // a server may make them up as well
	}
	if n := len(h.tallied().rows); n != maxTools+2 {
		t.Errorf("%d rows, want %d tools, the others and prompts", n, maxTools)
	}
}

func TestAnswersCountEveryStatus(t *testing.T) {
	var a answers
	for _, status := range []int{200, 200, 499, 599, 0, 1000} {
		a.add(status)
	}
	got := map[string]uint64{}
	a.each(func(code string, n uint64) { got[code] = n })
	if fmt.Sprint(got) != "map[200:2 499:1 500:2 599:1]" {
		t.Error(got)
	}
}

func BenchmarkRecord(b *testing.B) {
	var h health
	now := time.Now()
	c := call{kind: toolCall, tool: "echo", took: 3 * time.Millisecond}
	b.ReportAllocs()
	for b.Loop() {
		h.record(now, c, listsAll)
	}
}

// What a client makes up costs a look into the names that the server has, and no memory.
func BenchmarkRecordUnlisted(b *testing.B) {
	var h health
	now := time.Now()
	c := call{kind: toolCall, tool: "made up", took: 3 * time.Millisecond}
	b.ReportAllocs()
	for b.Loop() {
		h.record(now, c, func(string) bool { return false })
	}
}
