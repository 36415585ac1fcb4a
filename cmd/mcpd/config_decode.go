package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"
)

// decoder turns the tree into the file's layer: nested maps with values of the right Go types, and
// beside them what later checks need to know of each setting.
type decoder struct {
	*tree
	expander *expander
	places   map[string]position // key path → where it is set
	secrets  map[string][]string // key path → what was inserted there from outside the file
}

func (d *decoder) wrong(pos position, path []string, format string, args ...any) {
	d.problem(pos, path, keyPath(path)+": "+fmt.Sprintf(format, args...))
}

// tableOf decodes a table of known keys, or a dict.
func (d *decoder) tableOf(s *schema, n *node, path []string) map[string]any {
	m := map[string]any{}
	for _, key := range n.keys {
		at := under(path, key)
		var want *schema
		if s.kind == kindDict {
			want = s.elem
		} else if want = s.fields[key]; want == nil {
			msg := "unknown key " + strconv.Quote(keyPath(at))
			if near := closest(key, s.names()); near != "" {
				msg += "; did you mean " + strconv.Quote(near) + "?"
			}
			d.problem(n.at[key], at, msg)
			continue
		}
		d.places[keyPath(at)] = n.at[key]
		if v, ok := d.value(want, n.table[key], at); ok {
			m[key] = v
		}
	}
	return m
}

// value decodes one value; ok is false where a problem was noted instead.
func (d *decoder) value(s *schema, n *node, path []string) (v any, ok bool) {
	switch {
	case s.kind == kindTable && n.kind == unstable.Table, s.kind == kindDict && n.kind == unstable.Table:
		return d.tableOf(s, n, path), true
	case s.kind == kindList && n.kind == unstable.Array:
		list := make([]any, 0, len(n.items))
		for i, item := range n.items {
			at := under(path, strconv.Itoa(i))
			d.places[keyPath(at)] = item.pos
			if v, ok := d.value(s.elem, item, at); ok {
				list = append(list, v)
			}
		}
		return list, true
	case n.kind == unstable.String && (s.kind == kindString || s.kind == kindDuration || s.kind == kindBytes):
		return d.text(s, n, path)
	case n.kind == unstable.Bool && s.kind == kindBool:
		return n.text == "true", true
	case n.kind == unstable.Integer && (s.kind == kindInt || s.kind == kindFloat || s.kind == kindBytes):
		// Base 0 knows 0x, 0o, 0b and the underscores of TOML.
		i, err := strconv.ParseInt(strings.TrimPrefix(n.text, "+"), 0, 64)
		if err != nil {
			d.wrong(n.pos, path, "is a number that is too large")
			return nil, false
		}
		if s.kind == kindFloat {
			return float64(i), true
		}
		return i, true
	case n.kind == unstable.Float && s.kind == kindFloat:
		f, err := strconv.ParseFloat(strings.ReplaceAll(n.text, "_", ""), 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			d.wrong(n.pos, path, "is not a number that can be used")
			return nil, false
		}
		return f, true
	}
	d.wrong(n.pos, path, "is %s but must be %s", nameOf(n.kind), s.want())
	return nil, false
}

// text expands a string, and parses it where a duration or a number of bytes is wanted.
func (d *decoder) text(s *schema, n *node, path []string) (any, bool) {
	text, secrets, err := d.expander.expand(n.text)
	if err != nil {
		d.wrong(n.pos, path, "%v", err)
		d.problems[len(d.problems)-1].Outside = errors.As(err, &outsideError{})
		return nil, false
	}
	if len(secrets) > 0 {
		d.secrets[keyPath(path)] = secrets
	}
	if s.kind == kindString {
		return text, true
	}
	v, err := convert(s, text)
	switch {
	case err == nil:
		return v, true
	case len(secrets) > 0:
		d.wrong(n.pos, path, "what is inserted here %v", err)
	default:
		d.wrong(n.pos, path, "%q %v", text, err)
	}
	return nil, false
}

var errNotDuration = errors.New("not a duration such as 90s or 5m")

// parseDuration is Go's, and knows days as well: "7d" is how people say it.
func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, errNotDuration
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return 0, errNotDuration
	}
	return v, nil
}

func nameOf(k unstable.Kind) string {
	switch k {
	case unstable.String:
		return "a string"
	case unstable.Bool:
		return "true or false"
	case unstable.Integer:
		return "a whole number"
	case unstable.Float:
		return "a number with a point"
	case unstable.Array:
		return "a list"
	case unstable.Table, unstable.InlineTable:
		return "a table"
	}
	return "a date or a time"
}
