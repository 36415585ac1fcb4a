package bridge

import (
	"context"
	"net/http"
	"time"
)

// listen answers subscriptions/listen (MCP 2026-07-28): an acknowledgement
// first, then what was asked for, each tagged with the request's id, for as
// long as the client stays.
func (x *exchange) listen() {
	ctx := x.r.Context()
	if !x.events {
		x.refuse(&fault{http.StatusNotAcceptable, codeInvalidRequest, "subscriptions/listen answers with text/event-stream", nil})
		return
	}
	c, release, err := x.s.acquire(ctx, x.call.profile(x.s), x.call.Principal)
	if err != nil {
		x.refuse(refusal(err))
		return
	}
	want, uris := x.filter(c.ident.has)
	held := x.hold(ctx, c, uris)
	release()
	w := &watcher{who: x.call.Principal, lists: want, uris: held.set()}
	if err := x.s.watch.add(w); err != nil {
		held.release()
		x.refuse(internal(err.Error()))
		return
	}
	x.detach(func() { x.announce(w, held) })
}

// announce writes the stream of a listen.
func (x *exchange) announce(w *watcher, held *holding) {
	defer held.release()
	defer x.s.watch.remove(w)
	x.rec.Status = http.StatusOK
	x.stream()
	x.acknowledge(w.lists, held)
	x.follow(x.r.Context(), w, held.lost(), x.tagged)
	x.tag(`{"jsonrpc":"2.0","id":`+string(x.id)+`,"result":{"resultType":"complete","_meta":{`, `}}}`)
	x.endStream()
}

// filter reads what the client wants to hear of and the server can announce.
func (x *exchange) filter(has features) (lists, []string) {
	b, p := x.body.b, x.env.filter
	var want lists
	for _, l := range []struct {
		name  string
		list  lists
		needs features
	}{
		{"toolsListChanged", listTools, hasToolsChanged},
		{"promptsListChanged", listPrompts, hasPromptsChanged},
		{"resourcesListChanged", listResources, hasResourcesChanged},
	} {
		v := memberOf(b, p, l.name)
		if v.ok() && string(v.of(b)) == "true" && has&l.needs != 0 {
			want |= l.list
		}
	}
	if has&hasSubscribe == 0 {
		return want, nil
	}
	return want, stringsOf(b, memberOf(b, p, "resourceSubscriptions"))
}

// stringsOf reads an array of strings, at most maxSubs of them.
func stringsOf(b []byte, p span) []string {
	if !p.ok() || b[p.s] != '[' {
		return nil
	}
	s := scanner{b: b[:p.e], i: p.s + 1}
	var out []string
	for s.peek() != ']' && len(out) < maxSubs {
		v, ok := s.spanned()
		if !ok {
			return out
		}
		if v.isStr(b) {
			out = append(out, string(text(v.of(b))))
		}
		if s.peek() == ',' {
			s.i++
		}
	}
	return out
}

func (x *exchange) acknowledge(want lists, held *holding) {
	out := []byte(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":{`)
	for _, l := range []struct {
		list lists
		name string
	}{{listTools, "toolsListChanged"}, {listPrompts, "promptsListChanged"}, {listResources, "resourcesListChanged"}} {
		if want&l.list != 0 {
			out = comma(out)
			out = append(out, `"`+l.name+`":true`...)
		}
	}
	if uris := held.uris(); len(uris) > 0 {
		out = comma(out)
		out = append(out, `"resourceSubscriptions":[`...)
		for i, u := range uris {
			if i > 0 {
				out = append(out, ',')
			}
			out = quote(out, u)
		}
		out = append(out, ']')
	}
	x.tag(string(out)+`},"_meta":{`, `}}}`)
}

// tag writes one event with the subscription's id in its _meta.
func (x *exchange) tag(before, after string) {
	var p pieces
	p.add([]byte(before + `"` + metaSubscribe + `":`))
	p.add(x.id)
	p.add([]byte(after))
	x.event(&p)
}

// tagged words an announcement for a listen.
func (x *exchange) tagged(a announcement) {
	switch {
	case a.list != 0:
		x.tag(`{"jsonrpc":"2.0","method":"`+a.list.method()+`","params":{"_meta":{`, `}}}`)
	case a.uri != nil:
		x.tag(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":`+string(a.uri)+`,"_meta":{`, `}}}`)
	}
}

// follow writes announcements until the client leaves, the server closes, or
// the worker that a subscription lives on is gone.
func (x *exchange) follow(ctx context.Context, w *watcher, lost <-chan struct{}, tell func(announcement)) {
	tick := time.NewTicker(x.s.keepAlive)
	defer tick.Stop()
	for !x.gone {
		select {
		case <-w.wake:
			for _, a := range w.told() {
				tell(a)
			}
		case <-tick.C:
			x.push(comment)
		case <-lost:
			return
		case <-x.s.closing:
			return
		case <-ctx.Done():
			x.gone = true
		}
	}
}
