package supervisor

import (
	"context"
	"fmt"
	"time"

	"github.com/mcpd/mcpd/supervisor/confine"
)

// State is what a server or a worker is doing, in the words of mcpd status.
type State string

// The states of a server. A worker is starting, ready or stopping.
const (
	StateReady    State = "ready"    // at least one worker takes calls
	StateStarting State = "starting" // the first worker is being started, or waits for a place in the budget
	StateIdle     State = "idle"     // no worker runs; the next call starts one
	StateBackoff  State = "backoff"  // nothing is started before NextTry
	StateFailed   State = "failed"   // cannot be started as it is: the command is not there
	StateStopping State = "stopping" // workers are finishing their calls and ending
	StateDisabled State = "disabled" // by the configuration, or stopped by a person
)

// Snapshot is what was measured at one moment.
type Snapshot struct {
	Servers []ServerStatus // sorted by name

	// Orphans is the number of processes that a worker left behind and that still live, counted
	// in /proc. -1 where that cannot be measured (not Linux).
	Orphans int
}

// ServerStatus is one server at one moment.
type ServerStatus struct {
	Name         string
	State        State
	Reason       string    // why it is in this state, for a person; never empty
	Since        time.Time // when it came into this state
	NextTry      time.Time // when a start is possible again; zero unless State is backoff
	Restarts     int       // workers started in place of one that ended by itself
	RestartsHour int       // those of the last hour
	Calls        uint64    // calls that were given a worker, over the life of the server
	Queue        int       // calls that wait for a worker now
	Busy         int       // workers with at least one call
	Max          int       // the most workers it may have
	Workers      []WorkerStatus

	// InForce are the limits and restrictions that hold its workers, with the means; Missing are
	// those that the configuration asks for and this machine cannot give.
	InForce, Missing []string

	want confine.Want
	born time.Time // of what owns the server: when a replacement was ordered
}

// WorkerStatus is one worker process at one moment.
type WorkerStatus struct {
	PID    int
	State  State
	Key    string // whom it works for; "" also while it has nobody
	Calls  uint64 // calls it was given
	Active int    // calls that are on it now
	Since  time.Time

	// Memory is in bytes resident and CPU what has been used so far, both of its whole process
	// group; 0 where that cannot be measured.
	Memory int64
	CPU    time.Duration
}

// census counts the workers of a server by what they are doing.
type census struct{ ready, starting, ending int }

// public maps the machines of a server to the one state that a person sees, with its reason.
func (s *server[C]) public() (State, string) {
	n := s.census()
	switch s.door.state {
	case disabled:
		if n.ending > 0 {
			return StateStopping, "disabled in the configuration; " + ending(n)
		}
		return StateDisabled, "disabled in the configuration"
	case halted:
		if n.ending > 0 {
			return StateStopping, "stopped by hand; " + ending(n)
		}
		return StateDisabled, "stopped by hand"
	case closing:
		return StateStopping, "being removed; " + ending(n)
	case missing:
		return StateFailed, s.lacking
	case backoff:
		return StateBackoff, s.pausing(n)
	}
	switch {
	case n.ready > 0 && s.relieving:
		return StateReady, s.history("serving as before the change, until a new worker is ready")
	case n.ready > 0:
		return StateReady, s.history("serving")
	case n.starting > 0:
		return StateStarting, s.history("waiting for the handshake")
	case s.short != "":
		return StateStarting, s.history("waiting to start: " + s.short)
	}
	return StateIdle, s.history("starts at the next call")
}

func (s *server[C]) pausing(n census) string {
	text := fmt.Sprintf("%s; next try %s", s.streak.describe(s.o.Backoff), s.door.deadline.Format(time.TimeOnly))
	if n.ready > 0 { // of other callers, or of before the last change
		text += fmt.Sprintf("; workers that still serve: %d", n.ready)
	}
	return text
}

// history adds the last failure to a reason, as long as it is news.
func (s *server[C]) history(now string) string {
	last := s.streak.last
	if last.at.IsZero() || time.Since(last.at) > time.Hour {
		return now
	}
	return fmt.Sprintf("%s; last failure %s: %s", now, last.at.Format(time.TimeOnly), last.reason)
}

func ending(n census) string {
	switch n.ending {
	case 0:
		return "nothing runs"
	case 1:
		return "1 worker is ending"
	}
	return fmt.Sprintf("%d workers are ending", n.ending)
}

func (s *server[C]) census() (n census) {
	for _, w := range s.workers {
		switch w.state {
		case ready:
			n.ready++
		case starting:
			n.starting++
		default:
			n.ending++
		}
	}
	return n
}

// measured is the server's status; false if it is gone.
func (s *server[C]) measured(groups map[int]usage) (ServerStatus, bool) {
	got := make(chan ServerStatus, 1)
	if s.ask(context.Background(), func() { got <- s.status(groups) }) != nil {
		return ServerStatus{}, false
	}
	return <-got, true
}

// status is measured by the owner.
func (s *server[C]) status(groups map[int]usage) ServerStatus {
	st := ServerStatus{
		Name: s.name, State: s.seen, Reason: s.why, Since: s.seenSince,
		Restarts: s.restarts.all, RestartsHour: s.restarts.lastHour(time.Now()),
		Queue: len(s.queue), Max: s.spec.most(), Calls: s.past, want: s.spec.want(), born: s.born,
	}
	if s.door.state == backoff {
		st.NextTry = s.door.deadline
	}
	for _, w := range s.workers {
		ws := WorkerStatus{PID: w.processID(), State: StateStopping, Key: w.key, Since: w.since}
		ws.Calls, ws.Active = s.pool.load(w)
		if ws.PID > 0 { // not yet: group 0 is the kernel's
			ws.Memory, ws.CPU = groups[ws.PID].memory, groups[ws.PID].cpu
		}
		switch w.state {
		case starting:
			ws.State = StateStarting
		case ready:
			ws.State = StateReady
		}
		if ws.Active > 0 {
			st.Busy++
		}
		st.Calls += ws.Calls
		st.Workers = append(st.Workers, ws)
	}
	return st
}
