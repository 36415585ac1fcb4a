package bridge

import (
	"bytes"
	"iter"
	"net/textproto"
	"slices"
	"strings"
)

// toolList rewrites a list of tools for modern clients, and notes which
// arguments headers mirror. A client over HTTP drops a tool with one bad
// annotation (MCP 2026-07-28, x-mcp-header), which over stdio does no harm: it
// is the annotation that goes. So does execution.taskSupport, which speaks of
// the tasks of 2025-11-25.
type toolList struct {
	b     []byte
	out   []byte
	found map[string][]param // by tool

	tasked map[string]bool // tools that are called as tasks alone
	reads  map[string]bool // tools that change nothing; only of a list that is in stock

	params []param // of the tool at hand
}

// tidy reads the array of tools in b.
func tidy(b []byte) *toolList {
	t := &toolList{b: b, found: map[string][]param{}, tasked: map[string]bool{}}
	if !untidy(b) {
		t.out = b
		return t
	}
	t.out = append(make([]byte, 0, len(b)), '[')
	for v := range values(b, span{0, len(b)}) {
		t.comma('[')
		t.tool(v)
	}
	t.out = append(t.out, ']')
	return t
}

// untidy reports whether a list may have anything to note or to take out. An
// escape could hide either name.
func untidy(b []byte) bool {
	return bytes.Contains(b, []byte("x-mcp-header")) || bytes.Contains(b, []byte("taskSupport")) || bytes.Contains(b, []byte(`\u`))
}

func (t *toolList) tool(p span) {
	if !p.isObjAt(t.b) {
		t.copy(p)
		return
	}
	t.params = nil
	t.object(p, func(k, v span) bool {
		switch string(keyText(t.b, k)) {
		case "inputSchema":
			t.key(k)
			t.schema(v, nil, true)
			return true
		case "execution":
			if v.isObjAt(t.b) {
				if support := memberOf(t.b, v, "taskSupport"); string(text(support.of(t.b))) == "required" {
					t.tasked[string(text(memberOf(t.b, p, "name").of(t.b)))] = true
				}
				t.key(k)
				t.object(v, func(k, _ span) bool { return string(keyText(t.b, k)) == "taskSupport" })
				return true
			}
		}
		return false
	})
	if name := memberOf(t.b, p, "name"); name.isStr(t.b) && len(t.params) > 0 {
		t.found[string(text(name.of(t.b)))] = t.params
	}
}

// maxMirrored is how deep a mirrored argument may lie.
const maxMirrored = 16

// schema writes a JSON schema. reachable: it was come to by "properties" alone.
func (t *toolList) schema(p span, path []string, reachable bool) {
	if !p.isObjAt(t.b) {
		t.copy(p)
		return
	}
	t.object(p, func(k, v span) bool {
		switch string(keyText(t.b, k)) {
		case "x-mcp-header":
			return !reachable || !t.annotation(p, v, path)
		case "properties":
			t.named(k, v, path, reachable && len(path) < maxMirrored)
		case "$defs", "definitions", "patternProperties", "dependentSchemas":
			t.named(k, v, nil, false)
		case "items", "prefixItems", "additionalItems", "contains", "additionalProperties", "propertyNames", "unevaluatedItems",
			"unevaluatedProperties", "contentSchema", "allOf", "anyOf", "oneOf", "not", "if", "then", "else":
			t.key(k)
			t.within(v)
		default:
			return false
		}
		return true
	})
}

// named writes schemas by name.
func (t *toolList) named(k, v span, path []string, reachable bool) {
	t.key(k)
	if !v.isObjAt(t.b) {
		t.copy(v)
		return
	}
	t.object(v, func(k, v span) bool {
		t.key(k)
		t.schema(v, append(path[:len(path):len(path)], string(keyText(t.b, k))), reachable)
		return true
	})
}

// within writes a schema, or an array of schemas, that no argument is found by.
func (t *toolList) within(v span) {
	if v.e <= v.s || t.b[v.s] != '[' {
		t.schema(v, nil, false)
		return
	}
	t.out = append(t.out, '[')
	for e := range values(t.b, v) {
		t.comma('[')
		t.schema(e, nil, false)
	}
	t.out = append(t.out, ']')
}

// annotation notes a mirrored argument and reports whether the annotation is
// valid: a token (RFC 9110 §5.6.2) that no other of the tool has in any case,
// on a property that is a string, an integer or a boolean.
func (t *toolList) annotation(property, v span, path []string) bool {
	name := string(text(v.of(t.b)))
	kind := string(text(memberOf(t.b, property, "type").of(t.b)))
	if len(path) == 0 || !v.isStr(t.b) || !token(name) || kind != "string" && kind != "integer" && kind != "boolean" {
		return false
	}
	header := textproto.CanonicalMIMEHeaderKey("Mcp-Param-" + name)
	if slices.ContainsFunc(t.params, func(p param) bool { return strings.EqualFold(p.header, header) || slices.Equal(p.path, path) }) {
		return false
	}
	t.params = append(t.params, param{header: header, path: slices.Clone(path), kind: kind})
	return true
}

func token(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// object writes an object; each writes a member itself, or leaves it out, and
// reports that it did.
func (t *toolList) object(p span, each func(k, v span) bool) {
	t.out = append(t.out, '{')
	for k, v := range pairs(t.b, p) {
		if !each(k, v) {
			t.key(k)
			t.copy(v)
		}
	}
	t.out = append(t.out, '}')
}

func (t *toolList) key(k span) {
	t.comma('{')
	t.out = append(append(t.out, k.of(t.b)...), ':')
}

func (t *toolList) copy(v span) { t.out = append(t.out, v.of(t.b)...) }

// comma appends a separator unless open has just been written.
func (t *toolList) comma(open byte) {
	if t.out[len(t.out)-1] != open {
		t.out = append(t.out, ',')
	}
}

// pairs are the members of the object at p in valid JSON.
func pairs(b []byte, p span) iter.Seq2[span, span] {
	return func(yield func(k, v span) bool) {
		s := scanner{b: b[:p.e], i: p.s}
		s.open()
		for first := true; ; first = false {
			k, more, ok := s.key(first)
			if !ok || !more {
				return
			}
			if v, ok := s.spanned(); !ok || !yield(k, v) {
				return
			}
		}
	}
}

// values are the elements of the array at p in valid JSON.
func values(b []byte, p span) iter.Seq[span] {
	return func(yield func(v span) bool) {
		s := scanner{b: b[:p.e], i: p.s + 1}
		for s.peek() != ']' {
			v, ok := s.spanned()
			if !ok || !yield(v) {
				return
			}
			if s.peek() == ',' {
				s.i++
			}
		}
	}
}

// tidyTools makes a list of tools fit for the modern client it goes to.
func (x *exchange) tidyTools(r *Reply) {
	f := r.frame
	p := f.env.rTools
	if x.call.method.listing != toolListing || !p.ok() || f.line.b[p.s] != '[' || !untidy(p.of(f.line.b)) {
		return
	}
	x.rewrite(r, tidy(p.of(f.line.b)).out)
}

// rewrite puts another list of tools in the place of a reply's.
func (x *exchange) rewrite(r *Reply, tools []byte) {
	f := r.frame
	p := f.env.rTools
	out := x.s.bufs.get()
	out.b = append(out.b, f.line.b[:p.s]...)
	out.b = append(out.b, tools...)
	out.b = append(out.b, f.line.b[p.e:]...)
	x.s.bufs.put(f.line)
	f.line = out
	_ = f.env.scan(out.b) // it was valid, and what was cut was whole
}
