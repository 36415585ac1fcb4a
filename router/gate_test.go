package router

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/zap"
)

const (
	hintA = `resource_metadata="https://a.mcp.example/.well-known/oauth-protected-resource/mcp", scope="mcp"`
	urlA  = "https://a.mcp.example/mcp"
)

func TestGate(t *testing.T) {
	t.Parallel()
	bad := `Bearer error="invalid_token", error_description="the token is unknown, expired or revoked, or it was made for another server", ` + hintA
	tests := []struct {
		name      string
		url       string
		headers   []string
		status    int
		challenge string
	}{
		{"no token: no error attribute", urlA, nil, 401, "Bearer " + hintA},
		{"a token in the query is no token", urlA + "?access_token=good-a", nil, 401, "Bearer " + hintA},
		{"good token", urlA, []string{"Authorization: Bearer good-a"}, 200, ""},
		{"the scheme in any case", urlA, []string{"Authorization: bEARER   good-a "}, 200, ""},
		{"unknown token", urlA, []string{"Authorization: Bearer nope"}, 401, bad},
		{"a token of another server", "https://b.mcp.example/mcp", []string{"Authorization: Bearer good-a"}, 401, strings.ReplaceAll(bad, "//a.", "//b.")},
		{"a cookie is no token", urlA, []string{"Cookie: access_token=good-a"}, 401, "Bearer " + hintA},
		{"basic is no bearer token", urlA, []string{"Authorization: Basic Z29vZC1h"}, 401, "Bearer " + hintA},
		{"empty token", urlA, []string{"Authorization: Bearer "}, 401, bad},
		{"empty header", urlA, []string{"Authorization: "}, 401, "Bearer " + hintA},
		{"two tokens in one header", urlA, []string{"Authorization: Bearer good-a, Bearer good-a"}, 401, bad},
		{"two headers", urlA, []string{"Authorization: Bearer nope", "Authorization: Bearer good-a"}, 400,
			`Bearer error="invalid_request", error_description="send one Authorization header", ` + hintA},
		{"Verify finds too little scope", urlA, []string{"Authorization: Bearer narrow"}, 403,
			`Bearer error="insufficient_scope", error_description="the token does not cover the scope that this server needs", ` + hintA},
		{"the gate finds too little scope", urlA, []string{"Authorization: Bearer other-scope"}, 403,
			`Bearer error="insufficient_scope", error_description="the token does not cover the scope that this server needs", ` + hintA},
		{"Verify fails: not the client's fault", urlA, []string{"Authorization: Bearer broken-store"}, 503, ""},
		{"a version of yesterday is not looked at before the token", urlA, []string{"MCP-Protocol-Version: 2024-11-05", "Accept: text/html"}, 401, "Bearer " + hintA},
	}
	for _, tt := range tests {
		for _, method := range []string{"POST", "GET", "HEAD", "DELETE", "PUT"} {
			t.Run(tt.name+"/"+method, func(t *testing.T) {
				t.Parallel()
				h := newHouse(t, "mcp.example")
				res := h.ask(method, tt.url, tt.headers...)
				if res.StatusCode != tt.status || res.Header.Get("WWW-Authenticate") != tt.challenge {
					t.Errorf("answer %d %q\nwant   %d %q", res.StatusCode, res.Header.Get("WWW-Authenticate"), tt.status, tt.challenge)
				}
				body := text(t, res)
				if strings.Contains(body, "secret") || strings.Contains(body, "bytes long") {
					t.Errorf("the cause reached the client: %q", body)
				}
				calls := h.take()
				if (tt.status == 200) != (len(calls) == 1) {
					t.Fatalf("the handler saw %v", calls)
				}
				if len(calls) == 1 && (calls[0].Auth != "" || !calls[0].Known || calls[0].Who.ID != "usr_1") {
					t.Errorf("the handler saw %+v", calls[0])
				}
				for _, line := range h.logs.All() {
					if strings.Contains(line.Message, "good-a") || strings.Contains(zapText(line.ContextMap()), "good-a") {
						t.Errorf("a token is in the log: %v", line)
					}
				}
			})
		}
	}
}

func zapText(m map[string]any) string {
	var b strings.Builder
	for k, v := range m {
		b.WriteString(k)
		if s, ok := v.(string); ok {
			b.WriteString(s)
		}
	}
	return b.String()
}

func TestGateWithoutVerifyRefuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "mcp.example", func(o *Options) { o.Verify = nil })
	if res := h.ask("POST", urlA, "Authorization: Bearer good-a"); res.StatusCode != 503 {
		t.Errorf("status %d", res.StatusCode)
	}
}

func TestChallengeInPrefixForm(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "localhost")
	want := `Bearer resource_metadata="http://localhost:8080/.well-known/oauth-protected-resource/a/mcp", scope="mcp"`
	if got := h.ask("HEAD", "http://localhost:8080/a/mcp").Header.Get("WWW-Authenticate"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	const auth = "Authorization: Bearer good-a"
	tests := []struct {
		origin string
		ok     bool
		strict bool // ok where sign-in is off
	}{
		{"https://a.mcp.example", true, false},
		{"https://b.mcp.example", true, false},
		{"https://auth.mcp.example", true, false},
		{"http://a.mcp.example", false, false},
		{"https://a.mcp.example:8443", false, false},
		{"https://mcp.example", false, false},
		{"http://localhost:6274", true, true},
		{"https://localhost", true, true},
		{"http://127.0.0.1:3000", true, true},
		{"http://127.1.2.3", true, true},
		{"http://[::1]:3000", true, true},
		{"http://localhost.evil.example", false, false},
		{"http://localhost@evil.example", false, false},
		{"http://localhost:1:2", false, false},
		{"http://localhost/", false, false},
		{"http://127.0.0.1.evil.example", false, false},
		{"http://0.0.0.0", false, false},
		{"https://app.trusted.example", true, false},
		{"https://APP.trusted.example", true, false},
		{"https://app.trusted.example.evil.example", false, false},
		{"https://trusted.example", false, false},
		{"http://app.trusted.example", false, false},
		{"null", false, false},
		{"", false, false},
		{"file://", false, false},
		{"https://evil.example", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.origin, func(t *testing.T) {
			t.Parallel()
			res := newHouse(t, "mcp.example").ask("POST", urlA, auth, "Origin: "+tt.origin)
			check(t, res, tt.ok, tt.origin)
			// No token either: the page must still be able to read the challenge.
			res = newHouse(t, "mcp.example").ask("POST", urlA, "Origin: "+tt.origin)
			if tt.ok && (res.StatusCode != 401 || res.Header.Get("Access-Control-Allow-Origin") != tt.origin ||
				!strings.Contains(res.Header.Get("Access-Control-Expose-Headers"), "WWW-Authenticate")) {
				t.Errorf("401 cannot be read: %d %v", res.StatusCode, res.Header)
			}
			anonymous := newHouse(t, "localhost", func(o *Options) { o.Anonymous = true })
			check(t, anonymous.ask("POST", "http://localhost:8080/a/mcp", "Origin: "+tt.origin), tt.strict, tt.origin)
		})
	}
	if res := newHouse(t, "mcp.example").ask("POST", urlA, auth, "Origin: https://a.mcp.example", "Origin: https://evil.example"); res.StatusCode != 403 {
		t.Errorf("two origins: %d", res.StatusCode)
	}
}

func check(t *testing.T, res *http.Response, ok bool, origin string) {
	t.Helper()
	if ok && (res.StatusCode != 200 || res.Header.Get("Access-Control-Allow-Origin") != origin) {
		t.Errorf("refused with %d", res.StatusCode)
	}
	if !ok && (res.StatusCode != 403 || res.Header.Get("Access-Control-Allow-Origin") != "" || res.Header.Get("WWW-Authenticate") != "") {
		t.Errorf("answered with %d %v", res.StatusCode, res.Header)
	}
}

func TestPreflight(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "mcp.example")
	res := h.ask("OPTIONS", urlA, "Origin: http://localhost:6274", "Access-Control-Request-Method: POST",
		"Access-Control-Request-Headers: authorization,mcp-param-City,x-evil,Mcp-Param-Bad;Name,mcp-param-")
	if res.StatusCode != 204 || res.Header.Get("Access-Control-Allow-Origin") != "http://localhost:6274" {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	if got, want := res.Header.Get("Access-Control-Allow-Headers"), corsHeaders+", mcp-param-City"; got != want {
		t.Errorf("allowed headers %q, want %q", got, want)
	}
	if res.Header.Get("Access-Control-Allow-Methods") != corsMethods || res.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("%v", res.Header)
	}
	if len(h.take()) != 0 {
		t.Error("a preflight reached the handler")
	}
	if res := h.ask("OPTIONS", urlA, "Origin: https://evil.example", "Access-Control-Request-Method: POST"); res.StatusCode != 403 {
		t.Errorf("a foreign preflight: %d", res.StatusCode)
	}
	if res := h.ask("OPTIONS", urlA); res.StatusCode != 204 || !strings.Contains(res.Header.Get("Allow"), "POST") {
		t.Errorf("OPTIONS without a page: %d", res.StatusCode)
	}
}

