package router

// traceID is the trace id of a traceparent header (W3C Trace Context §3.2), "" where
// there is no valid one.
//
// It goes into the access record and no further. What a worker should see of a trace
// the client writes into the request's own _meta (MCP 2026-07-28, traceparent and
// tracestate), which reaches the worker as it is. The header is of the HTTP hop: a
// proxy on the way may have made it, and MCP gives it no place in a message.
func traceID(lines []string) string {
	if len(lines) != 1 {
		return ""
	}
	s := lines[0]
	// version "-" trace-id "-" parent-id "-" flags; later versions may go on after a dash.
	if len(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' || s[:2] == "ff" || len(s) > 55 && (s[:2] == "00" || s[55] != '-') {
		return ""
	}
	if !isLowerHex(s[:2]) || !isLowerHex(s[3:35]) || !isLowerHex(s[36:52]) || !isLowerHex(s[53:55]) || allZero(s[3:35]) || allZero(s[36:52]) {
		return ""
	}
	return s[3:35]
}

func isLowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func allZero(s string) bool {
	for i := range len(s) {
		if s[i] != '0' {
			return false
		}
	}
	return true
}
