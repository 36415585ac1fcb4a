package bridge

import "net/http"

// The modern front: MCP 2026-07-28, Streamable HTTP. One POST, one answer,
// everything in _meta, and headers that mirror the body.

// modern checks a request in the order of precedence of the transport's errors
// and makes the call.
func (x *exchange) modern(header string) {
	x.call.Modern = true
	if f := x.checkModern(header); f != nil {
		x.refuse(f)
		return
	}
	if x.call.Client.asks != 0 && x.s.private() {
		x.s.era.settle(x.r.Context())
	}
	if x.call.method.name == "" {
		if f := x.unknown(); f != nil {
			x.refuse(f)
			return
		}
	}
	if f := x.permitted(x.r.Context()); f != nil {
		x.refuse(f)
		return
	}
	m := x.call.method
	switch {
	case m.era&inModern == 0:
		x.refuse(&fault{http.StatusNotFound, codeNoMethod, "no such method: " + string(text(x.env.method.of(x.body.b))), nil})
	case m.name == "server/discover":
		x.discover()
	case m.name == "subscriptions/listen":
		x.listen()
	case m.task:
		if f := x.taskMethod(); f != nil {
			x.refuse(f)
			return
		}
		r := x.routed(x.r.Context())
		x.finishModern(&r)
		r.free()
	default:
		if f := x.wanted(); f != nil {
			x.refuse(f)
			return
		}
		if x.cold() {
			return
		}
		r := x.modernCall(x.r.Context())
		x.finishModern(&r)
		r.free()
	}
}

// checkModern is everything the transport demands before the method matters.
func (x *exchange) checkModern(header string) *fault {
	b, e := x.body.b, &x.env
	if f := x.acceptable(); f != nil {
		return f
	}
	bad := func(code int, text string) *fault { return &fault{http.StatusBadRequest, code, text, nil} }
	claim := e.mVersion.value
	switch {
	case !claim.isStr(b):
		return bad(codeParams, "params._meta must have "+metaVersion)
	case !e.mCaps.value.isObj(b):
		return bad(codeParams, "params._meta must have "+metaCaps+", an object")
	case header == "":
		return bad(codeHeader, "the MCP-Protocol-Version header is missing")
	}
	version := text(claim.of(b))
	if header != string(version) || twice(x.r.Header, "Mcp-Protocol-Version") {
		return bad(codeHeader, "the MCP-Protocol-Version header differs from the body")
	}
	if string(version) != modernVersion {
		f := bad(codeVersion, "unsupported protocol version")
		f.data = append([]byte(nil), `{"supported":["`+modernVersion+`"],"requested":`...)
		f.data = append(append(f.data, claim.of(b)...), '}')
		return f
	}
	x.call.Client.Version = modernVersion
	x.call.Client.Caps = e.mCaps.value.of(b)
	x.call.Client.asks = asksOf(x.call.Client.Caps, modernVersion)
	if e.mInfo.value.isObj(b) {
		x.call.Client.Info = e.mInfo.value.of(b)
		x.call.Client.Name = nameOf(x.call.Client.Info)
	}
	return x.mirrors()
}

// wanted reads what the client wants of logging.
func (x *exchange) wanted() *fault {
	p := x.env.mLevel.value
	if !p.ok() {
		return nil
	}
	l := levelOf(text(p.of(x.body.b)))
	if l == 0 {
		return &fault{http.StatusOK, codeParams, "no such log level", nil}
	}
	if x.s.private() {
		x.call.Logs = l
	}
	return nil
}

func (x *exchange) discover() {
	id, err := x.s.identity(x.r.Context(), x.call.profile(x.s), x.call.Principal)
	if err != nil {
		x.refuse(refusal(err))
		return
	}
	out := x.s.bufs.get()
	out.b = append(out.b, `{"jsonrpc":"2.0","id":`...)
	out.b = append(out.b, x.id...)
	out.b = append(out.b, `,"result":`...)
	out.b = append(id.discoverResult(out.b), '}')
	x.final(http.StatusOK, out.b)
	x.s.bufs.put(out)
}

// finishModern words the reply for a modern client.
func (x *exchange) finishModern(r *Reply) {
	switch {
	case r.gone:
		x.gone = true
		x.rec.Status = 499
	case r.fault != nil:
		x.refuse(r.fault)
	case r.own != nil:
		x.result(r.own)
	case r.denied != 0 && r.failed():
		x.refuse(x.s.lacks(r.denied, x.call.Client.asks))
	case r.frame.env.kind == kindError:
		x.modernError(r)
	default:
		x.modernResult(r)
	}
}

// modernError passes an error on. Codes that this revision must not emit are
// replaced; a status follows the code where the revision says so.
func (x *exchange) modernError(r *Reply) {
	b, e := r.frame.line.b, &r.frame.env
	code := string(e.fCode.of(b))
	if code == "-32042" && x.call.method.asks && x.visit(r) {
		return
	}
	status := http.StatusOK
	to := ""
	switch code {
	case "-32601":
		status = http.StatusNotFound
	case "-32021":
		status = http.StatusBadRequest
	case "-32002":
		to = "-32602" // resource not found, in older revisions
	case "-32042", "-32022", "-32020":
		to = "-32603" // cannot be meant for this client
	}
	x.rec.Code = number(code)
	var p pieces
	x.errorPieces(&p, b, e, to)
	x.finalPieces(status, &p)
}

