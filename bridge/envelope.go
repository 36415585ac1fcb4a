package bridge

import "errors"

// kind is what a JSON-RPC message is.
type kind uint8

const (
	kindNone         kind = iota
	kindRequest           // method and id
	kindNotification      // method, no id
	kindResult            // id and result
	kindError             // error, and an id unless the sender could not read it
)

// envelope says where the members of one message are that the bridge acts on.
// Everything else is carried unread. Spans of strings have their quotes.
type envelope struct {
	kind   kind
	broken bool // has a line break between tokens
	failed bool // the result has isError: the tool says that it failed
	id     span
	method span
	params span
	result span
	fault  span // the error object

	// in params
	name, uri, task    span
	args               span
	asTask             member // tools/call, 2025-11-25: task
	level              span   // logging/setLevel
	version            span   // initialize: protocolVersion
	caps, info         span   // initialize: capabilities, clientInfo
	token              span   // notifications/progress: progressToken
	request            span   // notifications/cancelled: requestId
	answers, state     span   // inputResponses, requestState
	answersAt, stateAt span   // the same with their keys
	filter             span   // subscriptions/listen: notifications
	meta               span   // _meta

	// in params._meta
	progress   span // progressToken
	mVersion   metaMember
	mInfo      metaMember
	mCaps      metaMember
	mLevel     metaMember
	mSubscribe metaMember

	// in result
	rType              member
	rTTL, rScope       span
	rMeta              span
	rServer            span // _meta's serverInfo
	rInputs, rState    span
	rVersion           span // initialize
	rCaps, rInfo       span // initialize, discover
	rInstructions      span
	rVersions          span // discover: supportedVersions
	rTools             span
	rCursor            span
	fCode, fText, fAux span // error.code, .message, .data
}

// member is a value and the place of its key, for removal.
type member struct {
	key   int
	value span
}

func (m member) ok() bool { return m.value.ok() }

type metaMember = member

const (
	metaPrefix    = "io.modelcontextprotocol/"
	metaVersion   = metaPrefix + "protocolVersion"
	metaInfo      = metaPrefix + "clientInfo"
	metaCaps      = metaPrefix + "clientCapabilities"
	metaLevel     = metaPrefix + "logLevel"
	metaServer    = metaPrefix + "serverInfo"
	metaSubscribe = metaPrefix + "subscriptionId"
)

var (
	errSyntax  = errors.New("not valid JSON, or nested too deeply")
	errMessage = errors.New("not a JSON-RPC 2.0 message")
	errTwice   = errors.New("a member appears twice")
)

// scan reads one message. errSyntax means the text is not acceptable JSON;
// any other error that it is JSON and no message, in which case e.id is set if
// there was a usable one. A member the bridge acts on must not appear twice:
// the next parser might take the other one.
func (e *envelope) scan(b []byte) error {
	*e = envelope{}
	s := scanner{b: b}
	switch s.peek() {
	case '{':
	case 0:
		return errSyntax
	default:
		if !s.value() || !s.end() {
			return errSyntax
		}
		return errMessage
	}
	s.open()
	var v string
	var fail error
	for first := true; ; first = false {
		k, more, ok := s.key(first)
		if !ok {
			return errSyntax
		}
		if !more {
			break
		}
		s.space()
		if err := e.top(&s, b, k, &v); err == errSyntax {
			return err
		} else if err != nil {
			fail = err
		}
	}
	if !s.end() {
		return errSyntax
	}
	e.broken = s.broken
	if fail != nil {
		return fail
	}
	return e.classify(b, v)
}

// classify decides what the message is and refuses what JSON-RPC 2.0 and MCP
// (no null ids, ids are strings or numbers) do not know.
func (e *envelope) classify(b []byte, version string) error {
	if e.id.ok() {
		if c := b[e.id.s]; c != '"' && c != '-' && (c < '0' || c > '9') {
			null := c == 'n'
			e.id = span{}
			if !null || !e.fault.ok() { // an error may answer what could not be read
				return errMessage
			}
		}
	}
	if version != "2.0" {
		return errMessage
	}
	switch {
	case e.method.ok():
		if !e.method.isStr(b) || e.result.ok() || e.fault.ok() {
			return errMessage
		}
		if e.params.ok() && b[e.params.s] != '{' {
			return errMessage // MCP has only named params
		}
		e.kind = kindNotification
		if e.id.ok() {
			e.kind = kindRequest
		}
	case e.result.ok() && e.fault.ok(), !e.result.ok() && !e.fault.ok():
		return errMessage
	case e.result.ok():
		if !e.id.ok() {
			return errMessage
		}
		e.kind = kindResult
	case !e.fault.isObj(b):
		return errMessage
	default:
		e.kind = kindError
	}
	return nil
}

func (e *envelope) top(s *scanner, b []byte, k span, version *string) error {
	switch string(keyText(b, k)) {
	case "jsonrpc":
		p, ok := s.spanned()
		if !ok {
			return errSyntax
		}
		if *version != "" {
			return errTwice
		}
		*version = "?"
		if string(text(p.of(b))) == "2.0" {
			*version = "2.0"
		}
		return nil
	case "id":
		return once(s, &e.id)
	case "method":
		return once(s, &e.method)
	case "params":
		return e.inside(s, b, &e.params, inParams)
	case "result":
		return e.inside(s, b, &e.result, inResult)
	case "error":
		return e.inside(s, b, &e.fault, inFault)
	}
	return skip(s)
}

// inside walks the members of an object value, or skips a value of another kind.
func (e *envelope) inside(s *scanner, b []byte, at *span, where part) error {
	twice := at.ok()
	start := s.i
	var fail error
	if s.i < len(b) && b[s.i] == '{' && !twice {
		if !s.open() {
			return errSyntax
		}
		for first := true; ; first = false {
			k, more, ok := s.key(first)
			if !ok {
				return errSyntax
			}
			if !more {
				break
			}
			s.space()
			if err := e.member(s, b, k, where); err == errSyntax {
				return err
			} else if err != nil {
				fail = err
			}
		}
	} else if !s.value() {
		return errSyntax
	}
	*at = span{start, s.i}
	if twice {
		return errTwice
	}
	return fail
}

// part is an object whose members are looked at. A func value in its place
// would cost an allocation per message.
type part uint8

const (
	inParams part = iota
	inMeta
	inResult
	inResultMeta
	inFault
)

func (e *envelope) member(s *scanner, b []byte, k span, where part) error {
	switch where {
	case inParams:
		return e.paramMember(s, b, k)
	case inMeta:
		return e.metaMember(s, b, k)
	case inResult:
		return e.resultMember(s, b, k)
	case inResultMeta:
		return e.resultMetaMember(s, b, k)
	}
	return e.faultMember(s, b, k)
}

func skip(s *scanner) error {
	if !s.value() {
		return errSyntax
	}
	return nil
}

// once reads a value into at, which must still be empty.
func once(s *scanner, at *span) error {
	p, ok := s.spanned()
	if !ok {
		return errSyntax
	}
	if at.ok() {
		return errTwice
	}
	*at = p
	return nil
}

func onceMember(s *scanner, k span, at *member) error {
	at.key = k.s
	return once(s, &at.value)
}

// keyText is the value of a key; the escaped spelling of a key is the same key.
func keyText(b []byte, k span) []byte { return text(k.of(b)) }