func TestAnonymous(t *testing.T) {
	t.Parallel()
	off := func(o *Options) { o.Anonymous, o.Verify, o.Issuer = true, nil, "" }
	h := newHouse(t, "localhost", off)
	if res := h.ask("POST", "http://localhost:8080/a/mcp", "Authorization: Bearer whatever"); res.StatusCode != 200 {
		t.Errorf("status %d", res.StatusCode)
	}
	if calls := h.take(); len(calls) != 1 || calls[0].Known || calls[0].Auth != "" {
		t.Errorf("the handler saw %+v", calls)
	}
	// The conformance suite's dns-rebinding-protection.
	if res := h.ask("POST", "http://localhost:8080/a/mcp", "Host: evil.example.com", "Origin: http://evil.example.com"); res.StatusCode/100 != 4 {
		t.Errorf("status %d", res.StatusCode)
	}
	// Should a real host ever be configured together with no sign-in, it is not served.
	if res := newHouse(t, "mcp.example", off).ask("POST", urlA); res.StatusCode != 403 {
		t.Errorf("status %d", res.StatusCode)
	}
}

func TestParseBearer(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in, token string
		err       error
	}{
		{"Bearer abc", "abc", nil},
		{"bearer abc", "abc", nil},
		{"BEARER  abc==", "abc==", nil},
		{"Bearer mcpd_at_A-b.c~d+e/f", "mcpd_at_A-b.c~d+e/f", nil},
		{"Bearer", "", errBrokenToken},
		{"Bearer a b", "", errBrokenToken},
		{"Bearer\tabc", "", errNoToken},
		{"Bearer abc=d", "", errBrokenToken},
		{"Bearer ===", "", errBrokenToken},
		{"Bearer ä", "", errBrokenToken},
		{"Bearer a,b", "", errBrokenToken},
		{"Bearer " + strings.Repeat("a", maxTokenLen+1), "", errBrokenToken},
		{"Bearerabc", "", errNoToken},
		{"DPoP abc", "", errNoToken},
		{"", "", errNoToken},
	}
	for _, tt := range tests {
		token, err := parseBearer(tt.in)
		if token != tt.token || !errors.Is(err, tt.err) {
			t.Errorf("parseBearer(%.40q) = %q, %v", tt.in, token, err)
		}
	}
}

func FuzzParseBearer(f *testing.F) {
	for _, s := range []string{"Bearer abc", "bearer  a==", "Basic x", "Bearer", " Bearer a ", "Bearer a,b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		token, err := parseBearer(s)
		if (err == nil) != (token != "") {
			t.Fatalf("%q: %q, %v", s, token, err)
		}
		if strings.ContainsAny(token, " \t\r\n\",;\\\x00") || !strings.Contains(s, token) {
			t.Fatalf("%q: token %q", s, token)
		}
	})
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	e := &Error{Status: 503, Message: "later", Cause: errors.New("disk")}
	if e.Error() != "later: disk" || !errors.Is(e, e.Cause) || refuse(404, "no").Error() != "no" {
		t.Error(e.Error())
	}
	// An error of another kind never shows its text.
	h := newHouse(t, "mcp.example")
	x := &exchange{ResponseWriter: recorder{}, router: h.Router, rec: AccessRecord{RequestID: "r-1"}}
	req, _ := http.NewRequest("GET", "http://x/", nil)
	h.writeError(x, req, errors.New("hidden"))
	if x.rec.Status != 500 || h.logs.FilterField(zap.Error(errors.New("hidden"))).Len() == 0 && h.logs.Len() != 1 {
		t.Errorf("status %d, %d lines", x.rec.Status, h.logs.Len())
	}
}

type recorder struct{}

func (recorder) Header() http.Header         { return http.Header{} }
func (recorder) Write(p []byte) (int, error) { return len(p), nil }
func (recorder) WriteHeader(int)             {}
