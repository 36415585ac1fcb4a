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

// Tool is a tool as its server lists it.
type Tool struct {
	Name  string
	Reads bool // it changes nothing, as its server says
}

// Denial is why somebody may not have it.
type Denial struct {
	Text      string // for the person at the client
	Challenge string // the WWW-Authenticate value that tells how they may; "" where they cannot
}

// permitted asks whether the caller may have what the request asks for.
func (x *exchange) permitted(ctx context.Context) *fault {
	m := x.call.method
	if x.shows = nil; x.s.o.Shows != nil && m.listing == toolListing {
		x.shows = x.s.o.Shows(x.r)
	}
	if x.s.o.Permit == nil {
		return nil
	}
	w := Want{Method: m.name, Alien: m.foreign}
	if m.tool {
		tool := string(text(x.call.env.name.of(x.call.body)))
		w.Tool, w.Reads = tool, func() bool { return x.readsOnly(ctx, tool) }
	} else {
		w.Reads = func() bool { return !m.foreign }
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
		if t := toolAt(items, v); t.Reads {
			found[t.Name] = true
		}
	}
	return found
}

// toolAt reads the tool at v in a list.
func toolAt(items []byte, v span) Tool {
	if !v.isObjAt(items) {
		return Tool{}
	}
	hint := memberOf(items, memberOf(items, v, "annotations"), "readOnlyHint")
	return Tool{string(text(memberOf(items, v, "name").of(items))), string(hint.of(items)) == "true"}
}

// sifted is a list of tools without those that the caller may not call.
func (x *exchange) sifted(items []byte) []byte {
	if x.shows == nil || len(items) == 0 || items[0] != '[' {
		return items
	}
	out := append(make([]byte, 0, len(items)), '[')
	for v := range values(items, span{0, len(items)}) {
		if x.shows(toolAt(items, v)) {
			if len(out) > 1 {
				out = append(out, ',')
			}
			out = append(out, v.of(items)...)
		}
	}
	return append(out, ']')
}

// sift takes out of a page of tools what the caller may not call. What is in stock is whole, and so is the cursor.
func (x *exchange) sift(r *Reply) {
	if x.shows == nil || r.frame == nil || !r.frame.env.rTools.ok() {
		return
	}
	x.rewrite(r, x.sifted(r.frame.env.rTools.of(r.frame.line.b)))
}
