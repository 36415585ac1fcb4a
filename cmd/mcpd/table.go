package main

import (
	"os"
	"slices"
	"strings"

	"golang.org/x/term"
)

// terminal is what a table may do where it is printed. The zero value is a file or a pipe: nothing is
// cut and nothing coloured.
type terminal struct {
	width, height int // in characters; 0: no end
	colour        bool
}

// terminalOf asks w. NO_COLOR: no-color.org.
func terminalOf(w any) terminal {
	f, ok := w.(*os.File)
	if !ok || !isTerminal(f) {
		return terminal{}
	}
	t := terminal{colour: os.Getenv("NO_COLOR") == ""}
	t.width, t.height, _ = term.GetSize(int(f.Fd())) // a terminal that does not know has no end
	return t
}

// frame is a page that takes the place of the one before it: without clearing first, which flickers,
// and no longer than the terminal is high, which scrolls.
func (t terminal) frame(page string) string {
	if t.height == 0 {
		return page
	}
	lines := strings.Split(strings.TrimSuffix(page, "\n"), "\n")
	if most := t.height - 1; len(lines) > most && most > 0 {
		lines = append(lines[:most-1], "…")
	}
	return "\x1b[H" + strings.Join(lines, "\x1b[K\n") + "\x1b[K\n\x1b[J"
}

// table is aligned columns. On a terminal that is too narrow the columns of spare go, one after the
// other, and then the last column is cut.
type table struct {
	header []string
	rows   [][]string
	spare  []string          // headers of columns, the least needed first
	colour map[string]string // cell text to SGR code
}

// enough is how much of the last column has to be left before another column goes.
const enough = 24

func (t table) render(b *strings.Builder, on terminal) {
	lines := t.rows
	if t.header != nil {
		lines = append([][]string{t.header}, t.rows...)
	}
	width := widths(lines)
	for _, name := range t.spare {
		last := len(width) - 1
		left := on.width - before(width, last)
		if on.width == 0 || left >= enough || left >= width[last] {
			break
		}
		if i := slices.Index(lines[0], name); i >= 0 {
			for r := range lines {
				lines[r] = slices.Concat(lines[r][:i], lines[r][i+1:])
			}
			width = slices.Concat(width[:i], width[i+1:])
		}
	}
	for _, row := range lines {
		t.line(b, row, width, on)
	}
}

func widths(lines [][]string) (width []int) {
	for _, row := range lines {
		for i, cell := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	return width
}

// before is where column i begins.
func before(width []int, i int) (at int) {
	for _, w := range width[:i] {
		at += w + len(gap)
	}
	return at
}

const gap = "  "

func (t table) line(b *strings.Builder, row []string, width []int, on terminal) {
	var line strings.Builder
	for i, cell := range row {
		runes := []rune(strings.ReplaceAll(cell, "\n", " "))
		last := i == len(row)-1
		if at := before(width, i); last && on.width > 0 && at+len(runes) > on.width {
			runes = append(runes[:max(on.width-at-1, 0)], '…')
		}
		code := t.colour[cell]
		if on.colour && code != "" {
			line.WriteString("\x1b[" + code + "m" + string(runes) + "\x1b[0m")
		} else {
			line.WriteString(string(runes))
		}
		if !last {
			line.WriteString(strings.Repeat(" ", width[i]-len(runes)+len(gap)))
		}
	}
	b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}
