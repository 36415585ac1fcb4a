package bridge

import (
	"net/http"
	"time"
)

// initialize opens a session. It is answered from what the server said of
// itself at its last handshake, without a word to a worker.
func (x *exchange) initialize() {
	if f := x.acceptable(); f != nil {
		x.refuse(f)
		return
	}
	b, e := x.body.b, &x.env
	if !e.version.isStr(b) {
		x.refuse(&fault{http.StatusOK, codeParams, "params.protocolVersion is missing", nil})
		return
	}
	// MCP 2025-11-25, lifecycle: a version we do not speak is answered with the
	// latest we do. The modern one has no initialize.
	version := knownLegacy(text(e.version.of(b)))
	if version == "" {
		version = latestLegacy
	}
	v := &session{id: newSID(), created: time.Now(), version: version, who: x.call.Principal}
	if e.caps.isObj(b) {
		v.caps = flat(e.caps.of(b), e.broken)
		v.asks = asksOf(v.caps, version)
	}
	if e.info.isObj(b) {
		v.info = flat(e.info.of(b), e.broken)
	}
	x.call.Client = Client{Version: version, Name: nameOf(v.info), Info: v.info, asks: v.asks, session: v.id, opened: v.created}
	id, err := x.s.identity(x.r.Context(), x.call.profile(x.s), x.call.Principal)
	if err != nil {
		x.refuse(refusal(err))
		return
	}
	x.w.Header()["Mcp-Session-Id"] = []string{x.s.sealSession(v)}
	out := x.s.bufs.get()
	out.b = id.initializeResult(out.b, version)
	x.result(out.b)
	x.s.bufs.put(out)
}

// flat is a value without line breaks.
func flat(b []byte, broken bool) []byte {
	if broken {
		b = append([]byte(nil), b...)
		flatten(b)
	}
	return b
}
