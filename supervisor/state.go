package supervisor

import "time"

// state is where a machine stands. There are two kinds of machine: the door of a server, which
// says whether workers may be started, and each worker. They share one table because it is one
// picture; no state and no event belongs to both but stopAsked.
type state string

const (
	// The door of a server.
	open     state = "open"     // workers are started when they are needed
	backoff  state = "backoff"  // none is started before the deadline
	missing  state = "missing"  // the command cannot be found; every call looks again
	halted   state = "halted"   // stopped by a person
	disabled state = "disabled" // by the configuration
	closing  state = "closing"  // removed, or mcpd ends; never left

	// A worker.
	starting state = "starting" // from the start of its process to the end of the handshake
	ready    state = "ready"    // takes calls
	draining state = "draining" // takes no new calls; ends when the last is done, or at the deadline
	stopping state = "stopping" // the five steps of end are on
	gone     state = "gone"     // the process has ended; never left
)

// event is something that happened.
type event string

const (
	// To the door.
	failed         event = "failed"         // a worker ended unasked and a pause is due
	delayElapsed   event = "delayElapsed"   // the pause is over
	commandMissing event = "commandMissing" // looked for, not found
	commandFound   event = "commandFound"   // looked for again, found
	enabled        event = "enabled"        // the configuration (now) says: run this
	disabledBy     event = "disabledBy"     // the configuration says: do not
	startAsked     event = "startAsked"     // by a person
	closeAsked     event = "closeAsked"     // the server is to go for good

	// To the door and to a worker.
	stopAsked event = "stopAsked" // door: by a person; worker: by its connection, or its caller is gone

	// To a worker.
	opened          event = "opened"          // the handshake is done
	openFailed      event = "openFailed"      // the handshake came to nothing
	deadlineElapsed event = "deadlineElapsed" // the state has lasted as long as it may
	broken          event = "broken"          // a pipe ended although the process lives
	exited          event = "exited"          // the process has ended and its group with it
	retired         event = "retired"         // it is not wanted any more; calls may finish
	drained         event = "drained"         // the last call is done
	unused          event = "unused"          // it has been idle long enough, or its place is needed
)

// action is what the owner does on a move.
type action string

const (
	none   action = ""
	look   action = "look"   // forget the failures and look for the command
	retire action = "retire" // retire every worker
	admit  action = "admit"  // let calls in
	drain  action = "drain"  // let no further call in
	stop   action = "stop"   // begin the five steps
	abort  action = "abort"  // charge the server with a failure, then begin the five steps
	crash  action = "crash"  // charge the server with a failure, then bury
	bury   action = "bury"   // forget the worker
)

type move struct {
	to state
	do action
}

// table is both machines, whole; nothing writes to it. A pair that is absent is ignored on
// purpose: late answers, and ends that race a stop, land there. doc.go has the drawing.
var table = map[state]map[event]move{
	open: {
		failed:         {backoff, none},
		commandMissing: {missing, none},
		enabled:        {open, look},
		startAsked:     {open, look},
		stopAsked:      {halted, retire},
		disabledBy:     {disabled, retire},
		closeAsked:     {closing, retire},
	},
	backoff: {
		failed:       {backoff, none}, // a worker of before has fallen too: the pause begins again
		delayElapsed: {open, none},
		enabled:      {open, look},
		startAsked:   {open, look},
		stopAsked:    {halted, retire},
		disabledBy:   {disabled, retire},
		closeAsked:   {closing, retire},
	},
	missing: {
		commandFound: {open, none},
		enabled:      {open, look},
		startAsked:   {open, look},
		stopAsked:    {halted, retire},
		disabledBy:   {disabled, retire},
		closeAsked:   {closing, retire},
	},
	halted: { // a reload does not undo what a person asked for
		startAsked: {open, look},
		disabledBy: {disabled, none},
		closeAsked: {closing, retire},
	},
	disabled: {
		enabled:    {open, look},
		closeAsked: {closing, retire},
	},
	closing: {},

	starting: {
		opened:          {ready, admit},
		openFailed:      {stopping, abort},
		deadlineElapsed: {stopping, abort},
		broken:          {stopping, abort},
		exited:          {gone, crash},
		retired:         {stopping, stop}, // no call can be on it yet
		stopAsked:       {stopping, stop},
	},
	ready: {
		exited:    {gone, crash},
		broken:    {stopping, abort},
		unused:    {stopping, stop},
		retired:   {draining, drain},
		stopAsked: {stopping, stop},
	},
	draining: {
		drained:         {stopping, stop},
		deadlineElapsed: {stopping, stop},
		stopAsked:       {stopping, stop},
		broken:          {stopping, stop},
		exited:          {gone, bury},
	},
	stopping: {
		exited: {gone, bury},
	},
	gone: {},
}

// machine is one run through the table.
type machine struct {
	state    state
	since    time.Time
	deadline time.Time // when the state is over by itself; zero: it is not
}

// step makes the move for ev, if the table has one. The new state has no deadline until the
// owner sets one.
func (m *machine) step(ev event, now time.Time) (action, bool) {
	mv, ok := table[m.state][ev]
	if !ok {
		return none, false
	}
	if m.state != mv.to {
		m.state, m.since = mv.to, now
	}
	m.deadline = time.Time{}
	return mv.do, true
}

// due tells whether the deadline has come.
func (m *machine) due(now time.Time) bool { return !m.deadline.IsZero() && !m.deadline.After(now) }