// errorPieces is the response with the client's id, and code to if not "". An
// error must have an integer and a text (JSON-RPC 2.0 §5.1): clients drop a
// response without, and wait on.
func (x *exchange) errorPieces(p *pieces, b []byte, e *envelope, to string) {
	if to == "" && !integer(e.fCode.of(b)) {
		to = "-32603"
	}
	p.add(responseHead)
	p.add(x.id)
	p.add(errorHead)
	switch {
	case !e.fCode.ok() || !e.fText.isStr(b):
		p.add(wordless)
	case to == "":
		p.add(e.fault.of(b))
	default:
		p.add(b[e.fault.s:e.fCode.s])
		p.add([]byte(to))
		p.add(b[e.fCode.e:e.fault.e])
	}
	p.add(closing)
}

var (
	responseHead = []byte(`{"jsonrpc":"2.0","id":`)
	resultHead   = []byte(`,"result":`)
	errorHead    = []byte(`,"error":`)
	closing      = []byte(`}`)
	wordless     = []byte(`{"code":-32603,"message":"the server answered with an error that says nothing"}`)
	privateScope = []byte(`"private"`)
	nothing      = []byte(`{}`)
)

// modernResult adds what a result must have in this revision and an older
// server does not give: resultType, and on cacheable results ttlMs and
// cacheScope. A worker knows one user, so its "public" is not to be believed.
func (x *exchange) modernResult(r *Reply) {
	x.tidyTools(r)
	if !x.s.private() && r.State() != nil {
		x.wrap(r)
	}
	b, e := r.frame.line.b, &r.frame.env
	x.rec.Failed = e.failed
	var p pieces
	p.add(responseHead)
	p.add(x.id)
	p.add(resultHead)
	if !e.result.isObj(b) {
		p.add(e.result.of(b))
		p.add(closing)
		x.finalPieces(http.StatusOK, &p)
		return
	}
	own := x.s.bufs.get()
	defer x.s.bufs.put(own)
	own.b = append(own.b, '{')
	if !e.rType.ok() {
		own.b = append(own.b, `"resultType":"complete",`...)
	}
	if x.call.method.cached && !r.asking() {
		if !e.rTTL.ok() {
			own.b = append(own.b, `"ttlMs":0,`...)
		}
		if !e.rScope.ok() {
			own.b = append(own.b, `"cacheScope":"private",`...)
		}
	}
	info := r.conn.ident.info
	if !e.rMeta.ok() {
		own.b = append(own.b, `"_meta":{"`+metaServer+`":`...)
		own.b = append(append(own.b, info...), "},"...)
	}
	at := e.result.s + 1
	if empty(b, at) && len(own.b) > 1 {
		own.b = own.b[:len(own.b)-1]
	}
	first := len(own.b)
	if e.rMeta.isObj(b) && !e.rServer.ok() {
		own.b = append(own.b, `"`+metaServer+`":`...)
		own.b = append(own.b, info...)
		if !empty(b, e.rMeta.s+1) {
			own.b = append(own.b, ',')
		}
	}
	p.add(own.b[:first])
	x.tail(&p, b, e, at, own.b[first:])
	p.add(closing)
	x.finalPieces(http.StatusOK, &p)
}

// tail adds the result from at on, with inMeta at the start of its _meta and
// its cache scope narrowed.
func (x *exchange) tail(p *pieces, b []byte, e *envelope, at int, inMeta []byte) {
	narrow := x.s.private() && e.rScope.ok() && string(e.rScope.of(b)) == `"public"`
	meta := func() {
		if len(inMeta) > 0 {
			p.add(b[at : e.rMeta.s+1])
			p.add(inMeta)
			at = e.rMeta.s + 1
		}
	}
	if len(inMeta) > 0 && (!narrow || e.rMeta.s < e.rScope.s) {
		meta()
		inMeta = nil
	}
	if narrow {
		p.add(b[at:e.rScope.s])
		p.add(privateScope)
		at = e.rScope.e
	}
	meta()
	p.add(b[at:e.result.e])
}

// empty reports whether an object ends right here.
func empty(b []byte, i int) bool {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t') {
		i++
	}
	return i < len(b) && b[i] == '}'
}

// integer reports whether a JSON value is a number without fraction and exponent.
func integer(raw []byte) bool {
	s := scanner{b: raw}
	if s.i < len(raw) && raw[0] == '-' {
		s.i++
	}
	return s.digits() && s.end()
}

func number(raw string) int {
	n, neg := 0, false
	for i, c := range []byte(raw) {
		switch {
		case i == 0 && c == '-':
			neg = true
		case c < '0' || c > '9' || n > 1<<30:
			return 0
		default:
			n = n*10 + int(c-'0')
		}
	}
	if neg {
		return -n
	}
	return n
}
