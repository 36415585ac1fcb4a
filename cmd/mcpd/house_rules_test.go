package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/doc/comment"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// houseRule is one house rule over the Go files of one folder, tests included; it returns its findings.
type houseRule struct {
	name, why string
	check     func(folder []*goFile) []string
}

var houseRules = []houseRule{
	{"star", "each room can be read, tested and replaced alone", checkStar},
	{"package-doc", "a new reader starts in doc.go, and only there", checkDoc},
	{"sizes", "a file and a function fit into a reader's head", checkSizes},
	{"names", "the folder listing is the design; such a name says nothing", checkNames},
	{"calls", "only main.go ends the process or prints; everything else returns an error and logs to its own logger", checkCalls},
	{"responses", "the text of an internal error is for the log, never for a client", checkResponses},
	{"error-text", "errors read as one sentence when chained: cannot <verb> <object>: <cause>", checkErrorText},
	{"sleep", "a test waits for a state with a deadline, or runs in a synctest bubble; sleeping is slow and flaky", checkSleep},
	{"package-vars", "state belongs to a value; tests stay parallel and honest", checkPackageVars},
	{"goroutines", "every goroutine has an owner that waits; a comment says what ends it", checkGoroutines},
	{"exported-docs", "what leaves a package is documented", checkExportedDocs},
}

// importEdge is an import that a folder must not have.
type importEdge struct{ from, to, why string }

const modulePath = "github.com/mcpd/mcpd"

var forbiddenEdges = []importEdge{
	{"supervisor", modulePath, "the supervisor knows processes and nothing else of mcpd"},
	{"router", modulePath, "the router knows hosts, paths and the gate and nothing else of mcpd"},
	{"idp", modulePath, "the issuer must not know that processes exist"},
	{"bridge", modulePath, "the bridge must not know that tokens exist"},
	{"supervisor", "github.com/modelcontextprotocol", "the supervisor does not speak MCP"},
	{"supervisor", "net/http", "the supervisor does not speak HTTP"},
	{"bridge", "os/exec", "processes are the supervisor's"},
	{"idp", "os/exec", "the issuer must not know that processes exist"},
	{"router", "os/exec", "processes are the supervisor's"},
	{"bridge", "github.com/zitadel", "the bridge must not know that tokens exist"},
	{"supervisor", "github.com/spf13/cobra", "flags are cmd/mcpd's"},
	{"router", "github.com/spf13/cobra", "flags are cmd/mcpd's"},
	{"idp", "github.com/spf13/cobra", "flags are cmd/mcpd's"},
	{"bridge", "github.com/spf13/cobra", "flags are cmd/mcpd's"},
	{"supervisor", "github.com/knadh/koanf", "configuration is loaded in cmd/mcpd; a room gets its Config"},
	{"router", "github.com/knadh/koanf", "configuration is loaded in cmd/mcpd; a room gets its Config"},
	{"idp", "github.com/knadh/koanf", "configuration is loaded in cmd/mcpd; a room gets its Config"},
	{"bridge", "github.com/knadh/koanf", "configuration is loaded in cmd/mcpd; a room gets its Config"},
}

func underPath(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// checkStar holds for tests too where the edge is inside mcpd; a test may bring a foreign peer.
func checkStar(folder []*goFile) (found []string) {
	for _, s := range folder {
		for _, spec := range s.file.Imports {
			p, _ := strconv.Unquote(spec.Path.Value)
			for _, e := range forbiddenEdges {
				own := e.to == modulePath
				if !underPath(path.Dir(s.path), e.from) || !underPath(p, e.to) || own && underPath(p, modulePath+"/"+e.from) || !own && s.test() {
					continue
				}
				found = append(found, s.at(spec, "%s imports %s: %s", e.from, p, e.why))
			}
		}
	}
	return found
}

// saysWhatNot finds the sentence on what a package does not do.
var saysWhatNot = regexp.MustCompile(`(?i)\b(not|never|nothing|no)\b`)

func checkDoc(folder []*goFile) (found []string) {
	var docs []*goFile
	code := false
	for _, s := range folder {
		if s.test() {
			continue
		}
		code = true
		if s.file.Doc != nil {
			docs = append(docs, s)
		}
	}
	dir := path.Dir(folder[0].path)
	switch {
	case !code:
		return nil
	case len(docs) == 0:
		return []string{dir + ": no package comment; write doc.go"}
	}
	for _, s := range docs {
		if path.Base(s.path) != "doc.go" {
			found = append(found, s.at(s.file, "package comment outside doc.go"))
			continue
		}
		text := s.file.Doc.Text()
		var p comment.Parser
		if !slices.ContainsFunc(p.Parse(text).Content, func(b comment.Block) bool { _, ok := b.(*comment.Code); return ok }) {
			found = append(found, s.at(s.file, "the package comment has no drawing (an indented block)"))
		}
		if !saysWhatNot.MatchString(text) {
			found = append(found, s.at(s.file, "the package comment does not say what the package does not do"))
		}
	}
	return found
}

// Limits of a non-test file and of a function in it, in lines.
const maxFile, maxFunc = 400, 60

func checkSizes(folder []*goFile) (found []string) {
	for _, s := range folder {
		if s.test() {
			continue
		}
		if n := bytes.Count(s.text, []byte("\n")); n > maxFile {
			found = append(found, fmt.Sprintf("%s:%d: file has %d lines, at most %d", s.path, maxFile, n, maxFile))
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				if n := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1; n > maxFunc {
					found = append(found, s.at(f, "%s has %d lines, at most %d", f.Name.Name, n, maxFunc))
				}
			}
		}
	}
	return found
}

