package main

import (
	"bytes"
	"errors"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// node is one value of the file with the place where it stands.
type node struct {
	kind   unstable.Kind
	text   string // of a scalar
	pos    position
	header bool             // a table that has had its own [header]
	keys   []string         // of a table, in the order of the file
	table  map[string]*node // of a table
	at     map[string]position
	items  []*node // of a list
}

func newTable(pos position) *node {
	return &node{kind: unstable.Table, pos: pos, table: map[string]*node{}, at: map[string]position{}}
}

// tree is the file as it was written: nothing decoded, nothing expanded, every key with its place.
// The unstable parser of go-toml is used because it is the one that tells places; what it lets pass
// (a table that is defined twice in a roundabout way) the decoder behind it finds.
type tree struct {
	file     string
	lines    []int // offset of the first byte of each line
	root     *node
	problems Problems
}

// parseTree reads the file. With a syntax error there is that one problem and no more: what follows
// it cannot be trusted.
func parseTree(file string, data []byte) *tree {
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // an editor's mark, which TOML does not know
	data = slices.Clip(data)
	t := &tree{file: file, lines: []int{0}, root: newTable(position{1, 1})}
	for i, c := range data {
		if c == '\n' {
			t.lines = append(t.lines, i+1)
		}
	}
	var p unstable.Parser
	p.Reset(data)
	current := t.root
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			current = t.openTable(&p, e)
		case unstable.KeyValue:
			t.assign(&p, current, e)
		}
	}
	t.check(data, p.Error())
	return t
}

// check adds what the parsers object to. Only the message and the place are taken from their
// errors: their String methods show the lines around it, with all secrets in them.
func (t *tree) check(data []byte, syntax error) {
	var all map[string]any
	err := toml.Unmarshal(data, &all)
	if err == nil && syntax == nil {
		return
	}
	pos, msg := position{1, 1}, "not valid TOML"
	if de, ok := errors.AsType[*toml.DecodeError](err); ok {
		pos.line, pos.col = de.Position()
		msg += ": " + strings.TrimPrefix(de.Error(), "toml: ")
	} else if syntax != nil {
		msg += ": " + syntax.Error()
	}
	if syntax != nil {
		t.problems = nil
		t.root = newTable(pos)
	}
	for _, p := range t.problems {
		if p.Line == pos.line {
			return // the same fault, in our own words
		}
	}
	t.problem(pos, nil, msg)
}

func (t *tree) problem(pos position, path []string, msg string) {
	t.problems = append(t.problems, Problem{File: t.file, Line: pos.line, Col: pos.col, Key: keyPath(path), Msg: msg})
}

func (t *tree) position(offset int) position {
	line := sort.SearchInts(t.lines, offset+1)
	return position{line, offset - t.lines[line-1] + 1}
}

// place tells where a node stands; lists have no bytes of their own, so their key must do.
func (t *tree) place(n *unstable.Node, otherwise position) position {
	if n.Raw.Length == 0 {
		return otherwise
	}
	return t.position(int(n.Raw.Offset))
}

// openTable follows a [header] to its table, which is made where it is new.
func (t *tree) openTable(p *unstable.Parser, e *unstable.Node) *node {
	current := t.root
	var path []string
	for it := e.Key(); it.Next(); {
		key := string(it.Node().Data)
		pos := t.place(it.Node(), position{1, 1})
		path = append(path, key)
		next := current.table[key]
		last := it.IsLast()
		switch {
		case next == nil:
			next = newTable(pos)
			current.put(key, pos, next)
		case next.kind == unstable.Array && len(next.items) > 0 && next.items[len(next.items)-1].kind == unstable.Table && !last:
			next = next.items[len(next.items)-1]
		case next.kind == unstable.Table && !last, next.kind == unstable.Array && e.Kind == unstable.ArrayTable && last:
		case next.kind == unstable.Table && e.Kind == unstable.Table && !next.header:
		default:
			t.problem(pos, path, "table "+strconv.Quote(keyPath(path))+" is already there, from line "+strconv.Itoa(current.at[key].line))
			return newTable(pos)
		}
		if last && e.Kind == unstable.ArrayTable {
			if next.kind == unstable.Table {
				*next = node{kind: unstable.Array, pos: pos}
			}
			next.items = append(next.items, newTable(pos))
			next = next.items[len(next.items)-1]
		}
		if last {
			next.header = true
			next.pos = pos
		}
		current = next
	}
	return current
}

// assign puts `a.b = value` into a table.
func (t *tree) assign(p *unstable.Parser, into *node, e *unstable.Node) {
	var path []string
	for it := e.Key(); it.Next(); {
		key := string(it.Node().Data)
		pos := t.place(it.Node(), into.pos)
		path = append(path, key)
		old := into.table[key]
		switch {
		case it.IsLast() && old == nil:
			into.put(key, pos, t.value(p, e.Value(), pos))
		case it.IsLast():
			t.problem(pos, path, "key "+strconv.Quote(keyPath(path))+" is already set, in line "+strconv.Itoa(into.at[key].line))
		case old == nil:
			table := newTable(pos)
			into.put(key, pos, table)
			into = table
		case old.kind == unstable.Table:
			into = old
		default:
			t.problem(pos, path, "key "+strconv.Quote(keyPath(path))+" is already set, in line "+strconv.Itoa(into.at[key].line))
			return
		}
	}
}

func (n *node) put(key string, pos position, value *node) {
	n.keys = append(n.keys, key)
	n.table[key] = value
	n.at[key] = pos
}

func (t *tree) value(p *unstable.Parser, v *unstable.Node, key position) *node {
	pos := t.place(v, key)
	switch v.Kind {
	case unstable.Array:
		n := &node{kind: unstable.Array, pos: pos}
		for it := v.Children(); it.Next(); {
			if it.Node().Kind != unstable.Comment {
				n.items = append(n.items, t.value(p, it.Node(), pos))
			}
		}
		return n
	case unstable.InlineTable:
		n := newTable(pos)
		n.header = true // it is closed: no [header] may add to it
		for it := v.Children(); it.Next(); {
			if it.Node().Kind == unstable.KeyValue {
				t.assign(p, n, it.Node())
			}
		}
		return n
	}
	return &node{kind: v.Kind, text: string(v.Data), pos: pos}
}
