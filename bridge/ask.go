package bridge

import "bytes"

// asks is a set of questions a server may ask through a client.
type asks uint8

const (
	askForm asks = 1 << iota // elicitation/create, mode form
	askURL                   // elicitation/create, mode url (2025-11-25)
	askSample
	askRoots
	askSampleTools   // sampling/createMessage with tools (2025-11-25)
	askSampleContext // and with other servers' context
)

// askOf returns what a client must support to be asked this.
func askOf(method, b []byte, e *envelope) asks {
	switch string(method) {
	case "elicitation/create":
		mode := memberOf(b, e.params, "mode")
		if mode.ok() && string(text(mode.of(b))) == "url" {
			return askURL
		}
		return askForm
	case "sampling/createMessage":
		if memberOf(b, e.params, "tools").ok() {
			return askSample | askSampleTools
		}
		return askSample // includeContext does not depend on its capability: a client may ignore it
	case "roots/list":
		return askRoots
	}
	return 0
}

// asksOf reads a client's capabilities. version bounds what that revision knows.
func asksOf(caps []byte, version string) asks {
	var a asks
	if len(caps) <= len("{}") {
		return 0
	}
	all := span{0, len(caps)}
	if p := memberOf(caps, all, "elicitation"); p.isObj(caps) && version >= "2025-06-18" {
		form, url := memberOf(caps, p, "form"), memberOf(caps, p, "url")
		if form.ok() || !url.ok() {
			a |= askForm // an empty object means form only
		}
		if url.ok() && version >= "2025-11-25" {
			a |= askURL
		}
	}
	if p := memberOf(caps, all, "sampling"); p.isObj(caps) {
		a |= askSample
		if memberOf(caps, p, "tools").ok() && version >= "2025-11-25" {
			a |= askSampleTools
		}
		if memberOf(caps, p, "context").ok() && version >= "2025-11-25" {
			a |= askSampleContext
		}
	}
	if memberOf(caps, all, "roots").isObj(caps) {
		a |= askRoots
	}
	return a
}

// capabilities is what a legacy worker is told at initialize.
func (a asks) capabilities() string { return a.object(`"roots":{"listChanged":true}`) }

// required is what a client is told that lacks them (MCP 2026-07-28, errors:
// missing required client capability).
func (a asks) required() string { return a.object(`"roots":{}`) }

// object is a capabilities object with the given words for roots.
func (a asks) object(roots string) string {
	out := []byte{'{'}
	add := func(s string) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, s...)
	}
	switch a & (askForm | askURL) {
	case askForm:
		add(`"elicitation":{"form":{}}`)
	case askURL:
		add(`"elicitation":{"url":{}}`)
	case askForm | askURL:
		add(`"elicitation":{"form":{},"url":{}}`)
	}
	switch a & (askSampleTools | askSampleContext) {
	case askSampleTools:
		add(`"sampling":{"tools":{}}`)
	case askSampleContext:
		add(`"sampling":{"context":{}}`)
	case askSampleTools | askSampleContext:
		add(`"sampling":{"context":{},"tools":{}}`)
	default:
		if a&askSample != 0 {
			add(`"sampling":{}`)
		}
	}
	if a&askRoots != 0 {
		add(roots)
	}
	return string(append(out, '}'))
}

// memberOf finds a member of the object at p in valid JSON.
func memberOf(b []byte, p span, name string) span {
	if !p.isObjAt(b) {
		return span{}
	}
	s := scanner{b: b[:p.e], i: p.s}
	s.open()
	for first := true; ; first = false {
		k, more, ok := s.key(first)
		if !ok || !more {
			return span{}
		}
		v, ok := s.spanned()
		if !ok {
			return span{}
		}
		if bytes.Equal(keyText(b, k), []byte(name)) {
			return v
		}
	}
}

func (p span) isObjAt(b []byte) bool { return p.e > p.s && b[p.s] == '{' }
