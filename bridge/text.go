package bridge

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// plain returns what is between the quotes of a raw JSON string when it has no
// escapes, which is how every key and method in practice is written.
func plain(raw []byte) ([]byte, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return nil, false
	}
	in := raw[1 : len(raw)-1]
	return in, bytes.IndexByte(in, '\\') < 0
}

// text returns the value of a raw, valid JSON string: a slice of it when it has
// no escapes, otherwise decoded into fresh memory. Anything else gives nil.
func text(raw []byte) []byte {
	in, simple := plain(raw)
	if in == nil || simple {
		return in
	}
	out := make([]byte, 0, len(in))
	for i := 0; i < len(in); {
		c := in[i]
		if c != '\\' {
			out = append(out, c)
			i++
			continue
		}
		switch in[i+1] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hex4(in[i+2:])
			if utf16.IsSurrogate(r) {
				if low, ok := lowSurrogate(in[i+6:]); ok {
					if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
						out = utf8.AppendRune(out, pair)
						i += 12
						continue
					}
				}
				r = utf8.RuneError
			}
			out = utf8.AppendRune(out, r)
			i += 6
			continue
		default:
			out = append(out, in[i+1])
		}
		i += 2
	}
	return out
}

func hex4(b []byte) rune {
	return unhex(b[0])<<12 | unhex(b[1])<<8 | unhex(b[2])<<4 | unhex(b[3])
}

func lowSurrogate(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	return hex4(b[2:]), true
}

// quote appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func quote(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, '\\', 'n')
		case r < 0x20 || r == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		case r < utf8.RuneSelf:
			dst = append(dst, s[i])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

// flatten turns the line breaks of a valid JSON text into spaces, in place:
// they can only be white space between tokens.
func flatten(b []byte) {
	for i, c := range b {
		if c == '\n' || c == '\r' {
			b[i] = ' '
		}
	}
}
