package supervisor

import (
	"fmt"
	"slices"
	"strings"
)

// Change is what it takes to get from one list of servers to another. Every list is sorted by
// name; a server is in at most one.
type Change struct {
	Start   []string // new, or no longer disabled
	Stop    []string // gone, or disabled now
	Restart []string // other program, arguments, directory or environment: new processes take over
	Update  []string // other limits or timeouts: applied in place, the processes stay
	Keep    []string // nothing to do
}

// Diff compares two lists of servers. It touches nothing. Of two specs with one name the last counts.
func Diff(old, new []Spec) Change {
	was, is := byName(old), byName(new)
	var c Change
	for _, name := range sortedKeys(is) {
		before, known := was[name]
		after := is[name]
		ran := known && !before.Disabled
		switch {
		case !ran && !after.Disabled:
			c.Start = append(c.Start, name)
		case ran && after.Disabled:
			c.Stop = append(c.Stop, name)
		case !ran: // disabled, as before or from the start
			c.Keep = append(c.Keep, name)
		case !before.sameProcess(after):
			c.Restart = append(c.Restart, name)
		case !before.Equal(after):
			c.Update = append(c.Update, name)
		default:
			c.Keep = append(c.Keep, name)
		}
	}
	for _, name := range sortedKeys(was) {
		if _, ok := is[name]; !ok {
			c.Stop = append(c.Stop, name)
		}
	}
	slices.Sort(c.Stop)
	return c
}

// Empty tells that nothing would change.
func (c Change) Empty() bool {
	return len(c.Start)+len(c.Stop)+len(c.Restart)+len(c.Update) == 0
}

// String is one line: "start=a stop=b restart=c update=d keep=17"; what is empty is left out.
func (c Change) String() string {
	var b strings.Builder
	for _, part := range []struct {
		verb  string
		names []string
	}{{"start", c.Start}, {"stop", c.Stop}, {"restart", c.Restart}, {"update", c.Update}} {
		if len(part.names) > 0 {
			fmt.Fprintf(&b, "%s=%s ", part.verb, strings.Join(part.names, ","))
		}
	}
	fmt.Fprintf(&b, "keep=%d", len(c.Keep))
	return b.String()
}

func byName(specs []Spec) map[string]Spec {
	m := make(map[string]Spec, len(specs))
	for _, s := range specs {
		m[s.Name] = s
	}
	return m
}
