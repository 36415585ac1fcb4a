package bridge

import (
	"context"
	"sync"
)

// subscriptions are the resources one worker was asked to watch, counted by
// who wants them.
type subscriptions struct {
	mu  sync.Mutex
	uri map[string]*subscribed
}

type subscribed struct {
	refs int
	w    *waiter // modern: the listen that carries it
}

// held is one client's interest in one resource; release is idempotent.
type held struct {
	uri  string
	p    profile
	who  string
	c    *Conn
	free func() // of the worker
	once sync.Once
	rest bool // released, until its session has a stream again; under the lock of its shard
}

func (h *held) release() {
	h.once.Do(func() {
		h.c.unsubscribe(h.uri)
		h.free()
	})
}

// subscribe asks the worker to watch a resource, once for all who want it.
func (c *Conn) subscribe(ctx context.Context, uri string) error {
	c.subs.mu.Lock()
	defer c.subs.mu.Unlock()
	if v := c.subs.uri[uri]; v != nil {
		v.refs++
		return nil
	}
	v := &subscribed{refs: 1}
	raw := string(quote(nil, uri))
	if c.modern.Load() {
		w, err := c.listenAt(`"notifications":{"resourceSubscriptions":[` + raw + `]}`)
		if err != nil {
			return err
		}
		v.w = w
	} else {
		f, err := c.request(ctx, "resources/subscribe", `"uri":`+raw)
		if err != nil {
			return err
		}
		defer c.drop(f)
		if f.env.kind == kindError {
			return &fault{200, number(string(f.env.fCode.of(f.line.b))), string(text(f.env.fText.of(f.line.b))), nil}
		}
	}
	if c.subs.uri == nil {
		c.subs.uri = map[string]*subscribed{}
	}
	c.subs.uri[uri] = v
	return nil
}

// unsubscribe ends the watch when nobody wants it any more.
func (c *Conn) unsubscribe(uri string) {
	c.subs.mu.Lock()
	defer c.subs.mu.Unlock()
	v := c.subs.uri[uri]
	if v == nil {
		return
	}
	if v.refs--; v.refs > 0 {
		return
	}
	delete(c.subs.uri, uri)
	if v.w != nil {
		c.cancel(v.w.id, "")
		c.calls.remove(v.w)
		c.calls.free(c, v.w)
		return
	}
	line := appendID([]byte(`{"jsonrpc":"2.0","id":`), c.calls.unheard())
	line = append(line, `,"method":"resources/unsubscribe","params":{"uri":`...)
	line = quote(line, uri)
	c.post(append(line, "}}\n"...))
}

// listenAt opens a subscriptions/listen on a modern worker. Its waiter keeps
// the id taken; what it announces is routed by method.
func (c *Conn) listenAt(params string) (*waiter, error) {
	w := c.calls.waiter()
	w.standing = true
	if err := c.calls.add(w); err != nil {
		return nil, err
	}
	line := append([]byte(nil), `{"jsonrpc":"2.0","id":`...)
	line = appendID(line, w.id)
	line = append(line, `,"method":"subscriptions/listen","params":{`...)
	line = append(line, params...)
	line = append(line, `,"_meta":`...)
	line = append(c.s.ownMeta(line), "}}\n"...)
	if err := c.send(line); err != nil {
		c.calls.remove(w)
		return nil, err
	}
	return w, nil
}

// watchLists asks a modern worker to announce changes of its lists; a legacy
// one does so unasked.
func (c *Conn) watchLists(context.Context) {
	if !c.modern.Load() {
		return
	}
	out := []byte(`"notifications":{`)
	for _, l := range []struct {
		needs features
		name  string
	}{{hasToolsChanged, "toolsListChanged"}, {hasPromptsChanged, "promptsListChanged"}, {hasResourcesChanged, "resourcesListChanged"}} {
		if c.ident.has&l.needs != 0 {
			out = comma(out)
			out = append(out, `"`+l.name+`":true`...)
		}
	}
	if out[len(out)-1] == '{' {
		return
	}
	if _, err := c.listenAt(string(append(out, '}'))); err != nil {
		c.s.log.Debug("cannot listen to the server's changes")
	}
}

// holding is what one listen holds: a worker, and resources it watches there.
type holding struct {
	c    *Conn
	subs []*held
}

// hold subscribes to each resource on its own loan of the worker, so that the
// worker is not stopped as idle. Those that are refused are left out.
func (x *exchange) hold(ctx context.Context, c *Conn, uris []string) *holding {
	ctx, cancel := context.WithTimeout(ctx, x.s.o.Config.Limits.Call)
	defer cancel()
	h := &holding{c: c}
	for _, u := range uris {
		if s, err := x.s.holdOne(ctx, x.call.profile(x.s), x.call.Principal, u); err == nil {
			h.c = s.c
			h.subs = append(h.subs, s)
		}
	}
	return h
}

func (s *Server) holdOne(ctx context.Context, p profile, who, uri string) (*held, error) {
	c, release, err := s.acquire(ctx, p, who)
	if err != nil {
		return nil, err
	}
	if err := c.subscribe(ctx, uri); err != nil {
		release()
		return nil, err
	}
	return &held{uri: uri, p: p, who: who, c: c, free: release}, nil
}

func (h *holding) release() { end(h.subs) }

func (h *holding) uris() (out []string) {
	for _, s := range h.subs {
		out = append(out, s.uri)
	}
	return out
}

func (h *holding) set() map[string]bool {
	out := map[string]bool{}
	for _, s := range h.subs {
		out[s.uri] = true
	}
	return out
}

// lost is closed when the worker with the subscriptions has ended; the client
// re-opens its stream and subscribes anew.
func (h *holding) lost() <-chan struct{} {
	if len(h.subs) == 0 {
		return nil
	}
	return h.c.done
}
