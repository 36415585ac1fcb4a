package bridge

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/textproto"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// param is an argument that a header mirrors: a property with x-mcp-header.
type param struct {
	header string // canonical
	path   []string
	kind   string // string, integer, boolean
}

// schemas are the mirrored arguments of the server's tools. They are read from
// its tools/list once and again after a change.
type schemas struct {
	tools   atomic.Pointer[map[string][]param]
	mu      sync.Mutex // one reader of the list at a time
	until   time.Time  // after a failure, not again before this
	changed atomic.Uint64
}

func (t *schemas) forget() {
	t.changed.Add(1)
	t.tools.Store(nil)
}

// of returns the mirrored arguments of a tool. A list that cannot be read
// means that nothing can be checked, not that nothing can be called.
func (t *schemas) of(ctx context.Context, c *Conn, tool []byte) []param {
	if m := t.tools.Load(); m != nil {
		return (*m)[string(tool)]
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := t.tools.Load(); m != nil {
		return (*m)[string(tool)]
	}
	if time.Now().Before(t.until) {
		return nil
	}
	gen := t.changed.Load()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	m, err := c.mirroredParams(ctx)
	if err != nil {
		t.until = time.Now().Add(time.Minute)
		return nil
	}
	if gen == t.changed.Load() {
		t.tools.Store(&m)
	}
	return m[string(tool)]
}

// maxPages bounds how far a list is followed.
const maxPages = 50

func (c *Conn) mirroredParams(ctx context.Context) (map[string][]param, error) {
	out := map[string][]param{}
	cursor := ""
	for range maxPages {
		f, err := c.request(ctx, "tools/list", cursor)
		if err != nil {
			return nil, err
		}
		if f.env.kind == kindResult && f.env.rTools.ok() {
			collect(out, f.env.rTools.of(f.line.b))
		}
		next := f.env.rCursor
		more := next.isStr(f.line.b)
		if more {
			cursor = `"cursor":` + string(next.of(f.line.b))
		}
		c.drop(f)
		if !more {
			break
		}
	}
	return out, nil
}

type property struct {
	Type       json.RawMessage            `json:"type"`
	Header     string                     `json:"x-mcp-header"`
	Properties map[string]json.RawMessage `json:"properties"`
}

func collect(out map[string][]param, tools []byte) {
	var list []struct {
		Name   string          `json:"name"`
		Schema json.RawMessage `json:"inputSchema"`
	}
	if json.Unmarshal(tools, &list) != nil {
		return
	}
	for _, t := range list {
		var found []param
		walk(t.Schema, nil, &found)
		if len(found) > 0 {
			out[t.Name] = found
		}
	}
}

// walk finds annotations reachable through "properties" alone, as the
// specification wants them.
func walk(raw json.RawMessage, path []string, found *[]param) {
	var p property
	if len(path) > 16 || json.Unmarshal(raw, &p) != nil {
		return
	}
	var kind string
	_ = json.Unmarshal(p.Type, &kind)
	if p.Header != "" && len(path) > 0 && (kind == "string" || kind == "integer" || kind == "boolean") {
		*found = append(*found, param{
			header: textproto.CanonicalMIMEHeaderKey("Mcp-Param-" + p.Header),
			path:   append([]string(nil), path...),
			kind:   kind,
		})
	}
	for name, sub := range p.Properties {
		walk(sub, append(path, name), found)
	}
}

// check compares the header with the argument; an argument that is absent or
// null has no header.
func (p *param) check(h http.Header, b []byte, args span) *fault {
	v := args
	for _, name := range p.path {
		if !v.isObj(b) {
			v = span{}
			break
		}
		v = memberOf(b, v, name)
	}
	bad := func(why string) *fault {
		return &fault{http.StatusBadRequest, codeHeader, "the " + p.header + " header " + why, nil}
	}
	got := h[p.header]
	if !v.ok() || b[v.s] == 'n' {
		if len(got) > 0 {
			return bad("mirrors an argument that is not there")
		}
		return nil
	}
	if len(got) == 0 {
		return bad("is missing")
	}
	value, ok := decodeHeader(got[0])
	if !ok || len(got) > 1 {
		return bad("cannot be decoded")
	}
	if !same(p.kind, value, v.of(b)) {
		return bad("differs from the argument")
	}
	return nil
}

func same(kind, header string, raw []byte) bool {
	switch {
	case raw[0] == '"':
		return header == string(text(raw))
	case kind == "integer":
		a, err := strconv.ParseFloat(header, 64)
		b, err2 := strconv.ParseFloat(string(raw), 64)
		return err == nil && err2 == nil && a == b && math.Abs(a) < 1<<53
	}
	return header == string(raw)
}
