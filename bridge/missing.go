package bridge

import (
	"net/http"
	"strconv"
)

// What a modern client is told when it lacks what a legacy server wants of it.

// lacks is the error for a call that failed because its server asked in vain.
func (s *Server) lacks(denied, declared asks) *fault {
	if denied&^declared == 0 { // it has what is needed, and its worker serves others too
		return internal(`the server asks questions, which needs isolation = "user"`)
	}
	return lacking(denied &^ declared)
}

// lacking names missing capabilities (MCP 2026-07-28, errors: -32021).
func lacking(a asks) *fault {
	return &fault{http.StatusBadRequest, codeCapability, "the server needs a client with other capabilities",
		[]byte(`{"requiredCapabilities":` + a.required() + `}`)}
}

// failed reports whether the call came to nothing, in either of the two ways
// to say so.
func (r *Reply) failed() bool {
	return r.frame.env.kind == kindError || r.frame.env.failed
}

// visit answers for a legacy server's demand to open addresses first and to
// call again then (MCP 2025-11-25, elicitation: -32042), which is what a modern
// client does with input required. The server takes the second call for a
// first one, so there is no state. It reports false for a demand it cannot read.
func (x *exchange) visit(r *Reply) bool {
	b := r.frame.line.b
	list := memberOf(b, r.frame.env.fAux, "elicitations")
	if !list.ok() || b[list.s] != '[' {
		return false
	}
	parts, ok := elements(list.of(b))
	if !ok || len(parts) == 0 || len(parts) > maxQuestions {
		return false
	}
	out := []byte(`{"resultType":"input_required","inputRequests":{`)
	for i, p := range parts {
		p = span{list.s + p.s, list.s + p.e}
		url, message := memberOf(b, p, "url"), memberOf(b, p, "message")
		if !url.isStr(b) || !message.isStr(b) {
			return false
		}
		out = comma(out)
		out = strconv.AppendInt(append(out, `"q`...), int64(i)+1, 10)
		out = append(out, `":{"method":"elicitation/create","params":{"mode":"url","message":`...)
		out = append(append(append(out, message.of(b)...), `,"url":`...), url.of(b)...)
		out = append(out, "}}"...)
	}
	if x.call.Client.asks&askURL == 0 {
		x.refuse(lacking(askURL))
		return true
	}
	out = append(out, `},"_meta":{"`+metaServer+`":`...)
	x.result(append(append(out, r.conn.ident.info...), "}}"...))
	return true
}