var badName = regexp.MustCompile(`^(utils?|helpers?|types?|common|misc|shared|stuff)$`)

func checkNames(folder []*goFile) (found []string) {
	for _, s := range folder {
		for _, dir := range strings.Split(path.Dir(s.path), "/") {
			if badName.MatchString(dir) {
				found = append(found, s.at(s.file, "folder %s says nothing", dir))
			}
		}
		stem := strings.TrimSuffix(strings.TrimSuffix(path.Base(s.path), ".go"), "_test")
		if slices.ContainsFunc(strings.Split(stem, "_"), badName.MatchString) {
			found = append(found, s.at(s.file, "file name %s says nothing", path.Base(s.path)))
		}
		if n := strings.TrimSuffix(s.file.Name.Name, "_test"); badName.MatchString(n) {
			found = append(found, s.at(s.file, "package name %s says nothing", n))
		}
	}
	return found
}

// called returns the import path (or "" for a value's method) and name of what a call calls.
func (s *goFile) called(c *ast.CallExpr) (pkg, name string) {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return "", f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok && x.Obj == nil {
			for _, spec := range s.file.Imports {
				p, _ := strconv.Unquote(spec.Path.Value)
				local := path.Base(p)
				if spec.Name != nil {
					local = spec.Name.Name
				}
				if local == x.Name {
					return p, f.Sel.Name
				}
			}
		}
		return ".", f.Sel.Name
	}
	return ".", ""
}

func (s *goFile) calls(root ast.Node, visit func(c *ast.CallExpr, pkg, name string)) {
	ast.Inspect(root, func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok {
			pkg, name := s.called(c)
			visit(c, pkg, name)
		}
		return true
	})
}

var endsProcess = regexp.MustCompile(`^(Fatal|Panic|DPanic)(f|ln|w)?$`)

func checkCalls(folder []*goFile) (found []string) {
	// A folder that is a suite for tests, such as storetest, reports with Fatal. No other folder may import testing.
	suite := slices.ContainsFunc(folder, (*goFile).suite)
	if suite && !strings.HasSuffix(path.Dir(folder[0].path), "test") {
		for _, s := range folder {
			if s.suite() {
				found = append(found, s.at(s.file, "testing is imported outside a _test.go file and a folder named …test"))
			}
		}
		suite = false
	}
	for _, s := range folder {
		if s.test() {
			continue
		}
		main := s.path == "cmd/mcpd/main.go"
		s.calls(s.file, func(c *ast.CallExpr, pkg, name string) {
			switch {
			case pkg == "" && name == "panic", pkg == "" && (name == "print" || name == "println"),
				pkg == "." && endsProcess.MatchString(name) && !suite,
				pkg == "go.uber.org/zap" && (name == "L" || name == "S" || name == "ReplaceGlobals"),
				!main && pkg == "os" && name == "Exit",
				!main && pkg == "log" && name != "New",
				!main && pkg == "fmt" && (name == "Print" || name == "Printf" || name == "Println"):
				found = append(found, s.at(c, "call of %s", strings.TrimPrefix(path.Base(pkg)+"."+name, "..")))
			}
		})
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				found = append(found, s.at(f, "func init"))
			}
		}
	}
	return found
}

