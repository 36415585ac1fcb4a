package router

import (
	"net/http"
	"strings"
)

// Browser clients need these (MCP transports; * does not cover Authorization).
const (
	corsMethods = "POST, GET, DELETE, OPTIONS"
	corsHeaders = "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Method, Mcp-Name, Mcp-Session-Id, Last-Event-ID"
	corsExpose  = "Mcp-Session-Id, WWW-Authenticate, Retry-After, X-Request-Id"
	corsMaxAge  = "7200" // seconds; what Chromium caps it to
)

// maxParamHeaders bounds how many Mcp-Param-* names one preflight may have echoed.
const maxParamHeaders = 64

// allowOrigin puts the headers on the answer that let the page read it, also when
// the answer is a refusal: without them a browser hides the 401 and its challenge,
// and the client can never start to sign in.
func allowOrigin(h http.Header, origin string) {
	h["Access-Control-Allow-Origin"] = []string{origin}
	h["Access-Control-Expose-Headers"] = []string{corsExpose}
	h.Add("Vary", "Origin")
}

// preflight answers OPTIONS on an MCP endpoint. The origin was checked before.
func preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if r.Header.Get("Access-Control-Request-Method") == "" {
		h.Set("Allow", corsMethods+", HEAD")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	h.Set("Access-Control-Allow-Methods", corsMethods)
	h.Set("Access-Control-Allow-Headers", corsHeaders+paramHeaders(r.Header))
	h.Set("Access-Control-Max-Age", corsMaxAge)
	h.Add("Vary", "Access-Control-Request-Headers")
	w.WriteHeader(http.StatusNoContent)
}

// paramHeaders echoes the Mcp-Param-* names that the page is going to send: they
// come from the tools' schemas, so no fixed list can hold them.
func paramHeaders(h http.Header) string {
	const prefix = "mcp-param-"
	var b strings.Builder
	n := 0
	for _, line := range h["Access-Control-Request-Headers"] {
		for name := range strings.SplitSeq(line, ",") {
			name = strings.TrimSpace(name)
			if len(name) <= len(prefix) || len(name) > 128 || !strings.EqualFold(name[:len(prefix)], prefix) || !isFieldName(name) {
				continue
			}
			if n++; n > maxParamHeaders {
				return b.String()
			}
			b.WriteString(", ")
			b.WriteString(name)
		}
	}
	return b.String()
}

// isFieldName is the token rule of RFC 9110 §5.6.2.
func isFieldName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// openToAll marks a public document: any page may read it, nothing in it depends
// on who asks. It reports whether the request still wants the document itself.
func openToAll(w http.ResponseWriter, r *http.Request) (wanted bool, err error) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return true, nil
	case http.MethodOptions:
		h.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "MCP-Protocol-Version, Content-Type, Accept")
		h.Set("Access-Control-Max-Age", corsMaxAge)
		h.Set("Allow", "GET, HEAD, OPTIONS")
		w.WriteHeader(http.StatusNoContent)
		return false, nil
	}
	h.Set("Allow", "GET, HEAD, OPTIONS")
	return false, refuse(http.StatusMethodNotAllowed, "this document can only be read: use GET")
}
