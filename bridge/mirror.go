package bridge

import (
	"context"
	"time"
)

// mirrors is what one connection knows of its tools: the arguments that headers
// mirror, by tool, and which are tasks; good while the catalogue's lists stand.
type mirrors struct {
	version uint64
	tools   map[string][]param
	tasked  map[string]bool // tools that are called as tasks alone
	reads   map[string]bool // tools that change nothing
}

// tidied is the list as modern clients are given it, with what headers mirror.
func (t *stocked) tidied() *toolList {
	t.once.Do(func() {
		t.tools = tidy(t.items)
		t.tools.reads = readers(t.items)
	})
	return t.tools
}

// maxRelists bounds how often a list is read that changes while it is: many
// servers announce a change as their first word.
const maxRelists = 3

// mirrored checks the Mcp-Param headers of a tool call against its arguments.
func (x *exchange) mirrored(ctx context.Context, c *Conn) *fault {
	for _, p := range c.described(ctx, x.call.profile(x.s), x.call.Principal).tools[string(text(x.env.name.of(x.body.b)))] {
		if f := p.check(x.r.Header, x.body.b, x.env.args); f != nil {
			return f
		}
	}
	return nil
}

// described is what the worker says of its tools to this person. A list that
// cannot be read means that nothing can be checked, not that nothing can be called.
func (c *Conn) described(ctx context.Context, p profile, who string) *mirrors {
	version := c.s.catalogue.tools.Load()
	if m := c.mirrors.Load(); m != nil && m.version == version {
		return m
	}
	got := c.stockedTools(p, who)
	if got == nil {
		c.listing.Lock()
		defer c.listing.Unlock()
		if got = c.stockedTools(p, who); got == nil {
			if time.Now().Before(c.unlisted) {
				return &mirrors{}
			}
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			for n := 0; n < maxRelists && got == nil; n++ {
				if c.s.restock(ctx, c, toolListing, p, who) != nil {
					break
				}
				got = c.stockedTools(p, who) // nil: the list changed while it was read
			}
			if got == nil {
				c.unlisted = time.Now().Add(time.Minute)
				return &mirrors{}
			}
		}
		version = c.s.catalogue.tools.Load()
	}
	m := &mirrors{version, got.tidied().found, got.tidied().tasked, got.tidied().reads}
	if c.s.private() || !c.modern.Load() { // otherwise another caller may see another list
		c.mirrors.Store(m)
	}
	return m
}

// stockedTools is the list of tools as a worker of this program gave it in this
// life of mcpd, nil if none did.
func (c *Conn) stockedTools(p profile, who string) *stocked {
	for _, name := range c.s.shelvesOf(p, who) {
		if got, _ := c.s.catalogue.look(name, toolListing); got != nil && got.live && got.program == c.ident.program {
			return got
		}
	}
	return nil
}
