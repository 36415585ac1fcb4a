package idp_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcpd/mcpd/idp"
)

func TestRegister(t *testing.T) {
	h := newHouse(t)
	// What Cursor sends; refusing one of the three loses the client.
	cursor := []string{"cursor://anysphere.cursor-mcp/oauth/callback", "https://www.cursor.com/agents/mcp/oauth/callback", "http://localhost:8787/callback"}
	status, out := h.postJSON("/register", map[string]any{
		"client_name": "Cursor", "redirect_uris": cursor, "grant_types": []string{"authorization_code", "refresh_token"},
		"response_types": []string{"code"}, "token_endpoint_auth_method": "none", "application_type": "native", "unknown": 1,
	})
	if status != 201 || out["client_id"] == "" || out["client_secret"] != nil || out["client_name"] != "Cursor" || out["token_endpoint_auth_method"] != "none" ||
		fmt.Sprint(out["redirect_uris"]) != fmt.Sprint(cursor) || out["client_id_issued_at"] == nil || out["application_type"] != "native" {
		t.Fatalf("%d %v", status, out)
	}
	for _, redirect := range append(cursor, "http://localhost:9999/callback") {
		a := &app{house: h, id: out["client_id"].(string), redirect: redirect, verifier: strings.Repeat("v", 43)}
		h.stranger().browse(a.ask(nil)).wants(200).says("Cursor")
	}
	// Neither a name nor a method: a public client.
	status, out = h.postJSON("/register", map[string]any{"redirect_uris": []string{loopback}})
	if status != 201 || out["client_secret"] != nil || out["token_endpoint_auth_method"] != "none" || out["client_name"] == "" {
		t.Fatalf("%d %v", status, out)
	}

	many := make([]string, 11)
	for n := range many {
		many[n] = fmt.Sprintf("https://a.example/%d", n)
	}
	one := []string{loopback}
	for name, c := range map[string]struct {
		in   map[string]any
		code string
	}{
		"no redirect":    {map[string]any{}, "invalid_redirect_uri"},
		"many redirects": {map[string]any{"redirect_uris": many}, "invalid_redirect_uri"},
		"http":           {map[string]any{"redirect_uris": []string{"http://a.example/cb"}}, "invalid_redirect_uri"},
		"private":        {map[string]any{"redirect_uris": []string{"http://192.168.1.1/cb"}}, "invalid_redirect_uri"},
		"wildcard":       {map[string]any{"redirect_uris": []string{"https://*.example/cb"}}, "invalid_redirect_uri"},
		"script":         {map[string]any{"redirect_uris": []string{"javascript:alert(1)"}}, "invalid_redirect_uri"},
		"data":           {map[string]any{"redirect_uris": []string{"data:text/html,x"}}, "invalid_redirect_uri"},
		"unknown scheme": {map[string]any{"redirect_uris": []string{loopback, "evil://x"}}, "invalid_redirect_uri"},
		"fragment":       {map[string]any{"redirect_uris": []string{"https://a.example/#x"}}, "invalid_redirect_uri"},
		"user":           {map[string]any{"redirect_uris": []string{"https://me@a.example/"}}, "invalid_redirect_uri"},
		"relative":       {map[string]any{"redirect_uris": []string{"/cb"}}, "invalid_redirect_uri"},
		"long":           {map[string]any{"redirect_uris": []string{"https://a.example/" + strings.Repeat("x", 3000)}}, "invalid_redirect_uri"},
		"method":         {map[string]any{"redirect_uris": one, "token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"},
		"grant":          {map[string]any{"redirect_uris": one, "grant_types": []string{"client_credentials"}}, "invalid_client_metadata"},
		"response":       {map[string]any{"redirect_uris": one, "response_types": []string{"token"}}, "invalid_client_metadata"},
		"type":           {map[string]any{"redirect_uris": "x"}, "invalid_client_metadata"},
		"big":            {map[string]any{"redirect_uris": one, "x": strings.Repeat("x", 20_000)}, "invalid_client_metadata"},
	} {
		t.Run(name, func(t *testing.T) {
			if status, out := h.postJSON("/register", c.in); status/100 != 4 || out["error"] != c.code || out["client_id"] != nil {
				t.Fatalf("%d %v", status, out)
			}
		})
	}
	resp, err := http.Post(h.url+"/register", "text/plain", strings.NewReader(`{"redirect_uris":["https://a.example/"]}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 415 {
		t.Errorf("text/plain, which a foreign page can send without asking: %d", resp.StatusCode)
	}
}

// A client with a secret proves itself in the header or in the form.
func TestConfidentialClient(t *testing.T) {
	h := newHouse(t)
	p := h.signedIn("alice")
	for _, method := range []string{"client_secret_basic", "client_secret_post"} {
		status, out := h.postJSON("/register", map[string]any{"redirect_uris": []string{"https://a.example/cb"}, "token_endpoint_auth_method": method})
		if status != 201 || out["client_secret_expires_at"] != 0.0 {
			t.Fatalf("%d %v", status, out)
		}
		a := &app{house: h, id: out["client_id"].(string), redirect: "https://a.example/cb", verifier: strings.Repeat("v", 43)}
		secret := out["client_secret"].(string)
		code := a.code(p, nil)
		a.redeem(code, nil).wants(h, 401, "invalid_client")
		a.redeem(code, map[string][]string{"client_secret": {"x"}}).wants(h, 401, "invalid_client")
		got := a.redeem(code, map[string][]string{"client_secret": {secret}}).wants(h, 200, "")
		a.refresh(got.Refresh, nil).wants(h, 401, "invalid_client")

		form := map[string][]string{"grant_type": {"refresh_token"}, "refresh_token": {got.Refresh}}
		status, header, _ := h.postForm("/token", form, basic(a.id, "wrong"))
		if status != 401 || !strings.HasPrefix(header.Get("WWW-Authenticate"), "Basic ") {
			t.Fatalf("wrong secret: %d %v", status, header)
		}
		if status, _, b := h.postForm("/token", form, basic(a.id, secret)); status != 200 {
			t.Fatalf("%d %s", status, b)
		}
		// PKCE is for them too.
		a.redeem(a.code(p, nil), map[string][]string{"client_secret": {secret}, "code_verifier": nil}).wants(h, 400, "invalid_grant")
	}
}

func basic(id, secret string) http.Header {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(id, secret)
	return r.Header
}

// Public clients that send HTTP Basic with an empty password, as golang.org/x/oauth2 does.
func TestBasicWithoutSecret(t *testing.T) {
	h := newHouse(t)
	a := h.registered(loopback)
	form := map[string][]string{
		"grant_type": {"authorization_code"}, "code": {a.code(h.signedIn("alice"), nil)}, "redirect_uri": {a.redirect}, "code_verifier": {a.verifier},
	}
	if status, header, b := h.postForm("/token", form, basic(a.id, "guess")); status != 401 || header.Get("WWW-Authenticate") == "" {
		t.Fatalf("%d %s", status, b)
	}
	if status, _, b := h.postForm("/token", form, basic(a.id, "")); status != 200 {
		t.Fatalf("%d %s", status, b)
	}
}

func TestManageRegistration(t *testing.T) {
	h := newHouse(t)
	_, out := h.postJSON("/register", map[string]any{"redirect_uris": []string{loopback}, "client_name": "App"})
	at, token := out["registration_client_uri"].(string), out["registration_access_token"].(string)
	put := `{"redirect_uris":["` + loopback + `"]}`
	do := func(method, token string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, at, strings.NewReader(put))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		_, _ = b.ReadFrom(resp.Body)
		return resp.StatusCode, b.String()
	}
	if status, _ := do("GET", "wrong"); status != 401 {
		t.Errorf("wrong token: %d", status)
	}
	if status, _ := do("GET", ""); status != 401 {
		t.Errorf("no token: %d", status)
	}
	if status, body := do("GET", token); status != 200 || !strings.Contains(body, `"App"`) || strings.Contains(body, token) {
		t.Errorf("%d %s", status, body)
	}
	a := &app{house: h, id: out["client_id"].(string), redirect: loopback, verifier: strings.Repeat("v", 43)}
	got := a.redeem(a.code(h.signedIn("alice"), nil), nil).wants(h, 200, "")
	h.good(got.Access, "alpha")

	// Replaced as a whole: what it is called and where it returns to. The person is asked again.
	for name, bad := range map[string]string{
		"no id":        put,
		"other id":     `{"client_id":"cli_x","redirect_uris":["` + loopback + `"]}`,
		"wrong secret": `{"client_id":"` + a.id + `","client_secret":"x","redirect_uris":["` + loopback + `"]}`,
		"script":       `{"client_id":"` + a.id + `","redirect_uris":["javascript:alert(1)"]}`,
	} {
		put = bad
		if status, body := do("PUT", token); status != 400 {
			t.Errorf("PUT, %s: %d %s", name, status, body)
		}
	}
	put = `{"client_id":"` + a.id + `","client_name":"App","redirect_uris":["` + loopback + `","https://new.example/cb"]}`
	if status, _ := do("PUT", "wrong"); status != 401 {
		t.Errorf("PUT with a wrong token: %d", status)
	}
	if status, body := do("PUT", token); status != 200 || !strings.Contains(body, "new.example") || strings.Contains(body, "secret") {
		t.Errorf("PUT: %d %s", status, body)
	}
	again := h.stranger()
	again.name = "alice"
	again.signIn()
	again.browse(a.ask(url.Values{"redirect_uri": {"https://new.example/cb"}})).wants(200).says("new.example")
	put = `{"client_id":"` + a.id + `","redirect_uris":["` + loopback + `"],"token_endpoint_auth_method":"client_secret_basic"}`
	if status, body := do("PUT", token); status != 200 || !strings.Contains(body, `"client_secret":"mcpd_cs_`) {
		t.Errorf("PUT that wants a secret: %d %s", status, body)
	}
	a.refresh(got.Refresh, nil).wants(h, 401, "invalid_client")
	h.good(got.Access, "alpha")
	if status, _ := do("DELETE", token); status != 204 {
		t.Errorf("DELETE: %d", status)
	}
	h.bad(got.Access, "alpha")
	if status, _ := do("GET", token); status != 401 {
		t.Errorf("after DELETE: %d", status)
	}
	h.stranger().get(a.ask(nil)).wants(400).says("not known")
}

// Floods of registrations: by rate, in number, and over time.
func TestRegistrationLimits(t *testing.T) {
	h := newHouse(t, func(o *idp.Options) { o.Config.Registration.Rate, o.Config.Registration.Max = 12, 5 })
	in := map[string]any{"redirect_uris": []string{loopback}}
	first := h.registered(loopback)
	for range 11 {
		if status, out := h.postJSON("/register", in); status != 201 {
			t.Fatalf("%d %v", status, out)
		}
	}
	if status, out := h.postJSON("/register", in); status != 429 || out["error"] != "temporarily_unavailable" {
		t.Fatalf("%d %v", status, out)
	}
	h.stranger().get(first.ask(nil)).wants(400).says("not known") // it made room
	h.later(time.Minute)
	used := h.registered(loopback)
	used.code(h.signedIn("alice"), nil)
	for range 8 {
		h.postJSON("/register", in)
	}
	h.stranger().browse(used.ask(nil)).wants(200)

	some := newHouse(t, func(o *idp.Options) {
		o.Config.Registration.Allow = []string{"https://*.good.example/*", "http://localhost*"}
	})
	for redirect, want := range map[string]int{"https://app.good.example/cb": 201, "http://localhost:8/cb": 201, loopback: 403, "https://evil.example/good.example/": 403} {
		if status, out := some.postJSON("/register", map[string]any{"redirect_uris": []string{redirect}}); status != want {
			t.Errorf("%s: %d %v", redirect, status, out)
		}
	}
	off := newHouse(t, func(o *idp.Options) { o.Config.Registration.Disabled = true })
	if status, _ := off.postJSON("/register", in); status != 403 {
		t.Errorf("registration is off, but %d", status)
	}
	if strings.Contains(off.stranger().get(off.url+"/.well-known/oauth-authorization-server").body, "registration_endpoint") {
		t.Error("registration is off, but advertised")
	}
}
