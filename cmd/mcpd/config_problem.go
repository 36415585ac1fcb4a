package main

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Problem is one thing that is wrong with the configuration.
type Problem struct {
	File string // the configuration file, or "environment variable MCPD_X", or "flag --x"
	Line int    // from 1; 0 where there is no line to point at
	Col  int    // in bytes, from 1
	Key  string // dotted path of the setting, "" where none is concerned
	Msg  string // a sentence that names the setting; holds no value that came from outside the file

	Outside bool // a variable, file or credential is missing; another process may have it
}

func (p Problem) String() string {
	where := p.File
	if p.Line > 0 {
		where += ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Col)
	}
	if where == "" {
		return p.Msg
	}
	return where + ": " + p.Msg
}

// Problems is the error of Load: everything that is wrong, in the order of the file.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sorted puts the file's problems first, in its order, and leaves out repetitions: what
// [defaults] has wrong is wrong in every server.
func (ps Problems) sorted() Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(min(b.Line, 1), min(a.Line, 1)),
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col),
			cmp.Compare(a.File, b.File), cmp.Compare(a.Msg, b.Msg))
	})
	return slices.Compact(ps)
}

// position is a place in the configuration file.
type position struct{ line, col int }

// keyPath renders a path as a person would write it in the file: dotted, and quoted where it must be.
func keyPath(path []string) string {
	parts := make([]string, len(path))
	for i, p := range path {
		parts[i] = p
		if !isBareKey(p) {
			parts[i] = strconv.Quote(p)
		}
	}
	return strings.Join(parts, ".")
}

func isBareKey(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return s != ""
}

// under appends to a path without touching what others hold of it.
func under(path []string, key ...string) []string {
	return append(slices.Clip(slices.Clone(path)), key...)
}
