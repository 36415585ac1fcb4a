package router

import "strconv"

// traceparent reads such a header (W3C Trace Context §3.2): the ids of the trace and of
// the caller's span, "" where there is no valid one, and whether the caller says that
// it is not sampled.
//
// They go into the access record and no further. What a worker should see of a trace
// the client writes into the request's own _meta (MCP 2026-07-28, traceparent and
// tracestate), which reaches the worker as it is. The header is of the HTTP hop: a
// proxy on the way may have made it, and MCP gives it no place in a message.
func traceparent(lines []string) (trace, parent string, untraced bool) {
	if len(lines) != 1 {
		return "", "", false
	}
	s := lines[0]
	// version "-" trace-id "-" parent-id "-" flags; later versions may go on after a dash.
	if len(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' || s[:2] == "ff" || len(s) > 55 && (s[:2] == "00" || s[55] != '-') {
		return "", "", false
	}
	if !isLowerHex(s[:2]) || !isLowerHex(s[3:35]) || !isLowerHex(s[36:52]) || !isLowerHex(s[53:55]) || allZero(s[3:35]) || allZero(s[36:52]) {
		return "", "", false
	}
	flags, _ := strconv.ParseUint(s[53:55], 16, 8) // of hexadecimal digits
	return s[3:35], s[36:52], flags&1 == 0
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
