package bridge

import (
	"context"
	"fmt"
)

// greet introduces mcpd to the worker and learns who it is.
func (c *Conn) greet(ctx context.Context, modern bool, p profile) error {
	if modern {
		return c.discover(ctx)
	}
	refused, err := c.initialize(ctx, p)
	if err != nil || !refused {
		return err
	}
	// A server of the modern generation alone refuses initialize; the refusal
	// settles nothing on its side, so the same process can be used.
	c.s.era.refused(false)
	return c.discover(ctx)
}

// initialize performs the legacy handshake (MCP 2025-11-25, lifecycle). The
// capabilities a worker is told last as long as it does.
func (c *Conn) initialize(ctx context.Context, p profile) (refused bool, err error) {
	if c.s.private() {
		c.asked = p.asks
	}
	caps := []byte(c.asked.capabilities())
	if c.s.private() && p.extensions != "" {
		caps = append(append(comma(caps[:len(caps)-1]), `"extensions":{`+p.extensions...), "}}"...)
	}
	f, err := c.request(ctx, "initialize", `"protocolVersion":"`+latestLegacy+`","capabilities":`+string(caps)+
		`,"clientInfo":{"name":"mcpd","version":`+string(quote(nil, c.s.o.Version))+`}`)
	if err != nil {
		return false, fmt.Errorf("cannot initialize the server: %w", err)
	}
	defer c.drop(f)
	if f.env.kind == kindError {
		code, why := string(f.env.fCode.of(f.line.b)), string(text(f.env.fText.of(f.line.b)))
		if c.s.o.Config.Era == "auto" && (code == "-32022" || code == "-32601") {
			return true, nil
		}
		return false, fmt.Errorf("the server refused initialize: %s", why)
	}
	c.ident, err = newIdentity(f.line.b, &f.env, false, c.s.private())
	if err != nil {
		return false, err
	}
	return false, c.send([]byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}` + "\n"))
}

// discover asks a modern worker who it is.
func (c *Conn) discover(ctx context.Context) error {
	c.modern.Store(true)
	f, err := c.request(ctx, "server/discover", "")
	if err != nil {
		c.s.era.doubted()
		c.s.remember()
		return fmt.Errorf("cannot discover the server: %w", err)
	}
	defer c.drop(f)
	if f.env.kind == kindError {
		c.s.era.refused(true)
		c.s.remember()
		return fmt.Errorf("the server refused server/discover: %s", text(f.env.fText.of(f.line.b)))
	}
	c.ident, err = newIdentity(f.line.b, &f.env, true, c.s.private())
	return err
}

// ownMeta appends the _meta of a request the bridge makes itself.
func (s *Server) ownMeta(dst []byte) []byte {
	dst = append(dst, `{"`+metaVersion+`":"`+modernVersion+`","`+metaCaps+`":{},"`+metaInfo+`":{"name":"mcpd","version":`...)
	dst = quote(dst, s.o.Version)
	return append(dst, "}}"...)
}
