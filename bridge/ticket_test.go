package bridge

import (
	"bytes"
	"testing"
	"time"
)

func callOf(t testing.TB, body, who string) *Call {
	e := &envelope{}
	if err := e.scan([]byte(body)); err != nil {
		t.Fatal(err)
	}
	return &Call{method: methodOf(text(e.method.of([]byte(body)))), body: []byte(body), env: e, Principal: who}
}

// TestDigest: what may differ between a call and its repetition does not count,
// all else does.
func TestDigest(t *testing.T) {
	params := func(p string) [32]byte {
		return digestOf(callOf(t, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":`+p+`}`, ""))
	}
	want := params(`{"name":"a","arguments":{"x":1.0,"y":[{"b":1,"a":2}]}}`)
	for _, same := range []string{
		`{ "arguments" : {"y":[{"a":2,"b":1}],"x":1.0}, "name":"\u0061"}`,
		`{"name":"a","requestState":"s","inputResponses":{"q1":{}},"arguments":{"x":1.0,"y":[{"b":1,"a":2}]},"_meta":{"k":1}}`,
	} {
		if params(same) != want {
			t.Errorf("%s is another call", same)
		}
	}
	for _, other := range []string{
		`{"name":"b","arguments":{"x":1.0,"y":[{"b":1,"a":2}]}}`,
		`{"name":"a","arguments":{"x":1.00,"y":[{"b":1,"a":2}]}}`,
		`{"name":"a","arguments":{"x":"1.0","y":[{"b":1,"a":2}]}}`,
		`{"name":"a","arguments":{"x":1.0,"y":[{"b":1,"a":2,"_meta":{}}]}}`,
		`{"name":"a","arguments":{"x":9007199254740993}}`,
		`{}`,
	} {
		if params(other) == want {
			t.Errorf("%s is the same call", other)
		}
	}
	if params(`{"x":9007199254740993}`) == params(`{"x":9007199254740992}`) {
		t.Error("numbers were rounded")
	}
}

func FuzzTicket(f *testing.F) {
	s := testServer(f, DefaultConfig(), nil, nil)
	call := callOf(f, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}`, "bob")
	good := s.sealTicket(&ticket{kind: ticketParked, who: "bob", digest: digestOf(call), until: time.Now().Add(time.Hour), inside: []byte("x")})
	f.Add([]byte(""), "")
	f.Add([]byte("AAAA"), "alice")
	f.Add([]byte(good[:len(good)-4]+"AAAA"), "bob")
	f.Fuzz(func(t *testing.T, raw []byte, who string) {
		if _, err := s.openTicket(raw); err == nil && string(raw) != good {
			t.Fatalf("%q opened", raw)
		}
		if len(who) > 1<<10 {
			return
		}
		mine := s.sealTicket(&ticket{kind: ticketWorker, who: who, digest: digestOf(call), until: time.Now().Add(time.Hour), inside: raw})
		got, err := s.openTicket([]byte(mine))
		if err != nil || got.who != who || !bytes.Equal(got.inside, raw) {
			t.Fatalf("sealed for %q and opened as %+v, %v", who, got, err)
		}
		if ok := got.check(call, ticketWorker) == nil; ok != (who == "bob") {
			t.Fatalf("a state of %q is good for bob: %v", who, ok)
		}
		if got.check(call, ticketParked) == nil {
			t.Fatal("a state of one kind is good for another")
		}
	})
}
