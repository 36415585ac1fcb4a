package bridge

import (
	"context"
	"net/http"
)

// Want is what a client asks for, as far as it matters to who may have it.
type Want struct {
	Method string // "tools/call"
	Tool   string // of a call of a tool
	Alien  bool   // the method is none that this bridge knows

	// Reads tells whether it changes nothing: all but calls of tools that their server does not say that of
	// (readOnlyHint), and alien methods. It may ask a worker for its list of tools.
	Reads func() bool
}

// Denial is why somebody may not have it.
type Denial struct {
	Text      string // for the person at the client
	Challenge string // the WWW-Authenticate value that tells how they may; "" where they cannot
}

// permitted asks whether the caller may have what the request asks for.
func (x *exchange) permitted(ctx context.Context) *fault {
	if x.s.o.Permit == nil {
		return nil
	}
	m := x.call.method
	w := Want{Method: m.name, Alien: m.foreign, Reads: func() bool { return !m.foreign }}
	if m.tool {
		w.Tool = string(text(x.call.env.name.of(x.call.body)))
		w.Reads = func() bool { return x.readsOnly(ctx, w.Tool) }
	}
	no := x.s.o.Permit(x.r, w)
	if no == nil {
		return nil
	}
	if no.Challenge != "" && x.collect == nil && x.channel == nil { // a status of its own
		x.w.Header()["Www-Authenticate"] = []string{no.Challenge}
	}
	return &fault{http.StatusForbidden, codeInvalidRequest, no.Text, nil}
}

// readsOnly tells whether the caller's own server says that a tool changes nothing. Who cannot be asked has not said so.
func (x *exchange) readsOnly(ctx context.Context, tool string) bool {
	p := x.call.profile(x.s)
	c, release, err := x.s.acquire(ctx, p, x.call.Principal)
	if err != nil {
		return false
	}
	defer release()
	return c.described(ctx, p, x.call.Principal).reads[tool]
}

// readers are the tools of a list that change nothing, as their annotations say.
func readers(items []byte) map[string]bool {
	found := map[string]bool{}
	for v := range values(items, span{0, len(items)}) {
		if !v.isObjAt(items) {
			continue
		}
		hint := memberOf(items, memberOf(items, v, "annotations"), "readOnlyHint")
		if string(hint.of(items)) == "true" {
			found[string(text(memberOf(items, v, "name").of(items)))] = true
		}
	}
	return found
}
