package pin

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		line string
		want string // package, program and arguments, or the error
	}{
		{"npx -y some-server", "some-server||"},
		{"npx some-server", "some-server||"},
		{"/usr/bin/npx --yes @scope/server@1.2.3 --flag a", "@scope/server@1.2.3||--flag a"},
		{"npx -y @scope/server@^1 -- -y", "@scope/server@^1||-- -y"},
		{"npx -y -- server@latest -y", "server@latest||-y"},
		{"npx -y -p @scope/many two --x", "@scope/many|two|--x"},
		{"npx --package=@scope/many@2 two", "@scope/many@2|two|"},
		{"npx -q --prefer-offline server", "server||"},
		{"uvx server", "server (Python)|server|"},
		{"/opt/uv/uvx -q Some_Server.x@1.2 --flag a", "some-server-x==1.2 (Python)|Some_Server.x|--flag a"},
		{"uvx server@latest -- -q", "server (Python)|server|-- -q"},
		{"uvx server>=1,<2 a", "server>=1,<2 (Python)|server|a"},
		{"uvx server[cli,x]~=1.0", "server[cli,x]~=1.0 (Python)|server|"},
		{"uvx --from server==1.2 run --x", "server==1.2 (Python)|run|--x"},
		{"uvx --python=3.12 --from=server[cli]@1 run", "server[cli]==1 (Python 3.12)|run|"},
		{"uv tool run -p 3.11 -- server -p", "server (Python 3.11)|server|-p"},
		{"uv run server", "other"},
		{"uv --offline tool run server", "other"},
		{"uvx", "cannot find a package"},
		{"uvx --from server", "cannot find a package"},
		{"uvx --from", "cannot find what follows --from"},
		{"uvx --from= server", "for the Python"},
		{"uvx --with other server", "option --with of uvx"},
		{"uvx --index-url http://127.0.0.1 server", "option --index-url of uvx"},
		{"uvx --refresh server", "option --refresh of uvx"},
		{"uvx -p pypy server", "for the Python \"pypy\""},
		{"uvx python@3.12", "no package of an index"},
		{"uvx --from git+https://example.com/a server", "no package of an index"},
		{"uvx --from ./here server", "no package of an index"},
		{"uvx --from here/there server", "no package of an index"},
		{"uvx server@https://example.com/a.whl", "no package of an index"},
		{"uvx server;python_version<'3'", "no package of an index"},
		{"uvx --from server ../run", "cannot tell which program"},
		{"uvx --from server ..", "cannot tell which program"},
		{"node index.js", "other"},
		{"npx", "cannot find a package"},
		{"npx -y", "cannot find a package"},
		{"npx -p", "cannot find a package after -p"},
		{"npx -p one", "cannot find a package"},
		{"npx -p one -p two run", "cannot pin 2 packages"},
		{"npx -c echo", "option -c of npx"},
		{"npx --registry=http://127.0.0.1 server", "option --registry of npx"},
		{"npx -y ./server", "no package of a registry"},
		{"npx -y ../server", "no package of a registry"},
		{"npx -y file:server", "no package of a registry"},
		{"npx -y user/repository", "no package of a registry"},
		{"npx -y github:user/repository", "no package of a registry"},
		{"npx -y git+https://example.com/a.git", "no package of a registry"},
		{"npx -y alias@npm:other@1", "no package of a registry"},
		{"npx -y https://example.com/a.tgz", "no package of a registry"},
		{"npx -y @scope", "no package of a registry"},
		{"npx -- -server", "no package of a registry"},
		{"npx -y @scope/..", "no package of a registry"},
		{"npx -y ..", "no package of a registry"},
		{"npx -y server@../../x", "no package of a registry"},
	} {
		words := strings.Fields(tt.line)
		r, ok, err := Parse(words[0], words[1:])
		got := "other"
		switch {
		case err != nil:
			got = err.Error()
		case ok:
			got = r.String() + "|" + r.Bin + "|" + strings.Join(r.Args, " ")
		}
		if got != tt.want && (err == nil || !strings.Contains(got, tt.want)) {
			t.Errorf("%s: %s, want %s", tt.line, got, tt.want)
		}
	}
}

