package bridge

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
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
