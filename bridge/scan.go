package bridge

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a message. Deeper ones are refused before
// they reach a worker whose parser may recurse.
const maxDepth = 256

// span is a half-open range of a message. No member can start a message, so
// the zero span means "not there".
type span struct{ s, e int }

func (p span) ok() bool            { return p.e > 0 }
func (p span) of(b []byte) []byte  { return b[p.s:p.e] }
func (p span) isObj(b []byte) bool { return p.ok() && b[p.s] == '{' }
func (p span) isStr(b []byte) bool { return p.ok() && b[p.s] == '"' }

// scanner is a strict, allocation-free reader of one JSON text (RFC 8259; with
// invalid UTF-8 refused, which encoding/json would quietly replace).
type scanner struct {
	b     []byte
	i     int
	depth int
	// broken reports a line break between tokens: harmless in HTTP, the end of
	// the message on a stdio pipe or in an event stream.
	broken bool
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t':
		case '\n', '\r':
			s.broken = true
		default:
			return
		}
		s.i++
	}
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// end reports whether nothing but white space is left.
func (s *scanner) end() bool {
	s.space()
	return s.i == len(s.b)
}

// open enters an object or array. False: nested too deeply.
func (s *scanner) open() bool {
	s.i++
	s.depth++
	return s.depth <= maxDepth
}

// value skips one value of any kind; s.i is at its first byte.
func (s *scanner) value() bool {
	if s.i >= len(s.b) {
		return false
	}
	switch c := s.b[s.i]; c {
	case '"':
		return s.str()
	case '{':
		return s.object()
	case '[':
		return s.array()
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		return s.number()
	}
}

// spanned skips one value and returns where it is.
func (s *scanner) spanned() (span, bool) {
	s.space()
	start := s.i
	ok := s.value()
	return span{start, s.i}, ok
}

func (s *scanner) object() bool {
	if !s.open() {
		return false
	}
	for first := true; ; first = false {
		_, more, ok := s.key(first)
		if !ok {
			return false
		}
		if !more {
			return true
		}
		s.space()
		if !s.value() {
			return false
		}
	}
}

func (s *scanner) array() bool {
	if !s.open() {
		return false
	}
	if s.peek() == ']' {
		s.i++
		s.depth--
		return true
	}
	for {
		s.space()
		if !s.value() {
			return false
		}
		switch s.peek() {
		case ',':
			s.i++
		case ']':
			s.i++
			s.depth--
			return true
		default:
			return false
		}
	}
}

// key reads, inside an object, the separator, the next key and its colon. more
// is false when the object ended instead. The key's span has its quotes.
func (s *scanner) key(first bool) (k span, more, ok bool) {
	switch s.peek() {
	case '}':
		s.i++
		s.depth--
		return k, false, true
	case ',':
		if first {
			return k, false, false
		}
		s.i++
		s.space()
	default:
		if !first {
			return k, false, false
		}
	}
	if s.i >= len(s.b) || s.b[s.i] != '"' {
		return k, false, false
	}
	k.s = s.i
	if !s.str() {
		return k, false, false
	}
	k.e = s.i
	if s.peek() != ':' {
		return k, false, false
	}
	s.i++
	return k, true, true
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// str skips a string; s.i is at the opening quote. Eight bytes at a time: a
// byte is of interest when it is a quote, a backslash, a control or not ASCII.
func (s *scanner) str() bool {
	b, i := s.b, s.i+1
	for {
		for i+8 <= len(b) {
			w := binary.LittleEndian.Uint64(b[i:])
			q, e := w^(ones*'"'), w^(ones*'\\')
			m := ((w - ones*0x20) | (q - ones) | (e - ones) | w) & highs
			if m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				break
			}
			i += 8
		}
		if i >= len(b) {
			return false
		}
		switch c := b[i]; {
		case c == '"':
			s.i = i + 1
			return true
		case c == '\\':
			n := escape(b[i:])
			if n == 0 {
				return false
			}
			i += n
		case c < 0x20:
			return false
		case c < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n <= 1 {
				return false
			}
			i += n
		}
	}
}

// escape returns the length of the escape sequence at the start of b, 0 if it is none.
func escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		for _, c := range b[2:6] {
			if unhex(c) < 0 {
				return 0
			}
		}
		return 6
	}
	return 0
}

func unhex(c byte) rune {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0')
	case 'a' <= c && c <= 'f':
		return rune(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}

func (s *scanner) literal(want string) bool {
	if len(s.b)-s.i < len(want) || string(s.b[s.i:s.i+len(want)]) != want {
		return false
	}
	s.i += len(want)
	return true
}

func (s *scanner) digits() bool {
	start := s.i
	for s.i < len(s.b) && '0' <= s.b[s.i] && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > start
}

// number skips -? int frac? exp? of RFC 8259 §6.
func (s *scanner) number() bool {
	if s.i < len(s.b) && s.b[s.i] == '-' {
		s.i++
	}
	if s.i < len(s.b) && s.b[s.i] == '0' {
		s.i++
	} else if !s.digits() {
		return false
	}
	if s.i < len(s.b) && s.b[s.i] == '.' {
		s.i++
		if !s.digits() {
			return false
		}
	}
	if s.i < len(s.b) && (s.b[s.i] == 'e' || s.b[s.i] == 'E') {
		s.i++
		if s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
			s.i++
		}
		return s.digits()
	}
	return true
}
