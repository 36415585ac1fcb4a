package bridge

import (
	"context"
	"errors"
	"time"
)

// Call is one request, shaped like the modern protocol whichever front made
// it. Params stay the client's bytes.
type Call struct {
	method method
	body   []byte
	env    *envelope

	Modern    bool   // which front
	Principal string // opaque; "" is anonymous
	Client    Client
	Logs      level  // 0: no log messages for this call
	Progress  []byte // the client's progress token, raw, nil if none
	Answers   []byte // inputResponses, raw: set by a front that asked itself
	State     []byte // requestState, raw: likewise
	tasks     bool   // the answer may be a task
	later     uint64 // made as a task of the bridge's own: the id under which its result is asked for
}

// Client is what the other end said of itself: per session or per request.
type Client struct {
	Version    string
	Name       string // in Info, "" if unknown
	Info       []byte // raw, nil if unknown
	Caps       []byte // raw, nil if unknown
	asks       asks
	extensions string // of a session's Caps, as extensionsOf gives them
	session    sid    // zero in the modern generation
	opened     time.Time
}

// Reply is how a call ended: a result, input required, or an error. A result
// that asks for input has InputRequests or State.
type Reply struct {
	conn  *Conn
	frame *frame // the worker's response, nil if fault or gone
	fault *fault
	gone  bool // cancelled: nobody is to be told anything more

	own    []byte // input required, in the bridge's own words: the call is parked
	denied asks   // what the worker asked during the call and the client cannot answer
}

// InputRequests is the raw object of questions, nil if the call is complete.
func (r *Reply) InputRequests() []byte {
	if !r.asking() || !r.frame.env.rInputs.isObj(r.frame.line.b) {
		return nil
	}
	return r.frame.env.rInputs.of(r.frame.line.b)
}

// State is the raw requestState to give back with the answers, or nil.
func (r *Reply) State() []byte {
	if !r.asking() || !r.frame.env.rState.ok() {
		return nil
	}
	return r.frame.env.rState.of(r.frame.line.b)
}

func (r *Reply) asking() bool {
	if r.frame == nil || r.frame.env.kind != kindResult {
		return false
	}
	t := r.frame.env.rType.value
	return t.ok() && string(t.of(r.frame.line.b)) == `"input_required"`
}

func (r *Reply) free() {
	if r.frame != nil {
		r.conn.drop(r.frame)
		r.frame = nil
	}
}

// levelTimeout is how long a worker may take to take note of a log level.
const levelTimeout = 2 * time.Second

// maxStarts bounds how often a call that was never written is offered to
// another worker because its own had just died.
const maxStarts = 3

// run finds a worker and makes the call on it.
func (x *exchange) run(ctx context.Context, call *Call) Reply {
	for n := 1; ; n++ {
		p := call.profile(x.s)
		c, release, err := x.s.acquire(ctx, p, call.Principal)
		if err != nil {
			if ctx.Err() != nil {
				return Reply{gone: true}
			}
			return Reply{fault: refusal(err)}
		}
		if f := call.refused(c); f != nil {
			release()
			return Reply{fault: f}
		}
		if call.Modern && call.method.tool {
			if f := x.mirrored(ctx, c); f != nil {
				release()
				return Reply{fault: f}
			}
		}
		before := c.changes[call.method.listing].Load()
		r, again := x.fly(ctx, c, call, release)
		if call.method.listing != noListing {
			x.s.saw(c, call, p, &r, before)
			x.sift(&r)
		}
		if !again || n == maxStarts {
			return r
		}
	}
}

// profile is what kind of worker this call wants. One worker serves all of a
// person's clients, except those that can be asked what others cannot.
func (call *Call) profile(s *Server) profile {
	if !s.private() {
		return profile{}
	}
	var p profile
	// A modern worker is told with every call; a legacy one once for all.
	if told := call.Modern && !s.era.legacy() || !call.Modern && s.era.modernOnly(); !told {
		extensions := call.Client.extensions
		if call.Modern {
			extensions = extensionsOf(call.Client.Caps)
		}
		if call.Client.asks != 0 || extensions != "" {
			p = profile{legacy: true, asks: call.Client.asks, extensions: extensions}
		}
	}
	return s.ownWorker(p, &call.Client)
}

// refused answers for a worker what it cannot do, without asking it.
func (call *Call) refused(c *Conn) *fault {
	if call.Modern && call.method.needs != 0 && c.ident.has&call.method.needs == 0 {
		return &fault{404, codeNoMethod, "this server does not offer " + call.method.name, nil}
	}
	if call.Modern && call.method.asks && call.env.state.ok() && !c.modern.Load() {
		return errState // a legacy server has no states, and this one is not the bridge's
	}
	return nil
}

// flight is a call on its way: the worker it is on, its place among the calls
// there, and what returns the worker to its owner.
type flight struct {
	c       *Conn
	w       *waiter
	release func()
	task    []byte // raw id: the call has been made, and this is where its result is
}

// land ends a flight.
func (fl *flight) land() {
	fl.c.calls.remove(fl.w)
	fl.c.calls.free(fl.c, fl.w)
	fl.release()
}

// land ends a flight that is not parked.
func (x *exchange) land(fl *flight, r *Reply) {
	if r.own != nil {
		return
	}
	if r.frame != nil { // deliver took it out
		fl.c.calls.free(fl.c, fl.w)
		fl.release()
	} else {
		fl.land()
	}
	x.parking.settle(fl.c, r.frame != nil)
}

