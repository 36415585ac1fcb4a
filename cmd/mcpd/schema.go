package main

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/mcpd/mcpd/supervisor"
)

// kind is what a setting can be.
type kind int

const (
	kindTable    kind = iota // a struct: known keys only
	kindDict                 // a map: any key, one kind of value
	kindList                 // a slice
	kindString               //
	kindInt                  //
	kindFloat                //
	kindBool                 //
	kindDuration             // a string such as "90s"
	kindBytes                // a whole number, or a string such as "512MiB"
)

// schema is the shape of the configuration, taken from the structs and their koanf tags, so that
// what is documented, what is checked and what is loaded cannot differ.
type schema struct {
	kind   kind
	fields map[string]*schema // of a table
	elem   *schema            // of a dict or list
}

// want completes "is a string but must be …".
func (s *schema) want() string {
	switch s.kind {
	case kindTable, kindDict:
		return "a table"
	case kindList:
		if s.elem.kind == kindString {
			return `a list of strings, ["a", "b"]`
		}
		return "a list"
	case kindString:
		return "a string"
	case kindInt:
		return "a whole number"
	case kindFloat:
		return "a number"
	case kindBool:
		return "true or false"
	case kindBytes:
		return `a number of bytes, such as 1048576 or "512MiB"`
	default:
		return `a duration in quotes, such as "90s"`
	}
}

// names lists the keys of a table.
func (s *schema) names() []string { return slices.Sorted(maps.Keys(s.fields)) }

// at follows a path; nil where it leads nowhere.
func (s *schema) at(path ...string) *schema {
	for _, p := range path {
		switch {
		case s == nil:
			return nil
		case s.kind == kindTable:
			s = s.fields[p]
		default:
			s = s.elem
		}
	}
	return s
}

// schemaOf reads a Go type. Fields without a tag, and those tagged "-", are no settings.
func schemaOf(t reflect.Type) *schema {
	if t == reflect.TypeFor[time.Duration]() {
		return &schema{kind: kindDuration}
	}
	if t == reflect.TypeFor[supervisor.Bytes]() {
		return &schema{kind: kindBytes}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem())
	case reflect.Struct:
		s := &schema{kind: kindTable, fields: map[string]*schema{}}
		for f := range eachSetting(t) {
			if f.squash {
				s.include(schemaOf(f.Type))
			} else {
				s.fields[f.key] = schemaOf(f.Type)
			}
		}
		return s
	case reflect.Map:
		return &schema{kind: kindDict, elem: schemaOf(t.Elem())}
	case reflect.Slice:
		return &schema{kind: kindList, elem: schemaOf(t.Elem())}
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Uint, reflect.Uint64, reflect.Uint32:
		return &schema{kind: kindInt}
	case reflect.Float64, reflect.Float32:
		return &schema{kind: kindFloat}
	case reflect.Bool:
		return &schema{kind: kindBool}
	default:
		return &schema{kind: kindString}
	}
}

// include adds the fields of a squashed struct. Two rooms may have keys in one table.
func (s *schema) include(other *schema) {
	for key, f := range other.fields {
		if have := s.fields[key]; have != nil && have.kind == kindTable && f.kind == kindTable {
			have.include(f)
			continue
		}
		s.fields[key] = f
	}
}

// setting is a struct field that the configuration can set.
type setting struct {
	reflect.StructField
	key    string
	squash bool
}

func eachSetting(t reflect.Type) func(func(setting) bool) {
	return func(yield func(setting) bool) {
		for i := range t.NumField() {
			f := t.Field(i)
			key, option, _ := strings.Cut(f.Tag.Get("koanf"), ",")
			squash := option == "squash"
			if !f.IsExported() || key == "-" || (key == "" && !squash) {
				continue
			}
			if !yield(setting{f, key, squash}) {
				return
			}
		}
	}
}

// settingsOf turns a struct into the nested map that is the lowest layer. Maps of tables are left
// out: nothing below them has a default of its own.
func settingsOf(v reflect.Value) map[string]any {
	m := map[string]any{}
	for f := range eachSetting(v.Type()) {
		field := v.FieldByIndex(f.Index)
		switch {
		case f.squash:
			layOver(m, settingsOf(field))
		case field.Kind() == reflect.Struct:
			m[f.key] = settingsOf(field)
		case field.Kind() == reflect.Map && field.Len() == 0, field.Kind() == reflect.Slice && field.Len() == 0:
		default:
			m[f.key] = field.Interface()
		}
	}
	return m
}

// layOver adds b to a, table by table.
func layOver(a, b map[string]any) {
	for key, v := range b {
		have, both := a[key].(map[string]any)
		if in, ok := v.(map[string]any); ok && both {
			layOver(have, in)
			continue
		}
		a[key] = v
	}
}

// closest finds the word that a typo was most likely meant to be, "" if none is near.
func closest(word string, among []string) string {
	best, limit := "", max(1, len(word)/3)+1
	for _, candidate := range among {
		if d := distance(strings.ToLower(word), candidate, limit); d < limit {
			best, limit = candidate, d
		}
	}
	return best
}

// distance is how many letters must be added, dropped, changed or swapped with their neighbour;
// counting ends at limit.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit || len(a) > 64 || len(b) > 64 {
		return limit
	}
	var two, one, row []int
	for i := range len(a) + 1 {
		two, one, row = one, row, make([]int, len(b)+1)
		for j := range row {
			switch {
			case i == 0:
				row[j] = j
			case j == 0:
				row[j] = i
			default:
				change := 1
				if a[i-1] == b[j-1] {
					change = 0
				}
				row[j] = min(one[j]+1, row[j-1]+1, one[j-1]+change)
				if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
					row[j] = min(row[j], two[j-2]+1)
				}
			}
		}
	}
	return row[len(b)]
}
