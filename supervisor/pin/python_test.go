package pin

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// installed lays out what uv installs: an environment for the Python that interpreter names.
func installed(t *testing.T, interpreter string) (root, python string) {
	t.Helper()
	root = t.TempDir()
	python = write(t, t.TempDir(), "bin/"+interpreter, "\x7fELF")
	write(t, filepath.Dir(filepath.Dir(python)), "lib/os.py", "")
	write(t, root, "venv/lib/python3.11/site-packages/server/__init__.py", "")
	if err := os.MkdirAll(filepath.Join(root, "venv/bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(python, filepath.Join(root, "venv/bin/python")); err != nil {
		t.Fatal(err)
	}
	return root, python
}

func TestPythonProgram(t *testing.T) {
	t.Parallel()
	root, python := installed(t, "python3.11")
	bin := filepath.Join(root, "venv/bin")
	for _, tt := range []struct {
		text   string
		script bool
	}{
		{"#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")\"/'python3' \"$0\" \"$@\"\n' '''\nimport sys\n", true},
		{"#!/somewhere/venv/bin/python3\nimport sys\n", true},
		{"#!/bin/sh\nexec true\n", false},
		{"\x7fELF\x02\x01\x01\n", false},
		{"x", false},
	} {
		file := write(t, root, "venv/bin/server", tt.text)
		p, err := uv{}.program(root, Request{Package: "server", Bin: "server", Args: []string{"-x"}})
		command, args := file, []string{"-x"}
		if tt.script {
			command, args = filepath.Join(bin, "python"), []string{file, "-x"}
		}
		if err != nil || p.Command != command || !slices.Equal(p.Args, args) || p.Bins != bin || !slices.Equal(p.Reads, []string{root, python, filepath.Join(filepath.Dir(python), "../lib")}) {
			t.Errorf("%q: %+v, %v", tt.text, p, err)
		}
	}
	if _, err := (uv{}).program(root, Request{Package: "server", Bin: "other"}); err == nil {
		t.Error("a program that is not there was found")
	}
}

// An environment is made for one version of Python, and a link is all that it has of it.
func TestPythonOfTheSystemChanges(t *testing.T) {
	t.Parallel()
	for interpreter, works := range map[string]bool{"python3.11": true, "python3.13": false, "pypy": true} {
		root, python := installed(t, interpreter)
		if (uv{}).works(root, "server") != works {
			t.Errorf("with %s it works: %v", interpreter, !works)
		}
		if err := os.Remove(python); err != nil {
			t.Fatal(err)
		}
		if (uv{}).works(root, "server") {
			t.Errorf("without %s it works", interpreter)
		}
	}
}