// checkResponses looks for the text of an error among what a function writes to its http.ResponseWriter.
func checkResponses(folder []*goFile) (found []string) {
	for _, s := range folder {
		if s.test() {
			continue
		}
		writers := map[string]bool{}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if f, ok := n.(*ast.Field); ok {
				if sel, ok := f.Type.(*ast.SelectorExpr); ok && sel.Sel.Name == "ResponseWriter" {
					for _, id := range f.Names {
						writers[id.Name] = true
					}
				}
			}
			return true
		})
		writer := func(e ast.Expr) bool { id, ok := e.(*ast.Ident); return ok && writers[id.Name] }
		s.calls(s.file, func(c *ast.CallExpr, pkg, name string) {
			sel, _ := c.Fun.(*ast.SelectorExpr)
			toClient := pkg == "net/http" && name == "Error" ||
				len(c.Args) > 0 && writer(c.Args[0]) ||
				sel != nil && writer(sel.X)
			if !toClient {
				return
			}
			for _, a := range c.Args {
				if id, ok := a.(*ast.Ident); ok && id.Name == "err" && pkg == "fmt" {
					found = append(found, s.at(c, "an error is written to a response"))
				}
				s.calls(a, func(in *ast.CallExpr, pkg, name string) {
					if pkg == "." && name == "Error" && len(in.Args) == 0 {
						found = append(found, s.at(in, "the text of an error is written to a response"))
					}
				})
			}
		})
	}
	return found
}

var badError = regexp.MustCompile(`(?i)^(error |unable to |could not )|failed to |^[A-Z][a-z]+ .*\.$`)

func checkErrorText(folder []*goFile) (found []string) {
	for _, s := range folder {
		if s.test() {
			continue
		}
		s.calls(s.file, func(c *ast.CallExpr, pkg, name string) {
			if !(pkg == "errors" && name == "New" || pkg == "fmt" && name == "Errorf") || len(c.Args) == 0 {
				return
			}
			lit, ok := c.Args[0].(*ast.BasicLit)
			if !ok {
				return
			}
			if text, _ := strconv.Unquote(lit.Value); badError.MatchString(text) {
				found = append(found, s.at(lit, "error text %s", lit.Value))
			}
		})
	}
	return found
}

// checkSleep allows time.Sleep in a function that makes a synctest bubble and in one that is called from such functions
// only. And time.Sleep(time.Hour), anywhere: that is a child process which plays an idle or hanging one, no test waits for it.
func checkSleep(folder []*goFile) (found []string) {
	bubbles := bubbleFuncs(folder)
	for _, s := range folder {
		if !s.test() {
			continue
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && bubbles[f.Name.Name] {
				continue
			}
			s.calls(d, func(c *ast.CallExpr, pkg, name string) {
				if pkg != "time" || name != "Sleep" || len(c.Args) != 1 {
					return
				}
				if sel, ok := c.Args[0].(*ast.SelectorExpr); !ok || sel.Sel.Name != "Hour" {
					found = append(found, s.at(c, "time.Sleep outside a synctest bubble"))
				}
			})
		}
	}
	return found
}

// bubbleFuncs names the functions of a folder's tests that run in bubbles only.
func bubbleFuncs(folder []*goFile) map[string]bool {
	bubbles, usedBy := map[string]bool{}, map[string]map[string]bool{}
	for _, s := range folder {
		if !s.test() {
			continue
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			s.calls(f, func(_ *ast.CallExpr, pkg, _ string) {
				if pkg == "testing/synctest" {
					bubbles[f.Name.Name] = true
				}
			})
			ast.Inspect(f, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok && id != f.Name {
					if usedBy[id.Name] == nil {
						usedBy[id.Name] = map[string]bool{}
					}
					usedBy[id.Name][f.Name.Name] = true
				}
				return true
			})
		}
	}
	for grown := true; grown; {
		grown = false
		for name, users := range usedBy {
			inside := !bubbles[name]
			for user := range users {
				inside = inside && bubbles[user]
			}
			if inside {
				bubbles[name], grown = true, true
			}
		}
	}
	return bubbles
}