// runOn makes the call on one worker. again: nothing was written, the worker
// is dead, another may be tried.
func (x *exchange) runOn(ctx context.Context, fl flight, call *Call) (r Reply, again bool) {
	c, w := fl.c, fl.w
	defer func() { x.land(&fl, &r) }()
	if !x.s.private() {
		if r, again, ok := x.turn(ctx, c); !ok {
			return r, again
		}
		defer c.turns.give(call.Principal)
	}
	w.able = call.method.asks
	if x.front != nil {
		w.asks = x.front.askable()
	}
	w.logs = call.Logs
	if !call.Modern {
		w.logs = max(w.logs, 1) // older servers log unasked
	}
	if call.Logs != 0 {
		c.ensureLevel(ctx, call.Logs)
	}
	w.fresh = fl.task == nil // a task takes its time
	if err := c.calls.add(w); err != nil {
		return Reply{fault: refusal(err)}, !errors.Is(err, errTooMany)
	}
	x.scratch.b = fl.appendLine(x.scratch.b[:0], call)
	if err := c.send(x.scratch.b); err != nil {
		return Reply{fault: refusal(err)}, false
	}
	x.s.stats.calls.Add(1)
	return x.await(ctx, &fl, call), false
}

// await is the loop of one call: it ends with the worker's answer, its death,
// the client's cancellation, the limit, or questions to a client that is to
// call again with the answers.
func (x *exchange) await(ctx context.Context, fl *flight, call *Call) Reply {
	c, w := fl.c, fl.w
	v := vigil{limit: time.Now().Add(x.s.o.Config.Limits.Call)}
	if !w.fresh {
		x.look(ctx, &v, w, call)
	}
	if len(x.legacy.open) > 0 {
		v.answers = x.answers
	}
	for {
		if x.gone && x.leaving() {
			fl.cancel("the client went away")
			return Reply{gone: true}
		}
		if v.due == nil && v.answers == nil { // a select would cost more
			if r, done := x.hear(ctx, &v, <-w.frames, fl, call); done {
				return r
			}
			continue
		}
		select {
		case f := <-w.frames:
			if r, done := x.hear(ctx, &v, f, fl, call); done {
				return r
			}
		case a := <-v.answers:
			x.front.answered(c, a)
			v.limit, v.asking = time.Now().Add(x.s.o.Config.Limits.Call), false
		case reason := <-v.abort:
			fl.cancel(reason)
			return Reply{gone: true}
		case <-v.gone:
			// In a session that ends nothing (MCP 2025-11-25, transports); but the slot is freed in the end.
			v.gone = nil
			x.lose()
			w.timer.Reset(x.s.pause(time.Now(), x.until(v.limit)))
		case <-v.ending:
			if v.ending == x.s.halt {
				fl.cancel("mcpd is stopping")
				return Reply{fault: errStopping}
			}
			v.ending = x.s.halt
			w.timer.Reset(x.s.pause(time.Now(), x.parking.due(x.until(v.limit))))
		case now := <-v.due:
			if x.parking.ripe(now) {
				return x.parking.park(*fl)
			}
			end := x.until(v.limit)
			if !now.Before(end) {
				fl.cancel("timed out")
				c.stalled()
				return x.expired(v.limit, v.asking)
			}
			x.keepAlive()
			w.timer.Reset(x.s.pause(now, x.parking.due(end)))
		}
	}
}

// hear takes in what the worker says. done: the call has ended.
func (x *exchange) hear(ctx context.Context, v *vigil, f *frame, fl *flight, call *Call) (r Reply, done bool) {
	switch f.kind {
	case frameFinal:
		return Reply{conn: fl.c, frame: f, denied: fl.w.denied}, true
	case frameDead:
		return Reply{fault: refusal(f.err)}, true
	case frameNote:
		x.note(f, call)
		fl.c.drop(f)
	case frameQuestion:
		v.limit, v.asking, v.answers = x.question(fl.c, f, fl.w), true, x.answers
	case frameWithdrawal:
		v.limit, v.asking = x.withdrawn(fl.c, f, v.limit, v.asking)
	default:
		fl.c.drop(f)
	}
	if v.due == nil {
		x.look(ctx, v, fl.w, call)
	}
	return Reply{}, false
}

// leaving tells whether a client that goes away ends its call: where closing the
// stream is the cancellation (MCP 2026-07-28), and where the session was the stream.
func (x *exchange) leaving() bool { return x.call.Modern || x.channel != nil }

// question gives a question of the worker to the front and returns the call's
// new limit: the time a person takes is not the worker's.
func (x *exchange) question(c *Conn, f *frame, w *waiter) time.Time {
	x.front.ask(c, f)
	now := time.Now()
	limit := now.Add(x.s.answerTimeout)
	if x.call.Modern {
		w.timer.Reset(x.s.pause(now, x.parking.due(limit)))
	}
	return limit
}

// ensureLevel makes a legacy worker log at least this much, and waits for its answer: servers that
// work on their requests side by side would else begin with the call. Who wants less is not shown the
// rest.
func (c *Conn) ensureLevel(ctx context.Context, want level) {
	if c.modern.Load() || c.ident.has&hasLogging == 0 {
		return
	}
	for {
		now := c.level.Load()
		if now != 0 && level(now) <= want {
			return
		}
		if c.level.CompareAndSwap(now, uint32(want)) {
			break
		}
	}
	ctx, cancel := context.WithTimeout(ctx, levelTimeout)
	defer cancel()
	if f, err := c.request(ctx, "logging/setLevel", `"level":"`+want.String()+`"`); err == nil {
		c.drop(f)
	} // else the call goes without, or finds out itself that the worker is dead
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// pause is how long to wait before the next keep-alive or the limit.
func (s *Server) pause(now, limit time.Time) time.Duration {
	return max(min(s.keepAlive, limit.Sub(now)), 0)
}

func (s *Server) timedOut() *fault {
	return internal("the server did not answer within " + s.o.Config.Limits.Call.String() + "; the call was cancelled")
}
