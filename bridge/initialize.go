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
	version := x.speaks(text(e.version.of(b)))
	v := &session{id: newSID(), created: time.Now(), version: version, who: x.call.Principal}
	if x.channel != nil {
		v.id = x.channel.id
	}
	if e.caps.isObj(b) {
		v.caps = flat(e.caps.of(b), e.broken)
		v.asks = asksOf(v.caps, version)
	}
	if e.info.isObj(b) {
		v.info = flat(e.info.of(b), e.broken)
		v.name = nameOf(v.info)
	}
	v.bound()
	v.extensions = extensionsOf(v.caps)
	x.call.Client = v.client()
	id, err := x.s.identity(x.r.Context(), x.call.profile(x.s), x.call.Principal)
	if err != nil {
		x.refuse(refusal(err))
		return
	}
	if x.channel != nil {
		x.channel.introduce(v)
	} else {
		x.w.Header()["Mcp-Session-Id"] = []string{x.s.sealSession(v)}
	}
	out := x.s.bufs.get()
	out.b = id.initializeResult(out.b, version)
	x.result(out.b)
	x.s.bufs.put(out)
}

// speaks is the version of a session whose client wants this one (MCP
// 2025-11-25, lifecycle): the latest we speak if we do not speak it. The modern
// one has no initialize, the oldest a transport of its own.
func (x *exchange) speaks(wanted []byte) string {
	if x.channel != nil && string(wanted) == oldestLegacy {
		return oldestLegacy
	}
	if v := knownLegacy(wanted); v != "" {
		return v
	}
	return latestLegacy
}

// flat is a value without line breaks.
func flat(b []byte, broken bool) []byte {
	if broken {
		b = append([]byte(nil), b...)
		flatten(b)
	}
	return b
}
