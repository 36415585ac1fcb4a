package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The house test keeps the rules that hold for every room, so that a review can be about something else. Each rule is
// a function over the files of one folder (house_rules_test.go); house_bad_test.go shows each of them something bad, so
// that none can rot into one that never fails.

var update = flag.Bool("update", false, "write golden files instead of comparing with them")

// goFile is one parsed Go file of a folder.
type goFile struct {
	path string // from the top of the project, with slashes
	text []byte
	fset *token.FileSet
	file *ast.File
}

func (s *goFile) test() bool { return strings.HasSuffix(s.path, "_test.go") }

// suite tells whether the file belongs to tests without being one: only such code imports testing.
func (s *goFile) suite() bool {
	return slices.ContainsFunc(s.file.Imports, func(i *ast.ImportSpec) bool { return !s.test() && i.Path.Value == `"testing"` })
}

// at writes a finding as file:line, the way an editor opens it.
func (s *goFile) at(n ast.Node, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", s.path, s.fset.Position(n.Pos()).Line, fmt.Sprintf(format, args...))
}

func parseSource(name string, text []byte) (*goFile, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, text, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	return &goFile{path: name, text: text, fset: fset, file: f}, nil
}

// projectTop is the project's root as seen from this package's folder, where go test runs.
const projectTop = "../.."

// readProject reads every text file of the project: Go files parsed, by folder, and all files as text.
func readProject(t *testing.T) (folders map[string][]*goFile, texts map[string][]byte) {
	t.Helper()
	folders, texts = map[string][]*goFile{}, map[string][]byte{}
	err := filepath.WalkDir(projectTop, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(projectTop, p)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if d.IsDir() {
			if slices.Contains([]string{".git", "bin", "dist"}, name) || d.Name() == "node_modules" {
				return filepath.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil || name == ".git" || !info.Mode().IsRegular() || info.Size() > 1<<20 { // in a worktree .git is a file
			return err
		}
		text, err := os.ReadFile(p)
		if err != nil || bytes.IndexByte(text, 0) >= 0 {
			return err
		}
		texts[name] = text
		if path.Ext(name) != ".go" || strings.Contains("/"+name, "/testdata/") {
			return nil
		}
		s, err := parseSource(name, text)
		if err == nil {
			folders[path.Dir(name)] = append(folders[path.Dir(name)], s)
		}
		return err
	})
	if err != nil {
		t.Fatalf("cannot read the project: %v", err)
	}
	if len(folders) < 2 || len(texts) < 10 {
		t.Fatalf("only %d folders of Go and %d files found from %s: the walk is broken", len(folders), len(texts), projectTop)
	}
	return folders, texts
}

func TestHouse(t *testing.T) {
	folders, texts := readProject(t)
	for _, r := range houseRules {
		t.Run(r.name, func(t *testing.T) {
			for _, dir := range sortedKeys(folders) {
				for _, finding := range r.check(folders[dir]) {
					t.Errorf("%s\n\twhy: %s", finding, r.why)
				}
			}
		})
	}
	for _, r := range houseTextRules {
		t.Run(r.name, func(t *testing.T) {
			for _, name := range sortedKeys(texts) {
				for _, finding := range r.check(name, texts[name]) {
					t.Errorf("%s\n\twhy: %s", finding, r.why)
				}
			}
		})
	}
}

func sortedKeys[V any](m map[string]V) []string {
	var names []string
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// TestDeps compares the modules linked into mcpd with a committed list: a new dependency is a line that a reviewer sees.
func TestDeps(t *testing.T) {
	const golden = "testdata/deps.golden"
	// One fixed platform, whatever runs the test: the list is that of the released binary.
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}", "./cmd/mcpd")
	cmd.Dir = projectTop
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	got := depsText(string(out))
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := lineDiff(string(want), got); d != "" {
		t.Errorf("the dependencies of mcpd are not those of %s (-want +got):\n%sif that is meant: go test ./cmd/mcpd -run TestDeps -update", golden, d)
	}
}

func depsText(list string) string {
	lines := strings.FieldsFunc(list, func(r rune) bool { return r == '\n' })
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n") + "\n"
}

// lineDiff compares two sorted lists of lines.
func lineDiff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	var b strings.Builder
	for _, l := range w {
		if !slices.Contains(g, l) {
			fmt.Fprintf(&b, "-%s\n", l)
		}
	}
	for _, l := range g {
		if !slices.Contains(w, l) {
			fmt.Fprintf(&b, "+%s\n", l)
		}
	}
	return b.String()
}
