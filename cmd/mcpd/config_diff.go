package main

import (
	"reflect"
	"slices"
)

// DiffConfig names the settings that differ and that a reload leaves as they are, a sentence each,
// sorted. Servers and what they inherit are not among them: those a reload applies. Values are not
// shown; some are secrets.
func DiffConfig(old, new *Config) []string {
	var changed []string
	for f := range eachSetting(reflect.TypeFor[Config]()) {
		if f.key == "servers" || f.key == "defaults" {
			continue
		}
		a, b := reflect.ValueOf(*old).FieldByIndex(f.Index), reflect.ValueOf(*new).FieldByIndex(f.Index)
		changed = append(changed, differing(f.key, a, b)...)
	}
	for i, key := range changed {
		changed[i] = key + " has changed, which takes a restart of mcpd"
	}
	slices.Sort(changed)
	return changed
}

func differing(path string, a, b reflect.Value) []string {
	if a.Kind() != reflect.Struct {
		if reflect.DeepEqual(a.Interface(), b.Interface()) {
			return nil
		}
		return []string{path}
	}
	var changed []string
	for f := range eachSetting(a.Type()) {
		at := path + "." + f.key
		if f.squash {
			at = path
		}
		changed = append(changed, differing(at, a.FieldByIndex(f.Index), b.FieldByIndex(f.Index))...)
	}
	return changed
}
