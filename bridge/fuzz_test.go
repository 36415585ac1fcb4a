package bridge

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// depthOf is the deepest nesting of a valid JSON text.
func depthOf(b []byte) (deepest int) {
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

// FuzzEnvelope: the scanner accepts what encoding/json accepts (and is UTF-8,
// and not too deep), and finds the members it finds.
func FuzzEnvelope(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"é","_meta":{"progressToken":"x"}}}`,
		`{"jsonrpc":"2.0","id":"a","result":{"resultType":"complete","_meta":{}}}`,
		`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"\ud83d\ude00 \ud800"}}`,
		"\t{ \"jsonrpc\" :\r\n\"2.0\", \"method\":\"x\", \"params\":{\"uri\":\"a\"} } ",
		`{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"io.modelcontextprotocol\/logLevel":"x"}}}`,
		`{"a":[1.5e-3,-0,true,false,null,[],{}],"id":9007199254740993}`, `[]`, `{`, `{"a":1,}`, `"x"`, `01`, `1e`, `{"\u0069d":3}`,
		strings.Repeat("[", 300) + strings.Repeat("]", 300), "{\"a\":\"\xff\"}", "{\"a\":\"\x01\"}", "{\"a\":\"long enough for the fast path \\\" \x7f\"}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e envelope
		err := e.scan(b)
		valid := json.Valid(b) && utf8.Valid(b) && depthOf(b) <= maxDepth
		if (err != errSyntax) != valid {
			t.Fatalf("scan: %v; encoding/json: %v", err, valid)
		}
		if err != nil {
			return
		}
		var top map[string]json.RawMessage
		if json.Unmarshal(b, &top) != nil {
			t.Fatal("a message that is not an object")
		}
		same := func(name string, p span, in map[string]json.RawMessage) {
			want, ok := in[name]
			if ok != p.ok() {
				t.Fatalf("%s: found %v, want %v", name, p.ok(), ok)
			}
			if ok && !bytes.Equal(p.of(b), want) {
				t.Fatalf("%s: %q, want %q", name, p.of(b), want)
			}
		}
		for name, p := range map[string]span{"method": e.method, "params": e.params, "result": e.result, "error": e.fault} {
			same(name, p, top)
		}
		if e.id.ok() {
			same("id", e.id, top)
		}
		var params, meta map[string]json.RawMessage
		if json.Unmarshal(top["params"], &params) == nil && params != nil {
			for name, p := range map[string]span{"name": e.name, "uri": e.uri, "arguments": e.args, "_meta": e.meta, "requestId": e.request} {
				same(name, p, params)
			}
			if json.Unmarshal(params["_meta"], &meta) == nil && meta != nil {
				same("progressToken", e.progress, meta)
				same(metaVersion, e.mVersion.value, meta)
				same(metaCaps, e.mCaps.value, meta)
			}
		}
		if e.method.ok() {
			var want string
			_ = json.Unmarshal(top["method"], &want)
			if got := string(text(e.method.of(b))); got != want {
				t.Fatalf("method %q, want %q", got, want)
			}
		}
	})
}

// FuzzBack: the line a back writes is one line, valid, and says the same.
func FuzzBack(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"b":[1]},"_meta":{"progressToken":1,"x":2}}}`), uint8(0))
	f.Add([]byte("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\",\n\"params\":{}}"), uint8(1))
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"inputResponses":{},"_meta":{"`+metaLevel+`":"info","`+metaCaps+`":{}},"requestState":"s"}}`), uint8(2))
	f.Add([]byte(`{"jsonrpc":"2.0","id":0,"method":"tools/call","params":{"_meta":{"`+metaLevel+`":"","`+metaCaps+`":{}}}}`), uint8(3))
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"ping"}`), uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, mode uint8) {
		var e envelope
		if e.scan(b) != nil || e.kind != kindRequest {
			return
		}
		s := &Server{}
		c := &Conn{s: s}
		c.modern.Store(mode&1 != 0)
		call := &Call{method: methodOf(text(e.method.of(b))), body: b, env: &e, Modern: mode&2 != 0}
		if call.method.name == "" || (call.Modern && !e.mCaps.value.isObj(b)) {
			return // the front lets no such call through
		}
		if call.Modern {
			call.Client.Caps = e.mCaps.value.of(b)
		}
		line := c.appendLine(nil, call, 77)
		if bytes.Count(line, []byte("\n")) != 1 || line[len(line)-1] != '\n' {
			t.Fatalf("not one line: %q", line)
		}
		var got envelope
		if err := got.scan(line); err != nil {
			t.Fatalf("%v: %q from %q", err, line, b)
		}
		if string(got.id.of(line)) != "77" || !bytes.Equal(got.method.of(line), []byte(`"`+call.method.name+`"`)) {
			t.Fatalf("id or method: %q", line)
		}
		if a, w := got.args.ok(), e.args.ok(); a != w {
			t.Fatalf("arguments: %q from %q", line, b)
		}
		if call.Modern && !c.modern.Load() && (got.mVersion.ok() || got.mCaps.ok() || got.mLevel.ok()) {
			t.Fatalf("a legacy server was told of the modern generation: %q", line)
		}
		if c.modern.Load() && !call.Modern && !got.mCaps.ok() {
			t.Fatalf("no _meta: %q", line)
		}
	})
}

