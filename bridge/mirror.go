package bridge

import (
	"context"
	"time"
)

// mirrors are the arguments that headers mirror, by tool, as one connection
// knows them; good while the catalogue's lists of tools stand.
type mirrors struct {
	version uint64
	tools   map[string][]param
}

// tidied is the list as modern clients are given it, with what headers mirror.
func (t *stocked) tidied() *toolList {
	t.once.Do(func() { t.tools = tidy(t.items) })
	return t.tools
}

// mirrored checks the Mcp-Param headers of a tool call against its arguments.
func (x *exchange) mirrored(ctx context.Context, c *Conn) *fault {
	for _, p := range c.mirroredOf(ctx, x.call.profile(x.s), x.call.Principal, text(x.env.name.of(x.body.b))) {
		if f := p.check(x.r.Header, x.body.b, x.env.args); f != nil {
			return f
		}
	}
	return nil
}

// mirroredOf returns the mirrored arguments of a tool as the worker describes
// it to this person. A list that cannot be read means that nothing can be
// checked, not that nothing can be called.
func (c *Conn) mirroredOf(ctx context.Context, p profile, who string, tool []byte) []param {
	version := c.s.catalogue.tools.Load()
	if m := c.mirrors.Load(); m != nil && m.version == version {
		return m.tools[string(tool)]
	}
	got := c.stockedTools(p, who)
	if got == nil {
		c.listing.Lock()
		defer c.listing.Unlock()
		if got = c.stockedTools(p, who); got == nil {
			if time.Now().Before(c.unlisted) {
				return nil
			}
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			err := c.s.restock(ctx, c, toolListing, p, who)
			if got = c.stockedTools(p, who); err != nil || got == nil {
				c.unlisted = time.Now().Add(time.Minute)
				return nil
			}
		}
		version = c.s.catalogue.tools.Load()
	}
	tools := got.tidied().found
	if c.s.private() || !c.modern.Load() { // otherwise another caller may see another list
		c.mirrors.Store(&mirrors{version, tools})
	}
	return tools[string(tool)]
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
