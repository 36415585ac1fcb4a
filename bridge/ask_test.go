package bridge

import "testing"

// TestAsksOf: what a client can be asked, as its revision knows it, and as a worker is told again.
func TestAsksOf(t *testing.T) {
	for _, tc := range [][3]string{ // revision, capabilities, what the worker is told
		{"2025-11-25", `{}`, `{}`},
		{"2025-11-25", `{"sampling":{}}`, `{"sampling":{}}`},
		{"2025-11-25", `{"sampling":{"tools":{}}}`, `{"sampling":{"tools":{}}}`},
		{"2025-11-25", `{"sampling":{"context":{}}}`, `{"sampling":{"context":{}}}`},
		{"2026-07-28", `{"sampling":{"tools":{},"context":{}},"elicitation":{"url":{}},"roots":{}}`,
			`{"elicitation":{"url":{}},"sampling":{"context":{},"tools":{}},"roots":{"listChanged":true}}`},
		{"2025-06-18", `{"sampling":{"tools":{},"context":{}},"elicitation":{}}`, `{"elicitation":{"form":{}},"sampling":{}}`},
		{"2025-03-26", `{"sampling":{},"elicitation":{}}`, `{"sampling":{}}`},
	} {
		if got := asksOf([]byte(tc[1]), tc[0]).capabilities(); got != tc[2] {
			t.Errorf("%s %s: %s, want %s", tc[0], tc[1], got, tc[2])
		}
	}
	if got := askSampleTools.required(); got != `{"sampling":{"tools":{}}}` {
		t.Errorf("a client with sampling alone is told that %s is missing", got)
	}
	for params, want := range map[string]asks{`{"messages":[]}`: askSample, `{"tools":[]}`: askSample | askSampleTools} {
		b := []byte(params)
		if got := askOf([]byte("sampling/createMessage"), b, &envelope{params: span{0, len(b)}}); got != want {
			t.Errorf("%s: %b, want %b", params, got, want)
		}
	}
}