// FuzzHeader: what decodes is text, and what is encoded decodes.
func FuzzHeader(f *testing.F) {
	for _, s := range []string{"tool", " tool ", "=?base64?ZWNobw==?=", "=?base64?ZWNobw?=", "=?base64??=", "=?base64?", "é", "=?base64?Zh==?="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, v string) {
		if got, ok := decodeHeader(v); ok && !utf8.ValidString(got) {
			t.Fatalf("%q decoded to invalid text", v)
		}
		if utf8.ValidString(v) {
			if got, ok := decodeHeader("=?base64?" + base64.StdEncoding.EncodeToString([]byte(v)) + "?="); !ok || got != v {
				t.Fatalf("%q came back as %q, %v", v, got, ok)
			}
		}
	})
}

// FuzzSession: nothing but a sealed id opens, and nobody else's.
func FuzzSession(f *testing.F) {
	s := testServer(f, DefaultConfig(), nil, nil)
	id := s.sealSession(&session{id: newSID(), version: latestLegacy, who: "alice", info: []byte(`{}`), caps: []byte(`{}`)})
	f.Add("", "")
	f.Add("AAAA", "alice")
	f.Add(id[:len(id)-4]+"AAAA", "alice")
	f.Fuzz(func(t *testing.T, raw, who string) {
		var v session
		if s.openSession(raw, who, &v) == nil {
			t.Fatalf("%q opened", raw)
		}
		_ = v.parse([]byte(raw))
		mine := s.sealSession(&session{id: newSID(), version: latestLegacy, who: "bob", info: []byte(raw)})
		if who != "bob" && s.openSession(mine, who, &v) == nil {
			t.Fatal("another's session opened")
		}
	})
}

// FuzzText: strings decode and encode as encoding/json has them.
func FuzzText(f *testing.F) {
	f.Add("a\"\\\n\x00\u2028\U0001f600", `"\ud83d\ude00\u00e9\/\b"`)
	f.Add("", `"\ud800\u0041"`)
	f.Fuzz(func(t *testing.T, s, raw string) {
		var back string
		if err := json.Unmarshal(quote(nil, s), &back); err != nil || back != strings.ToValidUTF8(s, "\ufffd") && utf8.ValidString(s) {
			t.Fatalf("%q: %q, %v", s, back, err)
		}
		var want string
		if len(raw) > 0 && raw[0] == '"' && utf8.ValidString(raw) && json.Unmarshal([]byte(raw), &want) == nil {
			if got := string(text([]byte(strings.TrimRight(raw, " \t\r\n")))); got != want {
				t.Fatalf("%s: %q, want %q", raw, got, want)
			}
		}
	})
}

// dribble gives a text in reads of at most n bytes.
type dribble struct {
	rest []byte
	n    int
}

func (d *dribble) Read(p []byte) (int, error) {
	if len(d.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, d.rest[:min(d.n, len(d.rest))])
	d.rest = d.rest[n:]
	return n, nil
}

// FuzzLines: however a worker's output arrives, its lines come out as they
// are, those above the limit as their two ends. A '~' stands for a long run.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\n\nb\r\n~\n~~~c\nrest"), uint16(1))
	f.Add([]byte("~~~~~~~~~~~~~~\n~~~~~~~~~~~~~~~\nx\n"), uint16(4096))
	f.Add([]byte("{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":\"~~~~\"}\n{\"jsonrpc\":\"2.0\",\"result\":\"~~~~\",\"id\":7}\n"), uint16(65535))
	f.Fuzz(func(t *testing.T, b []byte, chunk uint16) {
		const limit = 1 << 10
		b = bytes.ReplaceAll(b, []byte("~"), bytes.Repeat([]byte("0123456789"), 30))
		in := lines{r: &dribble{b, int(chunk) + 1}, pool: &buffers{}, limit: limit}
		all := bytes.Split(b, []byte("\n"))
		for _, want := range all[:len(all)-1] {
			got, cut, err := in.next()
			if err == errLine && len(want) > limit*maxSkipped {
				return
			}
			if err != nil || cut != (len(want) > limit) {
				t.Fatalf("%v, cut %v, of %d bytes", err, cut, len(want))
			}
			if cut {
				want = append(bytes.Clone(want[:keptEnd]), want[len(want)-keptEnd:]...)
				answerOf(got.b[:keptEnd], got.b[keptEnd:])
			}
			if !bytes.Equal(got.b, want) {
				t.Fatalf("%q, want %q", got.b, want)
			}
			in.pool.put(got)
		}
		if got, _, err := in.next(); err != io.EOF && err != errLine {
			t.Fatalf("%v, %v after the end", got, err)
		}
	})
}

