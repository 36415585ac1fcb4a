package router

import (
	"errors"
	"net/http"
	"strings"
)

// What an Authorization header can be, besides a token.
var (
	errNoToken     = errors.New("no bearer token")
	errTwoTokens   = errors.New("more than one Authorization header")
	errBrokenToken = errors.New("the Authorization header is not of the form: Bearer token")
)

// maxTokenLen is far above any token of ours and far below what could hurt.
const maxTokenLen = 8 << 10

// bearer takes the token from the Authorization header, and from nowhere else:
// tokens in a query end up in logs and histories (MCP authorization, "Token
// requirements"; OAuth 2.1 §5.1.1 knows no such method).
func bearer(h http.Header) (string, error) {
	values := h["Authorization"]
	switch len(values) {
	case 0:
		return "", errNoToken
	case 1:
		return parseBearer(values[0])
	default:
		return "", errTwoTokens
	}
}

// parseBearer reads `Bearer 1*SP token68` (RFC 6750 §2.1). The scheme is
// case-insensitive (RFC 9110 §11.1). Another scheme is no bearer token at all.
func parseBearer(s string) (string, error) {
	const scheme = "bearer"
	s = strings.Trim(s, " \t")
	name, token, _ := strings.Cut(s, " ")
	if len(name) != len(scheme) || !strings.EqualFold(name, scheme) {
		return "", errNoToken
	}
	token = strings.TrimLeft(token, " ")
	if !isToken68(token) {
		return "", errBrokenToken
	}
	return token, nil
}

// isToken68 is the b64token rule of RFC 6750 §2.1.
func isToken68(s string) bool {
	if len(s) > maxTokenLen {
		return false
	}
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '.', c == '_', c == '~', c == '+', c == '/':
		default:
			return false
		}
	}
	return s != ""
}
