package bridge

import (
	"context"
	"strconv"
	"time"
)

// Tools that a server of 2025-11-25 has as tasks alone (execution.taskSupport
// "required"), for clients without those tasks: modern ones, those of earlier
// revisions, and everyone in shared isolation. The bridge asks for the task,
// waits for its result and answers the call with that.

// ownTask is how long the server is asked to keep such a task.
const ownTask = time.Hour

// tasked reports whether the call can only be made as a task, and its client
// cannot ask for one. A session's client of 2025-11-25 can.
func (x *exchange) tasked(ctx context.Context, c *Conn, call *Call) bool {
	if !call.method.tool || call.tasks || c.modern.Load() || c.ident.has&hasTasks == 0 {
		return false
	}
	if !call.Modern && x.s.private() && call.Client.Version >= latestLegacy {
		return false
	}
	return c.described(ctx, call.profile(x.s), call.Principal).tasked[string(text(call.env.name.of(call.body)))]
}

// flyTasked makes the call as a task and waits for the result. Questions and
// progress are the call's own.
func (x *exchange) flyTasked(ctx context.Context, c *Conn, call *Call, release func()) (r Reply, again bool) {
	call.later = c.calls.unheard() // progress goes to who waits for the result
	r, again = x.runOn(ctx, flight{c: c, w: c.calls.waiter(), release: func() {}}, call)
	w := c.calls.waiter()
	w.id, call.later = call.later, 0
	var id []byte
	if r.frame != nil && r.frame.env.kind == kindResult {
		b := r.frame.line.b
		id = append(id, memberOf(b, memberOf(b, r.frame.env.result, "task"), "taskId").of(b)...)
	}
	if len(id) == 0 {
		c.calls.free(c, w)
		release()
		return r, again
	}
	r.free()
	r, _ = x.runOn(ctx, flight{c: c, w: w, release: release, task: id}, call)
	return r, false // never again: the task was made
}

// appendLine appends the line that the worker is sent.
func (fl *flight) appendLine(dst []byte, call *Call) []byte {
	if fl.task == nil {
		return fl.c.appendLine(dst, call, fl.w.id)
	}
	return appendTask(dst, "tasks/result", fl.w.id, fl.task)
}

// cancel tells the worker that nobody waits any more.
func (fl *flight) cancel(why string) {
	fl.c.cancel(fl.w.id, why)
	if fl.task != nil {
		fl.c.post(appendTask(nil, "tasks/cancel", fl.c.calls.unheard(), fl.task))
	}
}

// appendTask appends a request about one of the bridge's own tasks.
func appendTask(dst []byte, method string, id uint64, task []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	dst = appendID(dst, id)
	dst = append(append(dst, `,"method":"`...), method...)
	dst = append(append(dst, `","params":{"taskId":`...), task...)
	return append(dst, "}}\n"...)
}

// appendAsTask appends what makes a tool call a task.
func appendAsTask(dst []byte) []byte {
	dst = append(comma(dst), `"task":{"ttl":`...)
	return append(strconv.AppendInt(dst, ownTask.Milliseconds(), 10), '}')
}
