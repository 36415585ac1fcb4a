package bridge

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"time"
)

const (
	// maxPages bounds how far a list is followed.
	maxPages = 50
	// relist is how old a list of several pages may get before it is read anew
	// behind a client that reads its first page.
	relist = 10 * time.Minute
	// rewrite is how far the age of a list on disk may lag behind.
	rewrite = time.Hour
)

// changes counts, per list, what a worker announced: a list that was asked for
// before the announcement and arrives after it is not to be kept.
type changes [listings]atomic.Uint32

// keyFor is the key of the worker that serves a person.
func (s *Server) keyFor(p profile, who string) string {
	if s.private() {
		return p.keyOf(who)
	}
	return ""
}

// shelf names the lists of a person's workers of a profile; sessions that have
// a worker each share it, for they all belong to the same person.
func (p profile) shelf(who string) string {
	p.session, p.since = sid{}, 0
	return p.keyOf(who)
}

// shelfFor is where a list of a worker belongs (MCP 2026-07-28, caching: a
// private result is for one authorization context; older servers give no hint,
// but in shared isolation they are told of nobody).
func (s *Server) shelfFor(c *Conn, p profile, who string, public bool) string {
	switch {
	case s.private():
		return p.shelf(who)
	case public || !c.modern.Load():
		return forAll
	}
	return ownShelf(who)
}

// saw keeps a list that a client was given, if it is the whole.
func (s *Server) saw(c *Conn, call *Call, p profile, r *Reply, before uint32) {
	if r.frame == nil || r.frame.env.kind != kindResult || r.asking() || !call.wholeList() {
		return
	}
	l, b, e := call.method.listing, r.frame.line.b, &r.frame.env
	if e.rCursor.isStr(b) {
		s.readOn(c, l, p, call.Principal)
		return
	}
	items := memberOf(b, e.result, l.member()).of(b)
	s.take(c, l, s.shelfFor(c, p, call.Principal, publicScope(b, e)), items, before)
}

func publicScope(b []byte, e *envelope) bool {
	return e.rScope.ok() && string(e.rScope.of(b)) == `"public"`
}

// take stocks a list of a worker, unless a change was announced meanwhile, and
// tells the clients that may have been given another one before it ran.
func (s *Server) take(c *Conn, l listing, name string, items []byte, before uint32) {
	if len(items) == 0 || items[0] != '[' || len(items) > maxList {
		return
	}
	now := time.Now()
	if old, _ := s.catalogue.look(name, l); old != nil && old.live && now.Sub(old.at) < rewrite &&
		old.program == c.ident.program && bytes.Equal(old.items, items) {
		return
	}
	fresh := &stocked{items: bytes.Clone(items), program: c.ident.program, at: now, live: true}
	old, ok := s.catalogue.put(name, l, fresh, func() bool { return c.changes[l].Load() == before })
	if !ok {
		return
	}
	s.keepShelf(name)
	if !s.private() && name != forAll {
		s.dropShelf(forAll, l.announcedBy()) // it turned private
	}
	// Not at every difference: a list that is never the same twice would make
	// its clients read it for ever.
	if old != nil && (old.served.Load() || !old.live) && !bytes.Equal(old.items, items) {
		s.briefs.add(c.owner(), l.announcedBy())
	}
}

// listChanged is the worker's announcement.
func (c *Conn) listChanged(which lists) {
	for l := toolListing; l < listings; l++ {
		if l.announcedBy()&which != 0 {
			c.changes[l].Add(1)
		}
	}
	if key := c.lent.Load(); key != nil && c.s.private() {
		p, who := splitKey(*key)
		c.s.dropShelf(p.shelf(who), which)
	} else if !c.s.private() {
		c.s.dropShelf(forAll, which)
		for _, name := range c.s.catalogue.own() {
			c.s.dropShelf(name, which)
		}
	}
	c.s.briefs.add(c.owner(), which)
}

func (s *Server) dropShelf(name string, which lists) {
	if s.catalogue.drop(name, which) {
		s.keepShelf(name)
	}
}

var errList = errors.New("the server does not give the list")

// whole reads all pages of a list.
func (c *Conn) whole(ctx context.Context, l listing) (items []byte, public bool, err error) {
	items, public = []byte{'['}, true
	cursor := ""
	for range maxPages {
		f, err := c.request(ctx, l.method(), cursor)
		if err != nil {
			return nil, false, err
		}
		b, e := f.line.b, &f.env
		page := memberOf(b, e.result, l.member()).of(b)
		if e.kind != kindResult || len(page) < 2 || page[0] != '[' || len(items)+len(page) > maxList {
			c.drop(f)
			return nil, false, errList
		}
		if in := bytes.TrimSpace(page[1 : len(page)-1]); len(in) > 0 {
			if len(items) > 1 {
				items = append(items, ',')
			}
			items = append(items, in...)
		}
		public = public && publicScope(b, e)
		more := e.rCursor.isStr(b)
		if more {
			cursor = `"cursor":` + string(e.rCursor.of(b))
		}
		c.drop(f)
		if !more {
			return append(items, ']'), public, nil
		}
	}
	return nil, false, errList
}

// restock reads a list from a worker and keeps it.
func (s *Server) restock(ctx context.Context, c *Conn, l listing, p profile, who string) error {
	before := c.changes[l].Load()
	items, public, err := c.whole(ctx, l)
	if err == nil {
		s.take(c, l, s.shelfFor(c, p, who, public), items, before)
	}
	return err
}

// readOn reads the rest of a list behind a client that was given its start.
func (s *Server) readOn(c *Conn, l listing, p profile, who string) {
	for _, name := range s.shelvesOf(p, who) {
		if old, _ := s.catalogue.look(name, l); old != nil && old.live && time.Since(old.at) < relist {
			return
		}
	}
	s.behind.once("read\x00"+l.method()+"\x00"+s.keyFor(p, who), func() {
		ctx, cancel := context.WithTimeout(s.behind.done, refreshTime)
		defer cancel()
		if c, release, err := s.acquire(ctx, p, who); err == nil {
			_ = s.restock(ctx, c, l, p, who) // the next reader tries again
			release()
		}
	})
}

// restockAll starts a worker behind answers that were given without one, and
// reads everything it publishes.
func (s *Server) restockAll(p profile, who string) {
	s.borrow("lists", p, who, func(ctx context.Context, c *Conn) {
		for l := toolListing; l < listings; l++ {
			if c.ident.has&l.needs() != 0 {
				_ = s.restock(ctx, c, l, p, who) // what it does not give is asked of it again by clients
			}
		}
	})
}
