package bridge

// The two backs: a Call becomes the line a worker of its generation reads. The
// id and the progress token are the worker's own number for the call.

// appendLine appends the whole line, line break included.
func (c *Conn) appendLine(dst []byte, call *Call, id uint64) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	dst = appendID(dst, id)
	dst = append(dst, `,"method":"`...)
	dst = append(dst, call.method.name...)
	dst = append(dst, '"')
	start := len(dst)
	switch {
	case c.modern.Load() == call.Modern && !call.edited():
		dst = call.sameEra(dst, id)
	case c.modern.Load():
		dst = c.forModern(dst, call, id)
	default:
		dst = call.forLegacy(dst, id)
	}
	if call.env.broken {
		flatten(dst[start:])
	}
	return append(dst, "}\n"...)
}

// edited reports whether params need more than a new progress token although
// both ends are of one generation.
func (call *Call) edited() bool {
	if call.untask() || call.later != 0 {
		return true
	}
	if !call.Modern {
		return call.Answers != nil || call.State != nil
	}
	return call.env.mLevel.ok() && call.Logs == 0 // not attributable here: withheld
}

// untask reports whether params.task is to be taken out: the worker is another
// generation's, or could make a task that nobody may ask for.
func (call *Call) untask() bool { return call.env.asTask.ok() && !call.tasks && call.method.tool }

// sameEra copies params with the progress token replaced.
func (call *Call) sameEra(dst []byte, id uint64) []byte {
	b, e := call.body, call.env
	if !e.params.ok() {
		return dst
	}
	dst = append(dst, `,"params":`...)
	if !e.progress.ok() {
		return append(dst, e.params.of(b)...)
	}
	dst = append(dst, b[e.params.s:e.progress.s]...)
	dst = appendID(dst, id)
	return append(dst, b[e.progress.e:e.params.e]...)
}

// forLegacy removes what only the modern generation knows (MCP 2026-07-28,
// basic: reserved _meta keys). Foreign keys and trace context stay.
func (call *Call) forLegacy(dst []byte, id uint64) []byte {
	b, e := call.body, call.env
	if !e.params.ok() {
		return dst
	}
	dst = append(dst, `,"params":`...)
	if !e.answers.ok() && !e.state.ok() && !call.untask() && call.later == 0 {
		if !e.meta.isObj(b) {
			return append(dst, e.params.of(b)...)
		}
		dst = append(dst, b[e.params.s:e.meta.s]...)
		dst = append(dst, '{')
		dst = call.metaMembers(dst, id)
		dst = append(dst, '}')
		return append(dst, b[e.meta.e:e.params.e]...)
	}
	dst = append(dst, '{')
	dst = call.paramMembers(dst, true)
	if call.later != 0 {
		dst, id = appendAsTask(dst), call.later
	}
	dst = comma(dst)
	dst = append(dst, `"_meta":{`...)
	dst = call.metaMembers(dst, id)
	return append(dst, "}}"...)
}

// forModern says in _meta what a session's client said once, at initialize.
func (c *Conn) forModern(dst []byte, call *Call, id uint64) []byte {
	dst = append(dst, `,"params":{`...)
	dst = call.paramMembers(dst, !call.Modern)
	dst = comma(dst)
	dst = append(dst, `"_meta":{`...)
	dst = call.metaMembers(dst, id)
	dst = comma(dst)
	dst = append(dst, `"`+metaVersion+`":"`+modernVersion+`","`+metaCaps+`":`...)
	switch {
	case call.Modern:
		dst = append(dst, call.Client.Caps...)
	case !call.method.asks:
		dst = append(dst, "{}"...)
	default:
		dst = call.Client.appendCaps(dst)
	}
	if len(call.Client.Info) > 0 {
		dst = append(dst, `,"`+metaInfo+`":`...)
		dst = append(dst, call.Client.Info...)
	}
	if call.Logs != 0 {
		dst = append(dst, `,"`+metaLevel+`":"`...)
		dst = append(dst, call.Logs.String()...)
		dst = append(dst, '"')
	}
	dst = append(dst, '}')
	if call.Answers != nil {
		dst = append(dst, `,"inputResponses":`...)
		dst = append(dst, call.Answers...)
	}
	if call.State != nil {
		dst = append(dst, `,"requestState":`...)
		dst = append(dst, call.State...)
	}
	return append(dst, '}')
}

// extensionsOf are the extensions in a client's capabilities, as the inside of an object in one line. Tasks are left out:
// they are of one generation only, and the bridge's own to tell.
func extensionsOf(caps []byte) string {
	p := memberOf(caps, span{0, len(caps)}, "extensions")
	if !p.isObj(caps) {
		return ""
	}
	in := members(nil, caps, p, func(key []byte) bool { return string(key) != taskExtension })
	flatten(in)
	return string(in)
}

// appendCaps appends what a session's client said at initialize, in the modern generation's
// words: what it can be asked under its revision, its extensions and experiments. Tasks are
// of another design there, and roots announce no changes.
func (c *Client) appendCaps(dst []byte) []byte {
	known := c.asks.required()
	dst = append(dst, known[:len(known)-1]...)
	for _, name := range []string{"experimental", "extensions"} {
		if p := memberOf(c.Caps, span{0, len(c.Caps)}, name); p.isObj(c.Caps) {
			dst = append(comma(dst), `"`+name+`":{`...)
			dst = members(dst, c.Caps, p, func(key []byte) bool { return string(key) != taskExtension })
			dst = append(dst, '}')
		}
	}
	return append(dst, '}')
}

// paramMembers appends the members of params except _meta, and except the
// answers to questions unless they are to be kept.
func (call *Call) paramMembers(dst []byte, dropAnswers bool) []byte {
	return members(dst, call.body, call.env.params, func(key []byte) bool {
		switch string(key) {
		case "_meta":
			return false
		case "inputResponses", "requestState":
			return !dropAnswers
		case "task":
			return !call.untask()
		}
		return true
	})
}

// metaMembers appends the members of _meta that are not reserved, with the
// progress token replaced.
func (call *Call) metaMembers(dst []byte, id uint64) []byte {
	dst = members(dst, call.body, call.env.meta, func(key []byte) bool {
		switch string(key) {
		case "progressToken", metaVersion, metaInfo, metaCaps, metaLevel, metaSubscribe:
			return false
		}
		return true
	})
	if call.env.progress.ok() {
		dst = comma(dst)
		dst = append(dst, `"progressToken":`...)
		dst = appendID(dst, id)
	}
	return dst
}

// members appends the members of the object at p that keep accepts, without braces.
func members(dst, b []byte, p span, keep func(key []byte) bool) []byte {
	if !p.isObj(b) {
		return dst
	}
	s := scanner{b: b, i: p.s}
	s.open()
	none := true
	for first := true; ; first = false {
		k, more, ok := s.key(first)
		if !ok || !more {
			return dst
		}
		v, ok := s.spanned()
		if !ok {
			return dst
		}
		if !keep(keyText(b, k)) {
			continue
		}
		if !none {
			dst = append(dst, ',')
		}
		none = false
		dst = append(dst, b[k.s:v.e]...)
	}
}

// comma appends a separator unless an object has just been opened.
func comma(dst []byte) []byte {
	if dst[len(dst)-1] == '{' {
		return dst
	}
	return append(dst, ',')
}
