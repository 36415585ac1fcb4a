package bridge

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// The two designs of tasks. MCP 2025-11-25: the client asks for one with
// params.task and reads it with tasks/get, tasks/result, tasks/list and
// tasks/cancel. The extension of 2026-07-28: the server decides, for a client
// that declared it, and tasks/get, tasks/update and tasks/cancel follow.
const taskExtension = metaPrefix + "tasks"

// task is one that a worker made and has not finished, or not for long.
type task struct {
	id     taskID
	c      *Conn
	free   func() // of the worker, which is not to be stopped before
	made   time.Time
	ttl    time.Duration // 0: the server names none
	ending *time.Timer
}

// taskID is what a task is found by: its own id alone tells nothing, for a
// worker is free to number its tasks from one.
type taskID struct {
	who    string
	modern bool
	id     string
}

// tasks are those of all workers. They die with their worker, and with mcpd.
type tasks struct {
	mu     sync.Mutex
	m      map[taskID]*task
	closed bool
}

const (
	maxTasks    = 4096
	maxOwnTasks = 128 // of one person
	maxTaskID   = 512 // bytes
	// taskLife is how long a worker is held for a task that does not end.
	taskLife = 24 * time.Hour
	// taskRest is the longest a worker is held for one that has ended.
	taskRest = time.Hour
)

var (
	errNoTask = &fault{http.StatusOK, codeParams, "task not found", nil}
	// A client that did not declare the extension must not be given a task
	// (MCP 2026-07-28, tasks extension).
	errUndeclared = &fault{http.StatusBadRequest, codeCapability, "this needs the " + taskExtension + " extension of the client",
		[]byte(`{"requiredCapabilities":{"extensions":{"` + taskExtension + `":{}}}}`)}
)

// wantsTask reports whether the answer of this worker may be a task.
func (call *Call) wantsTask(c *Conn) bool {
	switch {
	case c.modern.Load():
		return call.Modern && c.ident.has&hasTaskExtension != 0 && call.declares()
	case call.Modern || !call.env.asTask.ok():
		return false
	}
	return c.s.private() && c.ident.has&hasTasks != 0
}

// declares reports whether the client knows the extension.
func (call *Call) declares() bool {
	caps := call.Client.Caps
	ext := memberOf(caps, span{0, len(caps)}, "extensions")
	return ext.isObj(caps) && memberOf(caps, ext, taskExtension).isObj(caps)
}

// keepTask takes over the loan of a worker whose answer is a task.
func (s *Server) keepTask(c *Conn, call *Call, r *Reply, free func()) {
	if r.frame == nil || r.frame.env.kind != kindResult {
		free()
		return
	}
	b, p := r.frame.line.b, r.frame.env.result
	if call.Modern && !r.isTask() {
		free()
		return
	}
	if !call.Modern {
		p = memberOf(b, p, "task")
	}
	id := text(memberOf(b, p, "taskId").of(b))
	if len(id) == 0 || len(id) > maxTaskID {
		free()
		return
	}
	t := &task{id: taskID{call.Principal, call.Modern, string(id)}, c: c, free: free, made: time.Now()}
	s.tasks.add(t)
	s.tasks.note(t, b, p)
}

// isTask reports whether a modern result is a task.
func (r *Reply) isTask() bool {
	return r.frame != nil && r.frame.env.rType.ok() && string(r.frame.env.rType.value.of(r.frame.line.b)) == `"task"`
}

// add keeps a task; the person's oldest, then anyone's, makes room.
func (t *tasks) add(v *task) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		v.free()
		return
	}
	if t.m == nil {
		t.m = map[taskID]*task{}
	}
	t.remove(t.m[v.id])
	for len(t.m) > 0 {
		var own, oldest *task
		n := 0
		for _, o := range t.m {
			if o.id.who == v.id.who {
				n++
				if own == nil || o.made.Before(own.made) {
					own = o
				}
			}
			if oldest == nil || o.made.Before(oldest.made) {
				oldest = o
			}
		}
		if n >= maxOwnTasks {
			t.remove(own)
		} else if len(t.m) >= maxTasks {
			t.remove(oldest)
		} else {
			break
		}
	}
	t.m[v.id] = v
	v.ending = time.AfterFunc(taskLife, func() { t.end(v) })
}

// remove lets go of a task. Under the lock.
func (t *tasks) remove(v *task) {
	if v != nil && t.m[v.id] == v {
		delete(t.m, v.id)
		v.ending.Stop()
		v.free()
	}
}

func (t *tasks) end(v *task) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remove(v)
}

// find returns a person's task whose worker lives.
func (t *tasks) find(id taskID) *task {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.m[id]
	if v != nil && v.c.Err() != nil {
		t.remove(v)
		return nil
	}
	return v
}

// note reads how far a task is. One that has ended is kept for as long as the
// server said, counted from when it was made (MCP 2025-11-25, tasks).
func (t *tasks) note(v *task, b []byte, p span) {
	for _, name := range []string{"ttl", "ttlMs"} {
		if ttl := memberOf(b, p, name); ttl.ok() {
			if ms, err := strconv.ParseInt(string(ttl.of(b)), 10, 64); err == nil && ms > 0 {
				v.setTTL(time.Duration(min(ms, taskLife.Milliseconds()))*time.Millisecond, t)
			}
		}
	}
	switch string(text(memberOf(b, p, "status").of(b))) {
	case "completed", "failed", "cancelled":
		t.rest(v)
	}
}

func (v *task) setTTL(ttl time.Duration, t *tasks) {
	t.mu.Lock()
	v.ttl = ttl
	t.mu.Unlock()
}

// rest lets a task that has ended go after its time.
func (t *tasks) rest(v *task) {
	t.mu.Lock()
	defer t.mu.Unlock()
	left := taskRest
	if v.ttl > 0 {
		left = min(max(time.Until(v.made.Add(v.ttl)), time.Second), taskRest)
	}
	v.ending.Reset(left)
}

// close lets go of everything.
func (t *tasks) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, v := range t.m {
		t.remove(v)
	}
}

// routed makes a call about a task on the worker that has it. Of another
// person, of another design and made up look the same.
func (x *exchange) routed(ctx context.Context) Reply {
	call := &x.call
	v := x.s.tasks.find(taskID{call.Principal, call.Modern, string(text(call.env.task.of(call.body)))})
	if v == nil {
		return Reply{fault: errNoTask}
	}
	r, _ := x.runOn(ctx, flight{c: v.c, w: v.c.calls.waiter(), release: func() {}}, call)
	switch {
	case r.fault != nil && v.c.Err() != nil:
		x.s.tasks.end(v)
		return Reply{fault: errNoTask}
	case r.frame == nil || r.frame.env.kind != kindResult:
	case call.method.name == "tasks/result":
		x.s.tasks.rest(v) // it is only given once the task has ended
	default:
		x.s.tasks.note(v, r.frame.line.b, r.frame.env.result)
	}
	return r
}

// untasked is the error for a task that the client cannot be given; the worker
// need not go on.
func (x *exchange) untasked(c *Conn, r *Reply) *fault {
	b := r.frame.line.b
	if id := memberOf(b, r.frame.env.result, "taskId"); id.isStr(b) {
		line := appendID([]byte(`{"jsonrpc":"2.0","id":`), c.calls.unheard())
		line = append(line, `,"method":"tasks/cancel","params":{"taskId":`...)
		line = append(append(line, id.of(b)...), `,"_meta":`...)
		c.post(append(c.s.ownMeta(line), "}}\n"...))
	}
	if x.call.Modern {
		return errUndeclared
	}
	return internal("the server answered with a task, which this client cannot follow")
}
