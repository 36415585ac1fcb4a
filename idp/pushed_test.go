package idp_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcpd/mcpd/idp"
)

func (a *app) push(changes url.Values) (int, map[string]any) {
	a.Helper()
	u, err := url.Parse(a.ask(changes))
	if err != nil {
		a.Fatal(err)
	}
	status, header, b := a.postForm("/par", u.Query(), nil)
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil || header.Get("Cache-Control") != "no-store" {
		a.Fatalf("%d %v %s", status, header, b)
	}
	return status, out
}

// A request that the client pushes and the browser only refers to (RFC 9126).
func TestPushed(t *testing.T) {
	h := newHouse(t)
	a, other := h.registered(loopback), h.registered(loopback)
	p := h.signedIn("alice")
	status, out := a.push(url.Values{"scope": {"mcp profile"}})
	uri, _ := out["request_uri"].(string)
	if status != 201 || !strings.HasPrefix(uri, "urn:ietf:params:oauth:request_uri:") || out["expires_in"] != 90.0 {
		t.Fatalf("%d %v", status, out)
	}
	if strings.Contains(uri, "alpha") {
		t.Error("the request can be read")
	}
	at := func(id, uri string, more url.Values) string {
		q := url.Values{"client_id": {id}, "request_uri": {uri}}
		for k, v := range more {
			q[k] = v
		}
		return h.url + "/authorize?" + q.Encode()
	}
	// What the browser says beside it does not count.
	g := p.browse(at(a.id, uri, url.Values{"redirect_uri": {"https://evil.example/"}, "resource": {h.resource("beta")}, "state": {"evil"}, "scope": {"openid"}})).wants(200).says("alpha")
	q := g.press("allow", nil).answer()
	if q.Get("state") != "st&te <1>" || q.Get("iss") != h.url {
		t.Fatalf("%v", q)
	}
	got := a.redeem(q.Get("code"), nil).wants(h, 200, "")
	h.good(got.Access, "alpha")
	if got.Scope != "mcp profile" {
		t.Errorf("scope %q", got.Scope)
	}

	for name, to := range map[string]string{
		"another client": at(other.id, uri, nil),
		"no client":      h.url + "/authorize?" + url.Values{"request_uri": {uri}}.Encode(),
		"altered":        at(a.id, uri[:len(uri)-6]+"AAAAAA", nil),
		"made up":        at(a.id, "urn:ietf:params:oauth:request_uri:x", nil),
	} {
		if g := p.get(to).wants(400); g.header.Get("Location") != "" {
			t.Errorf("%s: redirected", name)
		}
	}
	h.later(2 * time.Minute)
	p.get(at(a.id, uri, nil)).wants(400).says("too old")

	for name, c := range map[string]struct {
		change url.Values
		code   string
	}{
		"other redirect":   {url.Values{"redirect_uri": {"https://evil.example/"}}, "invalid_request"},
		"no redirect":      {url.Values{"redirect_uri": nil}, "invalid_request"},
		"no PKCE":          {url.Values{"code_challenge": nil}, "invalid_request"},
		"plain":            {url.Values{"code_challenge_method": {"plain"}}, "invalid_request"},
		"foreign resource": {url.Values{"resource": {"https://evil.example/mcp"}}, "invalid_target"},
		"implicit":         {url.Values{"response_type": {"token"}}, "unsupported_response_type"},
		"nested":           {url.Values{"request_uri": {uri}}, "request_uri_not_supported"},
		"request object":   {url.Values{"request": {"eyJ"}}, "request_not_supported"},
	} {
		t.Run(name, func(t *testing.T) {
			if status, out := a.push(c.change); status != 400 || out["error"] != c.code || out["request_uri"] != nil {
				t.Errorf("%d %v", status, out)
			}
		})
	}
	if status, out := a.push(url.Values{"state": {strings.Repeat("x", 5000)}}); status != 413 {
		t.Errorf("%d %v", status, out)
	}
	if status, out := a.push(url.Values{"client_id": {"cli_nobody"}}); status != 401 || out["error"] != "invalid_client" {
		t.Errorf("%d %v", status, out)
	}
}

// A client with a secret proves itself before its request is taken, and the secret goes nowhere.
func TestPushedConfidential(t *testing.T) {
	h := newHouse(t, func(o *idp.Options) {
		o.Config.Clients = map[string]idp.ClientConfig{"web": {Secret: longSecret, Redirects: []string{"https://web.example/cb"}}}
	})
	a := &app{house: h, id: "web", redirect: "https://web.example/cb", verifier: strings.Repeat("v", 43)}
	if status, out := a.push(nil); status != 401 || out["error"] != "invalid_client" {
		t.Errorf("%d %v", status, out)
	}
	if status, out := a.push(url.Values{"client_secret": {"wrong"}}); status != 401 {
		t.Errorf("%d %v", status, out)
	}
	status, out := a.push(url.Values{"client_secret": {longSecret}})
	if status != 201 {
		t.Fatalf("%d %v", status, out)
	}
	u, err := url.Parse(a.ask(nil))
	if err != nil {
		t.Fatal(err)
	}
	if status, header, b := h.postForm("/par", u.Query(), basic("web", "wrong")); status != 401 || header.Get("WWW-Authenticate") == "" {
		t.Errorf("%d %v %s", status, header, b)
	}
	if status, _, b := h.postForm("/par", u.Query(), basic("web", longSecret)); status != 201 {
		t.Errorf("%d %s", status, b)
	}
	if status, _, b := h.postForm("/par", u.Query(), basic("other", longSecret)); status != 400 {
		t.Errorf("two names: %d %s", status, b)
	}
	q := h.signedIn("alice").browse(h.url+"/authorize?"+url.Values{"client_id": {"web"}, "request_uri": {out["request_uri"].(string)}}.Encode()).press("allow", nil).answer()
	a.redeem(q.Get("code"), url.Values{"client_secret": {longSecret}}).wants(h, 200, "")
}

// A client with a document may come here first.
func TestPushedDocument(t *testing.T) {
	l := newLibrary(t)
	h := newHouse(t, l.reachable)
	a := h.documented(l)
	status, out := a.push(nil)
	if status != 201 {
		t.Fatalf("%d %v", status, out)
	}
	h.signedIn("alice").browse(h.url + "/authorize?" + url.Values{"client_id": {a.id}, "request_uri": {out["request_uri"].(string)}}.Encode()).wants(200).says("Document App")
	if status, out := a.push(url.Values{"client_id": {l.URL + "/other"}}); status != 400 || out["error"] != "invalid_request" {
		t.Errorf("%d %v", status, out)
	}
}
