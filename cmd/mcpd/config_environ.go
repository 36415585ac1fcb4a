package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/knadh/koanf/providers/env/v2"

	"github.com/mcpd/mcpd/supervisor"
)

const (
	envPrefix = "MCPD_"
	// envForTests is not ours to judge: it switches the project's own tests.
	envForTests = "MCPD_TEST_"
	// pathMark joins the parts of a path where a key may hold a dot.
	pathMark = "\x1f"
)

// overrides are the layers over the file: MCPD_… variables, and flags over them.
type overrides struct {
	schema   *schema
	problems Problems
	from     map[string]string // key path → "environment variable MCPD_X"
	secrets  map[string][]string
}

// environment reads the variables through koanf's provider. MCPD_LISTEN__HTTP is listen.http: two
// underscores go one table down. Lists are comma-separated.
func (o *overrides) environment(environ []string) (map[string]any, error) {
	return env.Provider(pathMark, env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			if strings.HasPrefix(name, envForTests) {
				return "", nil
			}
			source := "environment variable " + name
			path, s := o.resolve(strings.Split(strings.TrimPrefix(name, envPrefix), "__"), source)
			if s == nil {
				return "", nil
			}
			v, err := convert(s, value)
			if err != nil {
				o.problem(source, path, err.Error())
				return "", nil
			}
			o.from[keyPath(path)] = source
			if len(path) > 3 && path[0] == "servers" && path[2] == "env" && value != "" {
				o.secrets[keyPath(path)] = []string{value}
			}
			return strings.Join(path, pathMark), v
		},
	}).Read()
}

// resolve finds the setting that a variable's parts name. Keys are written in capitals there, and a
// dash of a server's name as an underscore; the names of a server's own variables stay as they are.
func (o *overrides) resolve(parts []string, source string) (path []string, s *schema) {
	s = o.schema
	for i, part := range parts {
		key := strings.ToLower(part)
		switch {
		case s.kind == kindTable:
			next := s.fields[key]
			if next == nil {
				msg := "there is no setting " + strconv.Quote(keyPath(under(path, key)))
				if near := closest(key, s.names()); near != "" {
					msg += "; did you mean " + strconv.Quote(near) + "?"
				}
				o.problem(source, under(path, key), msg)
				return nil, nil
			}
			s = next
		case s.kind == kindDict && s.elem.kind == kindTable:
			key, s = strings.ReplaceAll(key, "_", "-"), s.elem
		case s.kind == kindDict:
			return under(path, strings.Join(parts[i:], "__")), s.elem
		default:
			o.problem(source, path, strconv.Quote(keyPath(path))+" has no settings below it")
			return nil, nil
		}
		path = append(path, key)
	}
	return path, s
}

// flags reads a map from key path to value; a value that is text is parsed as a variable's would be.
func (o *overrides) flags(flags map[string]any) map[string]any {
	m := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		path := strings.Split(name, ".")
		s := o.schema.at(path...)
		if s == nil {
			o.problem("flag", path, "there is no setting "+strconv.Quote(name))
			continue
		}
		v := flags[name]
		if text, ok := v.(string); ok {
			var err error
			if v, err = convert(s, text); err != nil {
				o.problem("flag", path, err.Error())
				continue
			}
		}
		o.from[keyPath(path)] = "flag"
		into := m
		for _, p := range path[:len(path)-1] {
			next, _ := into[p].(map[string]any)
			if next == nil {
				next = map[string]any{}
				into[p] = next
			}
			into = next
		}
		into[path[len(path)-1]] = v
	}
	return m
}

func (o *overrides) problem(source string, path []string, msg string) {
	if source == "flag" {
		msg = keyPath(path) + ": " + msg
	}
	o.problems = append(o.problems, Problem{File: source, Key: keyPath(path), Msg: msg})
}

// convert reads a value from plain text. Its errors do not show the text: it may be a secret.
func convert(s *schema, text string) (any, error) {
	switch s.kind {
	case kindString:
		return text, nil
	case kindBool:
		switch strings.ToLower(text) {
		case "true", "1", "yes", "on":
			return true, nil
		case "false", "0", "no", "off":
			return false, nil
		}
		return nil, fmt.Errorf("must be true or false")
	case kindInt:
		if v, err := strconv.ParseInt(text, 10, 64); err == nil {
			return v, nil
		}
	case kindFloat:
		if v, err := strconv.ParseFloat(text, 64); err == nil {
			return v, nil
		}
	case kindDuration:
		v, err := parseDuration(text)
		if err == nil {
			return v, nil
		}
		return nil, fmt.Errorf("must be a duration such as 90s or 5m")
	case kindBytes:
		v, err := supervisor.ParseBytes(text)
		if err != nil {
			return nil, err
		}
		return int64(v), nil
	case kindList:
		list := []any{}
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part == "" {
				continue
			}
			v, err := convert(s.elem, part)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	default:
		return nil, fmt.Errorf("is a table and cannot be set as a whole")
	}
	return nil, fmt.Errorf("must be %s", s.want())
}