// FuzzAnswerOf: the ends of a line say what the whole would: no answer goes to
// a call that the message does not name.
func FuzzAnswerOf(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":7,"result":"~"}`, `{"result":{"a":"~"},"jsonrpc":"2.0","id":7}`, `{"error":{"message":"~"},"id":7}`,
		`{"id":7,"method":"a","params":["~"]}`, `{"params":{"x":"~"},"id":7,"method":"a"}`, `{"result":{"s":"~,\"id\":7}"}}`,
		`{"result":{"s":"~","id":7}}`, `["~",{"id":7}]`, `{ "~":1,"id":7}`, `{"result":"~","id":"7"}`, `{"\u0069d":7,"result":"~"} `,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		b := []byte(strings.ReplaceAll(in, "~", strings.Repeat("0123456789", 100)))
		var e envelope
		if len(b) < 2*keptEnd || e.scan(b) != nil {
			return
		}
		id, answer := answerOf(b[:keptEnd], b[len(b)-keptEnd:])
		if own, _ := ownID(b, e.id); answer && e.kind != kindRequest && id != 0 && id != own {
			t.Fatalf("%q is taken for the answer to %d", b, id)
		}
		if !answer && (e.kind == kindResult || e.kind == kindError) {
			t.Fatalf("%q is not taken for an answer", b)
		}
	})
}

// FuzzEvent: an event carries its message through an event stream, and its id
// comes back as what it was. What a client makes up is refused or harmless.
func FuzzEvent(f *testing.F) {
	f.Add(`{"jsonrpc":"2.0","id":1,"result":{"a":"data: x\u000d"}}`, uint64(3), "c0123456789abcdef-3")
	f.Add("{\"jsonrpc\":\"2.0\",\r\n\"method\":\"a\"}", uint64(1)<<63, "s0123456789abcdef-18446744073709551616")
	f.Add(`{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"\u2028"}}`, uint64(0), "-")
	f.Fuzz(func(t *testing.T, message string, seq uint64, made string) {
		if name, _, ok := parseEvent(made); ok && (len(name) != 17 || !strings.HasPrefix(made, name+"-")) {
			t.Fatalf("%q names the stream %q", made, name)
		}
		b := []byte(message)
		var e envelope
		if e.scan(b) != nil {
			return
		}
		if e.broken {
			flatten(b)
		}
		k := &track{name: "c0123456789abcdef", next: seq}
		var p pieces
		p.add(b)
		event := string(k.word(&p))
		var data, id []string
		for _, line := range strings.FieldsFunc(event, func(r rune) bool { return r == '\n' || r == '\r' }) {
			field, value, _ := strings.Cut(line, ": ")
			switch field {
			case "data":
				data = append(data, value)
			case "id":
				id = append(id, value)
			case "event":
			default:
				t.Fatalf("a line of its own: %q", line)
			}
		}
		if len(data) != 1 || data[0] != string(b) || len(id) != 1 || strings.Count(event, "\n\n") != 1 || !strings.HasSuffix(event, "\n\n") {
			t.Fatalf("%q became %q", message, event)
		}
		if name, n, ok := parseEvent(id[0]); !ok || name != k.name || n != seq {
			t.Fatalf("%q came back as %q, %d", id[0], name, n)
		}
	})
}

// FuzzParam: a header that passes says what the argument says.
func FuzzParam(f *testing.F) {
	for _, s := range [][2]string{{"eu", `"eu"`}, {"42.0", `42`}, {"0x2ap0", `42`}, {"0x_2ap0", `42`}, {"+42", `42`}, {"true", `true`}, {"=?base64?w6k=?=", `"\u00e9"`}, {"9007199254740993", `9007199254740992`}, {"null", `null`}, {"1e400", `1e400`}, {"inf", `1e999`}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, header, raw string) {
		raw = strings.TrimRight(raw, " \t\r\n")
		args := []byte(`{"o":{"r":` + raw + `}}`)
		var want struct{ O struct{ R any } }
		if s := (scanner{b: []byte(raw)}); !s.value() || !s.end() || json.Unmarshal(args, &want) != nil && !json.Valid(args) {
			return
		}
		h := http.Header{"Mcp-Param-R": {header}}
		for _, kind := range []string{"string", "integer", "boolean"} {
			p := param{header: "Mcp-Param-R", path: []string{"o", "r"}, kind: kind}
			f := p.check(h, args, span{0, len(args)})
			if none := p.check(nil, args, span{0, len(args)}); (none == nil) != (want.O.R == nil && raw[0] == 'n') {
				t.Fatalf("%s without a header: %v", raw, none)
			}
			if f != nil {
				continue
			}
			got, _ := decodeHeader(header)
			switch v := want.O.R.(type) {
			case string:
				if got != v {
					t.Fatalf("%q passes for %q", header, v)
				}
			case bool:
				if got != strconv.FormatBool(v) {
					t.Fatalf("%q passes for %v", header, v)
				}
			case float64:
				var n float64
				if json.Unmarshal([]byte(got), &n) != nil || n != v {
					t.Fatalf("%q passes for %v", header, v)
				}
			default:
				if got != raw {
					t.Fatalf("%q passes for %s", header, raw)
				}
			}
		}
	})
}
