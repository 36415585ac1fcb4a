package supervisor

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// The two kinds of machine, in the order of the drawing.
func kinds() []struct {
	name   string
	states []state
	events []event
} {
	return []struct {
		name   string
		states []state
		events []event
	}{
		{"door",
			[]state{open, backoff, missing, halted, disabled, closing},
			[]event{failed, delayElapsed, commandMissing, commandFound, enabled, startAsked, stopAsked, disabledBy, closeAsked}},
		{"worker",
			[]state{starting, ready, draining, stopping, gone},
			[]event{opened, openFailed, drained, deadlineElapsed, unused, broken, exited, retired, stopAsked}},
	}
}

// ignored says, for every pair that is not in the table, why it is not.
func ignored() map[state]map[event]string {
	const (
		never     = "cannot happen in this state"
		late      = "comes too late to matter"
		alreadyIs = "is so already"
		byHand    = "a person's Stop stands until Start"
		byConfig  = "only the configuration ends this state"
		final     = "the state is final"
	)
	return map[state]map[event]string{
		open:    {delayElapsed: late, commandFound: alreadyIs},
		backoff: {commandMissing: never, commandFound: never},
		missing: {failed: "the command is gone, a pause would say less", delayElapsed: late, commandMissing: alreadyIs},
		halted: {failed: late, delayElapsed: late, commandMissing: never, commandFound: never,
			enabled: byHand, stopAsked: alreadyIs},
		disabled: {failed: late, delayElapsed: late, commandMissing: never, commandFound: never,
			startAsked: byConfig, stopAsked: byConfig, disabledBy: alreadyIs},
		closing: {failed: final, delayElapsed: final, commandMissing: final, commandFound: final, enabled: final,
			startAsked: final, stopAsked: final, disabledBy: final, closeAsked: final},

		starting: {drained: never, unused: never},
		ready:    {opened: never, openFailed: never, drained: never, deadlineElapsed: "the owner asks the pool first and says unused"},
		draining: {opened: never, openFailed: never, unused: late, retired: alreadyIs},
		stopping: {opened: late, openFailed: late, drained: late, deadlineElapsed: never, unused: late, broken: late,
			retired: alreadyIs, stopAsked: alreadyIs},
		gone: {opened: final, openFailed: final, drained: final, deadlineElapsed: final, unused: final, broken: final,
			exited: final, retired: final, stopAsked: final},
	}
}

func TestTableIsTotal(t *testing.T) {
	seen := 0
	for _, kind := range kinds() {
		for _, s := range kind.states {
			seen++
			for _, ev := range kind.events {
				_, moves := table[s][ev]
				why, ignores := ignored()[s][ev]
				if moves == ignores {
					t.Errorf("%s × %s: in the table %v, ignored %v (%s)", s, ev, moves, ignores, why)
				}
			}
			for ev, mv := range table[s] {
				if !slices.Contains(kind.events, ev) {
					t.Errorf("%s knows %s, which is no event of a %s", s, ev, kind.name)
				}
				if !slices.Contains(kind.states, mv.to) {
					t.Errorf("%s × %s leads to %s, which is no state of a %s", s, ev, mv.to, kind.name)
				}
			}
		}
	}
	if seen != len(table) {
		t.Errorf("the table has %d states, the test knows %d", len(table), seen)
	}
}

// Every state but the final ones can be left, and every worker ends.
func TestEveryWorkerCanEnd(t *testing.T) {
	for _, s := range kinds()[1].states {
		if s != gone && table[s][exited].to != gone {
			t.Errorf("a worker that is %s does not end with its process", s)
		}
	}
}

func TestDrawingIsTheTable(t *testing.T) {
	var b strings.Builder
	for i, kind := range kinds() {
		if i > 0 {
			b.WriteString("//\n")
		}
		for _, s := range kind.states {
			for _, ev := range drawn(kind.events) {
				if mv, ok := table[s][ev]; ok {
					b.WriteString(strings.TrimRight(fmt.Sprintf("//\t%-9s %-16s → %-10s %s", s, ev, mv.to, mv.do), " ") + "\n")
				}
			}
		}
	}
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), b.String()) {
		t.Errorf("doc.go does not have the table as it is:\n%s", b.String())
	}
}

// drawn is the order in which the drawing has the events of a worker and of a door.
func drawn(events []event) []event {
	order := []event{failed, delayElapsed, commandMissing, commandFound, enabled, startAsked,
		opened, openFailed, drained, deadlineElapsed, exited, broken, unused, retired, stopAsked, disabledBy, closeAsked}
	return slices.DeleteFunc(order, func(ev event) bool { return !slices.Contains(events, ev) })
}

func TestPaths(t *testing.T) {
	for _, tt := range []struct {
		name   string
		from   state
		events []event
		want   []state
	}{
		{"a quiet life", starting, []event{opened, unused, exited}, []state{ready, stopping, gone}},
		{"crash at start", starting, []event{exited, openFailed}, []state{gone, gone}},
		{"handshake and exit race", starting, []event{openFailed, exited}, []state{stopping, gone}},
		{"exit races a stop", ready, []event{stopAsked, broken, exited, exited}, []state{stopping, stopping, gone, gone}},
		{"replaced with a call on", ready, []event{retired, drained, deadlineElapsed, exited}, []state{draining, stopping, stopping, gone}},
		{"replaced while starting", starting, []event{retired, opened, exited}, []state{stopping, stopping, gone}},
		{"crash while draining", ready, []event{retired, exited, drained}, []state{draining, gone, gone}},
		{"back-off and again", open, []event{failed, failed, delayElapsed, delayElapsed}, []state{backoff, backoff, open, open}},
		{"stop in back-off", open, []event{failed, stopAsked, delayElapsed, enabled, startAsked}, []state{backoff, halted, halted, halted, open}},
		{"npx is installed", open, []event{commandMissing, failed, commandFound}, []state{missing, missing, open}},
		{"closed for good", backoff, []event{closeAsked, startAsked, enabled}, []state{closing, closing, closing}},
	} {
		m := machine{state: tt.from}
		for i, ev := range tt.events {
			m.step(ev, time.Now())
			if m.state != tt.want[i] {
				t.Errorf("%s: after %v: %s, want %s", tt.name, tt.events[:i+1], m.state, tt.want[i])
			}
		}
	}
}
