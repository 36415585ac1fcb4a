package bridge

import (
	"math"
	"net/http"
	"strconv"
)

// param is an argument that a header mirrors: a property with x-mcp-header.
type param struct {
	header string // canonical
	path   []string
	kind   string // string, integer, boolean
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
		n := scanner{b: []byte(header)}
		if !n.number() || !n.end() { // ParseFloat reads more than JSON's numbers
			return false
		}
		a, err := strconv.ParseFloat(header, 64)
		b, err2 := strconv.ParseFloat(string(raw), 64)
		return err == nil && err2 == nil && a == b && math.Abs(a) < 1<<53
	}
	return header == string(raw)
}
