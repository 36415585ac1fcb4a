package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// badHouse shows every rule a folder that breaks it. A snippet is a txtar archive; in it, a line that ends in "// bad"
// must be found by the rule, and no other line of the archive may be. want counts findings that have no such line.
var badHouse = map[string][]struct {
	text string
	want int
}{
	"star": {{text: `
-- bridge/a.go --
package bridge
import "github.com/mcpd/mcpd/supervisor" // bad
import "os/exec" // bad
import "net/http"
-- bridge/a_test.go --
package bridge
import "github.com/mcpd/mcpd/idp" // bad
import "os/exec"
-- supervisor/b.go --
package supervisor
import "github.com/modelcontextprotocol/go-sdk/mcp" // bad
-- idp/storetest/c.go --
package storetest
import "github.com/mcpd/mcpd/idp"
import "github.com/mcpd/mcpd/router" // bad
-- router/d.go --
package router
import "github.com/mcpd/mcpd/cmd/mcpd" // bad
-- cmd/mcpd/e.go --
package main
import "github.com/mcpd/mcpd/router"
`}},
	"package-doc": {
		{text: "-- a/a.go --\npackage a\n", want: 1},
		{text: "-- a/doc.go --\n// Package a is not drawn.\npackage a // bad\n"},
		{text: "-- a/doc.go --\n// Package a is drawn:\n//\n//\tx --> y\npackage a // bad\n"},
		{text: "-- a/doc.go --\n// Package a is drawn and does not fly:\n//\n//\tx --> y\npackage a\n-- a/b.go --\n// Package a twice.\npackage a // bad\n"},
	},
	"sizes": {
		{text: "-- a/a.go --\npackage a\n" + strings.Repeat("\n", 400), want: 1},
		{text: "-- a/a.go --\npackage a\nfunc f() { // bad\n" + strings.Repeat("\n", 59) + "}\n"},
		{text: "-- a/a.go --\npackage a\nfunc f() {\n" + strings.Repeat("\n", 58) + "}\n-- a/a_test.go --\npackage a\n" + strings.Repeat("\n", 500)},
	},
	"names": {{text: `
-- a/utils.go --
package a // bad
-- a/http_helpers_test.go --
package a // bad
-- a/common/a.go --
package b // bad
-- a/c.go --
package misc // bad
-- a/types_of_bread.go --
package a // bad
-- a/commonplace.go --
package a
`}},
	"calls": {{text: `
-- a/a.go --
package a
import ("fmt"; "os"; stdlog "log"; "go.uber.org/zap")
func f(l *zap.Logger) {
	os.Exit(1) // bad
	stdlog.Fatal("x") // bad
	stdlog.Println("x") // bad
	stdlog.New(os.Stderr, "", 0)
	panic("x") // bad
	fmt.Println() // bad
	fmt.Fprintln(os.Stderr)
	l.Fatal("x") // bad
	zap.L() // bad
	println() // bad
}
func init() {} // bad
-- cmd/mcpd/main.go --
package main
import ("fmt"; "os")
func main() {
	fmt.Println()
	panic("x") // bad
	os.Exit(1)
}
-- a/a_test.go --
package a
import "os"
func f() { os.Exit(1) }
-- a/storetest/b.go --
package storetest
import ("os"; "testing")
func f(t *testing.T) {
	t.Fatal("x")
	os.Exit(1) // bad
	panic("x") // bad
}
-- b/b.go --
package b // bad
import "testing"
func f(t *testing.T) {
	t.Fatal("x") // bad
}
`}},
	"responses": {{text: `
-- a/a.go --
package a
import ("fmt"; "io"; "net/http")
func f(w http.ResponseWriter, err error, log io.Writer) {
	http.Error(w, err.Error(), 500) // bad
	http.Error(w, "no: "+err.Error(), 500) // bad
	fmt.Fprintf(w, "%v", err) // bad
	fmt.Fprint(w, err.Error()) // bad
	w.Write([]byte(err.Error())) // bad
	io.WriteString(w, err.Error()) // bad
	http.Error(w, "not found", 404)
	fmt.Fprint(log, err.Error())
}
`}},
	"error-text": {{text: `
-- a/a.go --
package a
import ("errors"; "fmt")
var (
	a = errors.New("failed to open") // bad
	b = fmt.Errorf("error opening %s", "x") // bad
	c = fmt.Errorf("x: Failed to open: %w", a) // bad
	d = errors.New("unable to see") // bad
	e = fmt.Errorf("cannot open %q: %w", "x", a)
	f = fmt.Errorf("3 calls failed")
)
`}},
	"sleep": {{text: `
-- a/a_test.go --
package a
import ("testing"; "testing/synctest"; "time")
func TestA(t *testing.T) {
	time.Sleep(1) // bad
}
func TestB(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { time.Sleep(1); inside(); both() })
}
func inside() {
	time.Sleep(1)
	deep()
}
func deep() { time.Sleep(1) }
func TestC(t *testing.T) { both() }
func both() {
	time.Sleep(1) // bad
}
func child() {
	time.Sleep(time.Hour)
	time.Sleep(time.Minute) // bad
}
-- a/a.go --
package a
import "time"
func f() { time.Sleep(1) }
`}},
	"package-vars": {{text: `
-- a/a.go --
package a
var x, y int
var m = map[string]int{}
func f() {
	x = 1 // bad
	x++ // bad
	m["a"] = 1 // bad
	y := 2
	y = 3
	_ = y
}
-- a/b_test.go --
package a
func g(m map[string]int) {
	m["a"] = 1
	y = 3 // bad
}
`}},
	"goroutines": {{want: 2, text: `
-- a/a.go --
package a
func f() {
	go f()
	go func() {
	}()
	// Ends with f.
	go f()
	go f() // ends with f
	go func() { // ends with f
	}()
}
`}},
	"exported-docs": {{text: `
-- a/a.go --
package a
type T struct{} // bad
func F() {} // bad
func (t *T) M() {} // bad
func (t *T) m() {}
func (t *T) Error() string { return "" }
type u struct{}
func (u) M() {}
// V is documented.
var V int
const C = 1 // C is documented here.
`, want: 0}},
	"open-ends": {{text: "-- a/a.go --\n// TO" + "DO: later // bad\n// TO" + "DO(waits for the SDK's #12): use it\n// FIX" + "ME // bad\n"}},
	"places":    {{text: "-- a/a.md --\nsee /wo" + "rk/x // bad\nhttps://registry." + "npmjs.org // bad\n/net" + "work/x\na/ro" + "ot/b\n"}},
}

