package main

import (
	"reflect"
	"strings"
	"testing"
)

// A terminal gets no line longer than it is wide: columns go in their order, and the last is cut at the end.
func TestTableFitsTheTerminal(t *testing.T) {
	render := func(on terminal) string {
		table := table{
			header: []string{"NAME", "STATE", "URL", "CALLS", "WHY"}, spare: []string{"URL", "CALLS"}, colour: map[string]string{"ready": "32"},
			rows: [][]string{
				{"one", "ready", "http://localhost:8080/one/mcp", "12", strings.Repeat("because ", 10)},
				{"two", "failed", "http://localhost:8080/two/mcp", "1", "a line\nand another"},
			},
		}
		var b strings.Builder
		table.render(&b, on)
		return b.String()
	}
	for width, want := range map[int]string{0: "NAME STATE URL CALLS WHY", 200: "NAME STATE URL CALLS WHY", 60: "NAME STATE CALLS WHY", 30: "NAME STATE WHY", 5: "NAME STATE WHY"} {
		text := render(terminal{width: width})
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if got := strings.Join(strings.Fields(lines[0]), " "); len(lines) != 3 || width != 5 && got != want {
			t.Errorf("width %d: columns %q, want %q", width, got, want)
		}
		for _, l := range lines {
			if width > 20 && len([]rune(l)) > width {
				t.Errorf("width %d: a line of %d: %s", width, len([]rune(l)), l)
			}
		}
	}
	if wide := render(terminal{}); strings.Contains(wide, "…") || strings.Contains(wide, "\x1b") {
		t.Errorf("cut or coloured in a file:\n%s", wide)
	}
	if cut := render(terminal{width: 60}); !strings.Contains(cut, "…\n") {
		t.Errorf("nothing was cut:\n%s", cut)
	}
	if c := render(terminal{colour: true}); !strings.Contains(c, "\x1b[32mready\x1b[0m") || strings.Count(c, "\x1b[") != 2 {
		t.Errorf("colours: %q", c)
	}
}

func TestFrameTakesThePlaceOfTheOneBefore(t *testing.T) {
	if got := (terminal{}).frame("a\nb\n"); got != "a\nb\n" {
		t.Errorf("in a file: %q", got)
	}
	if got := (terminal{height: 10}).frame("a\nb\n"); got != "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J" {
		t.Errorf("on a terminal: %q", got)
	}
	if got := (terminal{height: 4}).frame("a\nb\nc\nd\ne\n"); strings.Count(got, "\n") != 3 || !strings.Contains(got, "…") {
		t.Errorf("on a low one: %q", got)
	}
}

func TestProcessorShare(t *testing.T) {
	at := func(seconds float64) Status {
		return Status{Servers: []ServerStatus{{Name: "a", Workers: []WorkerStatus{{PID: 1, CPU: seconds}}}}}
	}
	now := at(3)
	for want, before := range map[string]Status{"3.0s": {}, "100%": at(1), "0%": at(3)} {
		if got := now.Servers[0].cpu(before); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// Every member of the status is in the help of the command, and every JSON name is made of small letters.
func TestStatusIsDocumented(t *testing.T) {
	help := statusHelp()
	var visit func(reflect.Type, string)
	visit = func(in reflect.Type, at string) {
		for f := range in.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" || name != strings.ToLower(name) {
				t.Errorf("%s%s: JSON name %q", at, f.Name, name)
			}
			of := f.Type
			for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
				of = of.Elem()
			}
			if !strings.Contains(help, name) {
				t.Errorf("%s%s is not in the help", at, name)
			}
			if of.Kind() == reflect.Struct && of.PkgPath() != "time" {
				visit(of, at+name+".")
			}
		}
	}
	visit(reflect.TypeFor[Status](), "")
	if !strings.Contains(help, "servers[].window.p99_ms") {
		t.Errorf("help:\n%s", help)
	}
}
