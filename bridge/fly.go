package bridge

import (
	"context"
	"net/http"
)

// fly makes a call on a worker that was lent for it, and gives the worker back
// unless its answer is a task.
func (x *exchange) fly(ctx context.Context, c *Conn, call *Call, release func()) (r Reply, again bool) {
	call.tasks = call.wantsTask(c)
	if x.tasked(ctx, c, call) {
		return x.flyTasked(ctx, c, call, release)
	}
	fl := flight{c: c, w: c.calls.waiter(), release: release}
	if call.tasks {
		fl.release = func() {}
	}
	r, again = x.runOn(ctx, fl, call)
	if call.tasks {
		x.s.keepTask(c, call, &r, release)
	} else if r.isTask() {
		f := x.untasked(c, &r)
		r.free()
		r = Reply{fault: f}
	}
	return r, again
}

// foreign is a method that the bridge does not know, to be passed on as it is;
// false if its name is no method's. name is raw.
func foreign(name []byte) (method, bool) {
	in, ok := plain(name)
	if !ok || len(in) == 0 || len(in) > 128 {
		return method{}, false
	}
	for _, c := range in {
		if c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return method{}, false
		}
	}
	return method{name: string(in), foreign: true, era: inBoth}, true
}

// unknown passes a method of neither generation on: in a session to whatever
// worker there is, for older servers have methods of their own; from a modern
// client only to a modern server that advertises extensions, where it is one
// of theirs. The refusal, if it is one, is the worker's.
func (x *exchange) unknown() *fault {
	raw := x.env.method.of(x.call.body)
	m, ok := foreign(raw)
	no := &fault{http.StatusOK, codeNoMethod, "no such method: " + string(text(raw)), nil}
	if x.call.Modern {
		no.status = http.StatusNotFound
		id := x.s.ident.Load()
		ok = ok && id != nil && id.modern && id.has&hasExtensions != 0
	}
	if !ok {
		return no
	}
	x.call.method = m
	return nil
}

// taskMethod checks a method about tasks before anything is looked up.
func (x *exchange) taskMethod() *fault {
	id := x.s.ident.Load()
	has := id != nil
	if x.call.Modern {
		if has = has && id.modern && id.has&hasTaskExtension != 0; has && !x.call.declares() {
			return errUndeclared
		}
	} else {
		has = has && id.has&hasTasks != 0 && x.s.private() && x.call.Client.Version >= latestLegacy
	}
	if has {
		return nil
	}
	status := http.StatusOK
	if x.call.Modern {
		status = http.StatusNotFound
	}
	return &fault{status, codeNoMethod, "this server does not offer " + x.call.method.name, nil}
}

// answerer makes a session's call on the worker that it concerns.
func (x *exchange) answerer(ctx context.Context) Reply {
	if x.call.method.task {
		return x.routed(ctx)
	}
	return x.run(ctx, &x.call)
}