func TestChoose(t *testing.T) {
	for _, tt := range []struct {
		name, bin, want, file string // file "": none can be told
	}{
		{"@a/one", `"cli.js"`, "", "cli.js"},
		{"@a/one", `"cli.js"`, "one", "cli.js"},
		{"@a/one", `"cli.js"`, "two", ""},
		{"@a/one", `{"other":"./x/cli.js"}`, "", "x/cli.js"},
		{"@a/one", `{"one":"1.js","two":"2.js"}`, "", "1.js"},
		{"@a/one", `{"one":"1.js","two":"2.js"}`, "two", "2.js"},
		{"@a/one", `{"x":"same.js","y":"./same.js"}`, "", "same.js"},
		{"@a/one", `{"x":"1.js","y":"2.js"}`, "", ""},
		{"@a/one", `{"x":"../../../etc/passwd"}`, "", ""},
		{"@a/one", `{"x":"/bin/sh"}`, "", ""},
		{"@a/one", `{}`, "", ""},
	} {
		m := manifest{Name: tt.name}
		if err := m.Bin.UnmarshalJSON([]byte(tt.bin)); err != nil {
			t.Fatal(err)
		}
		if got, err := m.choose(tt.want); got != tt.file || (err == nil) != (tt.file != "") {
			t.Errorf("%s %s of %s: %q, %v", tt.want, tt.name, tt.bin, got, err)
		}
	}
}

func TestInterpreter(t *testing.T) {
	for _, tt := range []struct {
		first string
		flags []string
		node  bool
		fails bool
	}{
		{"#!/usr/bin/env node\n", nil, true, false},
		{"#!/usr/bin/node\n", nil, true, false},
		{"#!/usr/bin/env -S node --no-warnings\n", []string{"--no-warnings"}, true, false},
		{"#!/usr/bin/env node\r\n", nil, true, false},
		{"#!/bin/sh\n", nil, false, false},
		{"\x7fELF\x02\x01\x01\n", nil, false, false},
		{"import x from 'y'\n", nil, false, true},
		{"", nil, false, true},
	} {
		file := write(t, t.TempDir(), "cli.js", tt.first)
		flags, node, err := interpreter(file)
		if node != tt.node || (err != nil) != tt.fails || !slices.Equal(flags, tt.flags) {
			t.Errorf("%q: %q, %v, %v", tt.first, flags, node, err)
		}
	}
}

// Whatever a command line holds, a package that is pinned has a name that stays inside its directory.
func FuzzParse(f *testing.F) {
	f.Add("-y\x00@scope/server@1.2.3\x00--flag")
	f.Add("-p\x00many\x00two")
	f.Add("--python=3.12\x00--from\x00server[cli]@1.2\x00run")
	f.Fuzz(func(t *testing.T, line string) {
		words := strings.Split(line, "\x00")
		if r, _, err := Parse("uvx", words); err == nil {
			dir := r.requirement("==1")
			if !filepath.IsLocal(dir) || !filepath.IsLocal(r.Bin) || strings.ContainsAny(dir+r.Bin+r.Version+r.Interpreter, "/\n ") || strings.HasPrefix(dir, "-") {
				t.Errorf("request %q", r)
			}
		}
		r, ok, err := Parse("npx", words)
		if !ok {
			t.Fatal("npx is npx")
		}
		if err != nil {
			return
		}
		for _, part := range strings.Split(r.Package, "/") {
			if part == "" || part == "." || part == ".." {
				t.Errorf("package %q", r.Package)
			}
		}
		if strings.HasPrefix(r.String(), "-") || strings.ContainsAny(r.Version, "/:") {
			t.Errorf("request %q", r)
		}
	})
}
