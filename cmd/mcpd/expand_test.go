package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestExpand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"plain": "p", "newline": "n\n", "crlf": "c\r\n", "two": "t\n\n", "toml": "\"\n[evil]\nx = \"1", "big": strings.Repeat("x", maxSecretFile+1)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := &expander{dir: dir, lookup: lookupIn([]string{"A=first", "A=a", "EMPTY=", "EVIL=${A}$$", "CREDENTIALS_DIRECTORY=" + dir})}
	tests := []struct {
		in, want string
		secrets  []string
		err      string
	}{
		{"", "", nil, ""},
		{"plain", "plain", nil, ""},
		{"${A}", "a", []string{"a"}, ""},
		{"x${A}y${A}", "xaya", []string{"a", "a"}, ""},
		{"${EMPTY}", "", nil, ""},
		{"${EMPTY:-d}", "d", nil, ""},
		{"${NONE:-}", "", nil, ""},
		{"${NONE:-a:-b/${}", "a:-b/${", nil, ""},
		{"${A:-d}", "a", []string{"a"}, ""},
		{"$$", "$", nil, ""},
		{"$${A}", "${A}", nil, ""},
		{"$$$$", "$$", nil, ""},
		{"5$", "5$", nil, ""},
		{"$5", "$5", nil, ""},
		{"a$ b", "a$ b", nil, ""},
		{"${EVIL}", "${A}$$", []string{"${A}$$"}, ""}, // what comes in is not looked at again
		{"${file:plain}", "p", []string{"p"}, ""},
		{"${file:" + dir + "/newline}", "n", []string{"n"}, ""},
		{"${file:crlf}", "c", []string{"c"}, ""},
		{"${file:two}", "t\n", []string{"t\n"}, ""},
		{"${file:toml}", "\"\n[evil]\nx = \"1", []string{"\"\n[evil]\nx = \"1"}, ""},
		{"${credential:plain}", "p", []string{"p"}, ""},
		{"${NONE}", "", nil, "needs the environment variable NONE, which is not set"},
		{"$A", "", nil, "neither ${…} nor $$"},
		{"pa$word", "", nil, "neither"},
		{"${A", "", nil, "without its }"},
		{"${}", "", nil, "none of"},
		{"${1A}", "", nil, "none of"},
		{"${A-B}", "", nil, "none of"},
		{"${a b:-c}", "", nil, "none of"},
		{"${file:}", "", nil, "none of"},
		{"${file:none}", "", nil, "${file:none}: no such file"},
		{"${file:pipe}", "", nil, "not a regular file"},
		{"${file:big}", "", nil, "more than"},
		{"${credential:}", "", nil, "none of"},
		{"${credential:a/b}", "", nil, "none of"},
		{"${credential:..}", "", nil, "none of"},
	}
	for _, tt := range tests {
		got, secrets, err := e.expand(tt.in)
		if got != tt.want || !slices.Equal(secrets, tt.secrets) || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("expand(%q) = %.40q, %.40q, %v", tt.in, got, secrets, err)
		}
	}
}

func FuzzExpand(f *testing.F) {
	f.Add("a${A}b$$c${N:-d}")
	e := &expander{dir: f.TempDir(), lookup: lookupIn([]string{"A=Zq9Zq9"})}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.Contains(s, "file:") {
			return
		}
		got, secrets, err := e.expand(s)
		if err != nil && (got != "" || secrets != nil || strings.Contains(err.Error(), "Zq9")) {
			t.Fatalf("%q: %q %q %v", s, got, secrets, err)
		}
		if strings.Contains(got, "Zq9Zq9") && !strings.Contains(s, "Zq9Zq9") && !slices.Contains(secrets, "Zq9Zq9") {
			t.Fatalf("%q: a secret was not recorded", s)
		}
	})
}
