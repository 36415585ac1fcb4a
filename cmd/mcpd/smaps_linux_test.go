package main

import (
	"net"
	"strings"
	"testing"
)

// TestSameAsFile: the text of the program is given back, and nothing that differs from its file.
func TestSameAsFile(t *testing.T) {
	t.Parallel()
	const anonymous = "\nRss: 12 kB\nAnonymous: %s kB\nVmFlags: rd mr\n"
	for first, tt := range map[string]struct {
		anonymous string
		want      bool
	}{
		"00400000-0170f000 r-xp 00000000 fe:00 9978355                            /usr/bin/mcpd":           {"0", true},
		"0170f000-02c2e000 r--p 0130f000 fe:00 9978355                            /usr/bin/mcpd":           {"0", true},
		"0170f000-02c2f000 r--p 0130f000 fe:00 9978355                            /usr/bin/mcpd":           {"4", false}, // relocated
		"02c2e000-02cfa000 rw-p 0282e000 fe:00 9978355                            /usr/bin/mcpd":           {"0", false},
		"02c2e000-02cfa000 r--s 0282e000 fe:00 9978355                            /usr/bin/mcpd":           {"0", false},
		"02c2e000-02cfa000 r--p 0282e000 fe:00 9978355                            /usr/lib/libc.so":        {"0", false},
		"00400000-01710000 r-xp 00000000 fe:00 9978355                            /usr/bin/mcpd (deleted)": {"0", true},
		"7f7ae1002000-7f7ae1088000 rw-p 00000000 00:00 0":                                                  {"0", false},
		"-0170f000 r-xp 00000000 fe:00 1 /usr/bin/mcpd":                                                    {"0", false},
		"0170f000-00400000 r-xp 0 fe:00 1 /usr/bin/mcpd":                                                   {"0", false},
	} {
		text := "00100000-00200000 r-xp 00000000 fe:00 1 /usr/bin/mcpd\nRss: 0 kB\n" + first + strings.Replace(anonymous, "%s", tt.anonymous, 1)
		if got := len(sameAsFile(strings.NewReader(text), "/usr/bin/mcpd")); (got == 1) != tt.want {
			t.Errorf("%q with %s kB of its own: %d mappings", first, tt.anonymous, got)
		}
	}
}

// TestLean: a program goes on afterwards, however it was linked. With the race detector it is linked to libc, as by `go run`
// where there is a C compiler.
func TestLean(t *testing.T) {
	lean()
	if _, err := net.DefaultResolver.LookupHost(t.Context(), "localhost"); err != nil {
		t.Error(err)
	}
}