// checkPackageVars finds assignments to package-level variables inside functions, in tests too.
func checkPackageVars(folder []*goFile) (found []string) {
	vars := map[any]bool{}
	names := map[string]bool{}
	for _, s := range folder {
		for _, d := range s.file.Decls {
			if g, ok := d.(*ast.GenDecl); ok {
				for _, spec := range g.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok && g.Tok.String() == "var" {
						vars[v] = true
						for _, n := range v.Names {
							names[n.Name] = true
						}
					}
				}
			}
		}
	}
	for _, s := range folder {
		ast.Inspect(s.file, func(n ast.Node) bool {
			var targets []ast.Expr
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok.String() != ":=" {
					targets = n.Lhs
				}
			case *ast.IncDecStmt:
				targets = []ast.Expr{n.X}
			}
			for _, e := range targets {
				id := rootIdent(e)
				if id == nil || id.Name == "_" || !names[id.Name] {
					continue
				}
				if id.Obj == nil || vars[id.Obj.Decl] { // unresolved in this file: declared in another one of the package
					found = append(found, s.at(n, "package variable %s is written", id.Name))
				}
			}
			return true
		})
	}
	return found
}

func rootIdent(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

func checkGoroutines(folder []*goFile) (found []string) {
	for _, s := range folder {
		if s.test() {
			continue
		}
		commented := map[int]bool{}
		for _, g := range s.file.Comments {
			commented[s.fset.Position(g.Pos()).Line], commented[s.fset.Position(g.End()).Line] = true, true
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				if line := s.fset.Position(g.Pos()).Line; !commented[line-1] && !commented[line] {
					found = append(found, s.at(g, "go statement without a comment above or beside it"))
				}
			}
			return true
		})
	}
	return found
}

// obvious are methods that say nothing new: the interface they are for has the comment.
var obvious = map[string]bool{
	"Error": true, "Unwrap": true, "Is": true, "As": true, "String": true, "ServeHTTP": true, "RoundTrip": true,
	"MarshalText": true, "UnmarshalText": true, "MarshalJSON": true, "UnmarshalJSON": true,
}

func checkExportedDocs(folder []*goFile) (found []string) {
	for _, s := range folder {
		if s.test() {
			continue
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && (d.Recv == nil || exportedReceiver(d.Recv) && !obvious[d.Name.Name]) {
					found = append(found, s.at(d, "%s has no comment", d.Name.Name))
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if t, ok := spec.(*ast.TypeSpec); ok && t.Name.IsExported() && d.Doc == nil && t.Doc == nil {
						found = append(found, s.at(t, "%s has no comment", t.Name.Name))
					}
					if v, ok := spec.(*ast.ValueSpec); ok && v.Names[0].IsExported() && d.Doc == nil && v.Doc == nil && v.Comment == nil {
						found = append(found, s.at(v, "%s has no comment", v.Names[0].Name))
					}
				}
			}
		}
	}
	return found
}

func exportedReceiver(recv *ast.FieldList) bool {
	e := recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

// houseTextRule is a rule over any text file.
type houseTextRule struct {
	name, why string
	check     func(name string, text []byte) []string
}

var houseTextRules = []houseTextRule{
	{"open-ends", "a note on what is missing says why it waits: TODO(reason): what", checkOpenEnds},
	{"places", "the project must build and run anywhere: no path of one machine, no registry's host name", checkPlaces},
}

// The words are put together here so that this file does not find itself.
var (
	openEnd   = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)
	reasoned  = regexp.MustCompile(`\bTO` + `DO\([^)]{3,}\): \S`)
	placeName = regexp.MustCompile(`(^|[\s"'=:(` + "`" + `])/(wo` + `rk|fa` + `rm|ro` + `ot)/|registry\.` + `npmjs|proxy\.` + `golang\.org|files\.python` + `hosted`)
)

func checkOpenEnds(name string, text []byte) []string {
	if !slices.Contains([]string{".go", ".mjs", ".sh", ".toml", ""}, path.Ext(name)) || name == "LICENSE" {
		return nil
	}
	return eachLine(name, text, func(line []byte) bool { return openEnd.Match(line) && !reasoned.Match(line) }, "open end without a reason")
}

func checkPlaces(name string, text []byte) []string {
	return eachLine(name, text, placeName.Match, "names a place of one machine")
}

func eachLine(name string, text []byte, bad func([]byte) bool, what string) (found []string) {
	n := 0
	for line := range bytes.Lines(text) {
		if n++; bad(line) {
			found = append(found, fmt.Sprintf("%s:%d: %s: %s", name, n, what, bytes.TrimSpace(line)))
		}
	}
	return found
}
