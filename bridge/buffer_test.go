package bridge

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
)

// TestBuffersAreBounded: what a large message needed is not kept for the small ones after it.
func TestBuffersAreBounded(t *testing.T) {
	var p buffers
	for range 20 {
		small := p.get()
		if cap(small.b) > keptBuffer || len(small.b) != 0 {
			t.Fatalf("a buffer of %d bytes, %d of them used", cap(small.b), len(small.b))
		}
		large := p.get()
		large.b = append(large.b, make([]byte, keptBuffer+1)...)
		p.put(large)
		small.b = append(small.b, "x"...)
		p.put(small)
	}
}

// discard is a response that nobody reads.
type discard struct {
	http.ResponseWriter
	n int
}

func (d *discard) Write(b []byte) (int, error) { d.n += len(b); return len(b), nil }

// TestLargeAnswerIsNotCopied: a large answer is written from the buffer that it was read into, for clients of either
// generation; the edits are pieces of their own.
func TestLargeAnswerIsNotCopied(t *testing.T) {
	s := testServer(t, DefaultConfig(), nil, nil)
	line := append([]byte(`{"jsonrpc":"2.0","id":7,"result":{"resultType":"complete","content":"`), bytes.Repeat([]byte("x"), 8<<20)...)
	line = append(line, `"}}`...)
	for _, modern := range []bool{true, false} {
		x := s.exchange(&discard{ResponseWriter: httptest.NewRecorder()}, httptest.NewRequest("POST", "/mcp", nil))
		x.id, x.json, x.call.method = []byte(`"a"`), true, methodOf([]byte("tools/call"))
		r := Reply{conn: &Conn{s: s, ident: &identity{info: []byte(`{}`)}}, frame: &frame{line: &buffer{b: line}}}
		if err := r.frame.env.scan(line); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if modern {
			x.modernResult(&r)
		} else {
			x.legacyResult(&r)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("modern %v: %d bytes were allocated for an answer of %d", modern, n, len(line))
		}
		if n := x.w.(*discard).n; n < 8<<20 {
			t.Errorf("modern %v: %d bytes were written", modern, n)
		}
		x.free()
	}
}