func TestHouseCanFail(t *testing.T) {
	for _, r := range houseRules {
		tryBad(t, r.name, func(t *testing.T, a *txtar.Archive) []string {
			folders := map[string][]*goFile{}
			for _, f := range a.Files {
				s, err := parseSource(f.Name, f.Data)
				if err != nil {
					t.Fatal(err)
				}
				dir := f.Name[:strings.LastIndex(f.Name, "/")]
				folders[dir] = append(folders[dir], s)
			}
			var found []string
			for _, dir := range sortedKeys(folders) {
				found = append(found, r.check(folders[dir])...)
			}
			return found
		})
	}
	for _, r := range houseTextRules {
		tryBad(t, r.name, func(t *testing.T, a *txtar.Archive) []string {
			var found []string
			for _, f := range a.Files {
				found = append(found, r.check(f.Name, f.Data)...)
			}
			return found
		})
	}
}

func tryBad(t *testing.T, name string, check func(*testing.T, *txtar.Archive) []string) {
	t.Run(name, func(t *testing.T) {
		if len(badHouse[name]) == 0 {
			t.Fatal("no bad example: nobody has seen this rule fail")
		}
		caught := 0
		for _, bad := range badHouse[name] {
			a := txtar.Parse([]byte(bad.text))
			want := map[string]bool{}
			for _, f := range a.Files {
				for i, line := range strings.Split(string(f.Data), "\n") {
					if strings.HasSuffix(line, "// bad") {
						want[fmt.Sprintf("%s:%d", f.Name, i+1)] = true
					}
				}
			}
			loose := 0
			got := map[string]bool{}
			for _, f := range check(t, a) {
				caught++
				parts := strings.SplitN(f, ":", 3)
				if at := parts[0] + ":" + parts[1]; want[at] {
					got[at] = true
				} else if loose++; loose > bad.want {
					t.Errorf("found what is not bad: %s", f)
				}
			}
			for _, at := range slices.Sorted(maps.Keys(want)) {
				if !got[at] {
					t.Errorf("%s is bad and was not found in\n%s", at, bad.text)
				}
			}
			if loose < bad.want {
				t.Errorf("%d findings without a line, want %d, in\n%.200s", loose, bad.want, bad.text)
			}
		}
		if caught == 0 {
			t.Error("the rule found nothing at all")
		}
	})
}

func TestDepsDiff(t *testing.T) {
	if got := depsText("b v1\n\na v2\nb v1\n"); got != "a v2\nb v1\n" {
		t.Errorf("depsText: %q", got)
	}
	if got := lineDiff("a v1\nb v1\n", "a v2\nb v1\n"); got != "-a v1\n+a v2\n" {
		t.Errorf("lineDiff: %q", got)
	}
}
