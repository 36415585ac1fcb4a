package bridge

import (
	"encoding/base64"
	"net/http"
	"strings"
	"unicode/utf8"
)

// mirrors compares Mcp-Method and Mcp-Name with the body (MCP 2026-07-28,
// transports: standard headers). Something in front of us may have routed or
// limited by them, so they must tell the truth.
func (x *exchange) mirrors() *fault {
	b, e, h := x.body.b, &x.env, x.r.Header
	bad := func(text string) *fault { return &fault{http.StatusBadRequest, codeHeader, text, nil} }
	switch got := h["Mcp-Method"]; {
	case len(got) == 0:
		return bad("the Mcp-Method header is missing")
	case len(got) > 1 || got[0] != string(text(e.method.of(b))):
		return bad("the Mcp-Method header differs from the body")
	}
	var want span
	switch x.call.method.header {
	case mirrorsName:
		want = e.name
	case mirrorsURI:
		want = e.uri
	case mirrorsTask:
		want = e.task
	default:
		return nil
	}
	got := h["Mcp-Name"]
	switch {
	case len(got) == 0 && want.isStr(b):
		return bad("the Mcp-Name header is missing")
	case len(got) == 0:
		return nil
	case len(got) > 1 || !want.isStr(b):
		return bad("the Mcp-Name header differs from the body")
	}
	name, ok := decodeHeader(got[0])
	if !ok {
		return bad("the Mcp-Name header cannot be decoded")
	}
	if name != string(text(want.of(b))) {
		return bad("the Mcp-Name header differs from the body")
	}
	return nil
}

func twice(h http.Header, canonical string) bool { return len(h[canonical]) > 1 }

const (
	encodedPrefix = "=?base64?"
	encodedSuffix = "?="
)

// decodeHeader reads a mirrored value: visible ASCII, space and tab as they
// are, anything else as =?base64?…?= of UTF-8. A value with only one of the
// markers is literal. Surrounding white space is not part of a header's value.
func decodeHeader(v string) (string, bool) {
	v = strings.Trim(v, " \t")
	if len(v) >= len(encodedPrefix)+len(encodedSuffix) && strings.HasPrefix(v, encodedPrefix) && strings.HasSuffix(v, encodedSuffix) {
		raw := v[len(encodedPrefix) : len(v)-len(encodedSuffix)]
		if strings.ContainsAny(raw, "\r\n") { // which the decoder would skip
			return "", false
		}
		out, err := base64.StdEncoding.Strict().DecodeString(raw)
		if err != nil || !utf8.Valid(out) {
			return "", false
		}
		return string(out), true
	}
	for i := range len(v) {
		if c := v[i]; c != '\t' && (c < 0x20 || c > 0x7e) {
			return "", false
		}
	}
	return v, true
}
