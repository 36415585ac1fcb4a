package supervisor

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/time/rate"
)

// What is kept of a child's standard error.
const (
	lineLimit  = 2048    // bytes of a line; the rest of a longer one is cut
	tailLines  = 3       // lines in the reason of an exit
	tailLimit  = 300     // bytes of them
	lineRate   = 200     // lines per second that a child may write for long
	lineBurst  = 2000    // lines that it may write at once
	byteRate   = 1 << 20 // bytes per second that are read of it for long; one that writes more waits for its pipe
	byteBurst  = 4 << 20
	byteStep   = 16 << 10 // how many are counted together
	cutMark    = " …"
	ellipsis   = "…"
	flooded    = "(%d lines left out: more than %d a second)"
	unreadable = utf8.RuneError
)

// output reads the standard error of one child: into the ring of its server, and into the few
// last lines that say why it ended.
type output struct {
	ring   *ring
	mask   *masker
	worker int
	limit  *rate.Limiter
	bytes  *rate.Limiter

	left int // lines left out since the last that was kept; pump's own
	read int // bytes that have not been counted yet; pump's own

	mu   sync.Mutex
	tail []rawLine // guarded by mu; the last lines, cleaned only if someone asks: most never are
}

type rawLine struct {
	at   time.Time
	text string
}

func newOutput(r *ring, m *masker, worker int) *output {
	return &output{ring: r, mask: m, worker: worker, limit: rate.NewLimiter(lineRate, lineBurst), bytes: rate.NewLimiter(byteRate, byteBurst)}
}

// pump reads until r ends. It never stops reading: a child whose standard error is not read stands
// still as soon as the pipe is full. One that floods it is slowed down by that, and costs the daemon little.
func (o *output) pump(r io.Reader) {
	// Room for a secret that begins just before the cut, so that no part of it is left.
	in := bufio.NewReaderSize(r, lineLimit+o.mask.longest)
	for {
		line, err := in.ReadSlice('\n')
		o.slow(len(line))
		long := errors.Is(err, bufio.ErrBufferFull)
		if len(line) > 0 {
			o.line(line)
		}
		for long && errors.Is(err, bufio.ErrBufferFull) {
			line, err = in.ReadSlice('\n')
			o.slow(len(line))
		}
		if err != nil {
			o.flood()
			return
		}
	}
}

// slow waits where more is read than may be for long.
func (o *output) slow(n int) {
	if o.read += n; o.read < byteStep {
		return
	}
	time.Sleep(o.bytes.ReserveN(time.Now(), o.read).Delay()) // some milliseconds: what one step takes
	o.read = 0
}

// last is what the child said last, on one line, of what it said after since.
func (o *output) last(since time.Time) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var said []string
	for _, line := range o.tail {
		if text := strings.TrimSpace(o.text(line.text)); text != "" && !line.at.Before(since) {
			said = append(said, text)
		}
	}
	return shorten(strings.Join(said, " / "), tailLimit)
}

func (o *output) line(raw []byte) {
	now := time.Now()
	o.remember(raw, now)
	if !o.limit.AllowN(now, 1) {
		o.left++
		return
	}
	o.flood()
	o.ring.add(Line{Time: now, Worker: o.worker, Text: o.text(string(raw))})
}

func (o *output) remember(raw []byte, now time.Time) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.tail) == tailLines {
		o.tail = slices.Delete(o.tail, 0, 1)
	}
	o.tail = append(o.tail, rawLine{now, string(raw)})
}

// flood says how many lines were left out.
func (o *output) flood() {
	if o.left > 0 {
		o.ring.add(Line{Time: time.Now(), Worker: o.worker, Text: fmt.Sprintf(flooded, o.left, lineRate)})
		o.left = 0
	}
}

// text makes a raw line fit to be shown: clean first, so that nothing can hide a secret by writing
// a colour into the middle of it, then masked, then cut.
func (o *output) text(raw string) string {
	text := o.mask.mask(clean(raw))
	if len(text) > lineLimit {
		return cut(text, lineLimit) + cutMark
	}
	return text
}

// clean returns a line without its end, without terminal escape sequences and control characters,
// which could move a reader's cursor or retitle the window, and with U+FFFD for what is not UTF-8.
func clean(line string) string {
	line = strings.TrimRight(line, "\r\n")
	if plain(line) {
		return line
	}
	var b strings.Builder
	b.Grow(len(line))
	for i := 0; i < len(line); {
		if n := escape(line[i:]); n > 0 {
			i += n
			continue
		}
		r, n := utf8.DecodeRuneInString(line[i:])
		i += n
		switch {
		case r == '\t':
			b.WriteByte(' ')
		case r == unreadable:
			b.WriteRune(unreadable)
		case !unicode.IsControl(r) && !unicode.Is(unicode.Bidi_Control, r):
			b.WriteRune(r)
		}
	}
	return b.String()
}

func plain(line string) bool {
	for i := range len(line) {
		if c := line[i]; c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// escape is the length of the terminal escape sequence (ECMA-48) that s begins with, or 0.
func escape(s string) int {
	if len(s) < 2 || s[0] != 0x1b {
		return 0
	}
	switch s[1] {
	case '[': // CSI: parameters, then one final byte
		for i := 2; i < len(s); i++ {
			if s[i] >= 0x40 && s[i] <= 0x7e {
				return i + 1
			}
		}
		return len(s)
	case ']', 'P', '_', '^': // OSC and the other strings: up to BEL or ST
		for i := 2; i < len(s); i++ {
			if s[i] == 0x07 {
				return i + 1
			}
			if s[i] == '\\' && s[i-1] == 0x1b {
				return i + 1
			}
		}
		return len(s)
	}
	return 2
}

// cut returns the longest beginning of s that has at most n bytes and ends between two characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// shorten keeps the end of s, which is where programs say what went wrong.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	i := len(s) - n
	for i < len(s) && !utf8.RuneStart(s[i]) {
		i++
	}
	return ellipsis + s[i:]
}
