package main

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The committed servers.toml is the reference: what it shows as a default, commented out, is one.
func TestReferenceShowsTheDefaults(t *testing.T) {
	data, err := os.ReadFile("../../servers.toml")
	if err != nil {
		t.Fatal(err)
	}
	commented := regexp.MustCompile(`(?m)^#([a-z_.]+ = )`)
	all := commented.ReplaceAll(data, []byte("$1"))
	cfg, err := Load(LoadOptions{Path: "servers.toml", Data: all})
	if err != nil {
		t.Fatalf("with every default written out it does not load:\n%v", err)
	}
	want := DefaultConfig()
	servers := cfg.Servers
	cfg.Servers, cfg.Secrets = nil, nil
	if !sameSettings(reflect.ValueOf(*cfg), reflect.ValueOf(want)) {
		t.Errorf("what it shows is not the default:\n got %+v\nwant %+v", *cfg, want)
	}
	for name, s := range servers {
		s.Command, s.Args = "", nil
		if !sameSettings(reflect.ValueOf(s), reflect.ValueOf(want.Defaults)) {
			t.Errorf("servers.%s does not inherit the defaults: %+v", name, s)
		}
	}
	for _, key := range settingKeys(configSchema(), "") {
		name := key[strings.LastIndexByte(key, '.')+1:]
		if !regexp.MustCompile(`(?m)^#?([a-z_]+\.)?` + name + ` = `).Match(data) {
			t.Errorf("it does not show %s", key)
		}
	}
}

// sameSettings compares settings; an empty list is no list.
func sameSettings(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Struct:
		for i := range a.NumField() {
			if !sameSettings(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice, reflect.Map:
		return a.Len() == 0 && b.Len() == 0 || reflect.DeepEqual(a.Interface(), b.Interface())
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

// settingKeys lists the keys of all settings but those of single servers.
func settingKeys(s *schema, at string) []string {
	var keys []string
	for _, name := range s.names() {
		if at == "" && name == "servers" {
			continue
		}
		if f := s.fields[name]; len(f.fields) > 0 {
			keys = append(keys, settingKeys(f, at+name+".")...)
		} else {
			keys = append(keys, at+name)
		}
	}
	slices.Sort(keys)
	return keys
}
