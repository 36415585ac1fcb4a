package idp

import (
	"net/url"
	"strings"
	"testing"
)

// Whatever a query says, what is parsed of it is complete and good, or refused.
func FuzzParseRequest(f *testing.F) {
	good := "client_id=c&redirect_uri=https%3A%2F%2Fa.example&response_type=code&code_challenge=" + strings.Repeat("x", 43) + "&code_challenge_method=S256&resource=https%3A%2F%2Falpha.example%2Fmcp"
	for _, seed := range []string{good, good + "&scope=mcp+x&prompt=none", good + "&max_age=99999999999999999999", good + "&resource=x", good + "&prompt=login+consent&state=%00", "client_id=&redirect_uri=", "%zz", "a=1;b=2"} {
		f.Add(seed)
	}
	i := &Issuer{resource: func(r string) (string, string, bool) { return r, "alpha", r == "https://alpha.example/mcp" }}
	f.Fuzz(func(t *testing.T, query string) {
		form, err := url.ParseQuery(query)
		if err != nil || form.Has("id_token_hint") {
			return
		}
		client, redirect, err := parseTarget(form)
		if err == nil && (client == "" || redirect == "" || len(form["client_id"]) != 1 || len(form["redirect_uri"]) != 1) {
			t.Fatalf("%q has a target", query)
		}
		req, err := i.parseRequest(t.Context(), form)
		if err != nil {
			if _, ok := err.(*redirected); !ok {
				t.Fatalf("%q: %v", query, err)
			}
			return
		}
		if !challengeForm.MatchString(req.Challenge) || form.Get("code_challenge_method") != "S256" || form.Get("response_type") != "code" ||
			req.Resource != "https://alpha.example/mcp" || req.Server != "alpha" || len(req.Scopes) == 0 || req.MaxAge < -1 {
			t.Fatalf("%q: %+v", query, req)
		}
		for _, s := range req.Scopes {
			if !hasScope(supportedScopes, s) {
				t.Fatalf("%q: scope %q", query, s)
			}
		}
	})
}
