package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcpd/mcpd/idp/upstream"
	"github.com/mcpd/mcpd/idp/upstream/upstreamtest"
)

const redirect = "https://auth.example.com/login/from/corp"

func provider(s *upstreamtest.Service, kind string) *upstream.Provider {
	return upstream.New("corp", upstream.Config{Type: kind, URL: s.URL, ClientID: upstreamtest.ClientID, ClientSecret: upstreamtest.ClientSecret}, redirect, nil)
}

var attempt = upstream.Attempt{State: "the state", Nonce: "the nonce", Verifier: "a verifier that is long enough for anybody to be content with it"}

// walk is a whole sign-in; change changes what the browser carries back.
func walk(t *testing.T, p *upstream.Provider, a upstream.Attempt, change func(back url.Values)) (upstream.Identity, error) {
	t.Helper()
	to, err := p.Start(t.Context(), a)
	if err != nil {
		return upstream.Identity{}, err
	}
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Get(to)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	back, err := resp.Location()
	if err != nil || !strings.HasPrefix(back.String(), redirect+"?") {
		t.Fatalf("back to %v: %v", back, err)
	}
	q := back.Query()
	if q.Get("state") != a.State {
		t.Errorf("state %q", q.Get("state"))
	}
	if change != nil {
		change(q)
	}
	return p.Finish(t.Context(), a, q.Get("code"), q.Get("iss"))
}

func alice() *upstreamtest.Person {
	return &upstreamtest.Person{Subject: "17", Email: "alice@corp.example", Verified: true, Groups: []string{"staff", "", "admins", "staff", "a\nb"}}
}

func TestOpenID(t *testing.T) {
	s := upstreamtest.OpenID(t)
	s.Person = alice()
	p := provider(s, "")
	want := upstream.Identity{Subject: "17", Email: "alice@corp.example", Groups: []string{"admins", "staff"}}
	for range 2 {
		id, err := walk(t, p, attempt, nil)
		if err != nil || !reflect.DeepEqual(id, want) {
			t.Fatalf("%+v %v", id, err)
		}
	}
	s.Set(func(s *upstreamtest.Service) { s.InUserinfo = true })
	if id, err := walk(t, p, attempt, nil); err != nil || !reflect.DeepEqual(id, want) {
		t.Fatalf("from userinfo: %+v %v", id, err)
	}
	other := attempt
	other.Fresh = true
	if to, err := p.Start(t.Context(), other); err != nil || !strings.Contains(to, "prompt=login") {
		t.Errorf("fresh: %s %v", to, err)
	}
}

// Some issuers end in a slash (Auth0), and are another issuer without.
func TestIssuerWithSlash(t *testing.T) {
	s := upstreamtest.OpenID(t)
	s.Person = alice()
	without := provider(s, "")
	s.URL += "/"
	with := provider(s, "")
	if id, err := walk(t, with, attempt, nil); err != nil || id.Subject != "17" {
		t.Errorf("%+v %v", id, err)
	}
	if _, err := walk(t, without, attempt, nil); err == nil {
		t.Error("the issuer without the slash was taken for the one with it")
	}
}

// Every answer that is no good is refused, and none is taken for a provider that is away.
func TestOpenIDRefused(t *testing.T) {
	for name, c := range map[string]struct {
		person func(*upstreamtest.Person)
		claims func(map[string]any)
		back   func(url.Values)
		signer func(*upstreamtest.Service) (jose.Signer, error)
		kind   string
	}{
		"wrong nonce":      {claims: func(c map[string]any) { c["nonce"] = "another" }},
		"no nonce":         {claims: func(c map[string]any) { delete(c, "nonce") }},
		"iss of another":   {back: func(q url.Values) { q.Set("iss", "https://evil.example") }},
		"no iss":           {back: func(q url.Values) { q.Del("iss") }},
		"issuer of token":  {claims: func(c map[string]any) { c["iss"] = "https://evil.example" }},
		"audience":         {claims: func(c map[string]any) { c["aud"] = "other" }},
		"expired":          {claims: func(c map[string]any) { c["exp"] = time.Now().Add(-time.Hour).Unix() }},
		"from the future":  {claims: func(c map[string]any) { c["iat"] = time.Now().Add(time.Hour).Unix() }},
		"code of somebody": {back: func(q url.Values) { q.Set("code", "another") }},
		"address unproven": {person: func(p *upstreamtest.Person) { p.Verified = false }},
		"no address":       {person: func(p *upstreamtest.Person) { p.Email = "" }},
		"google, private":  {kind: "google"},
		"signed by secret": {signer: func(*upstreamtest.Service) (jose.Signer, error) {
			secret := []byte(strings.Repeat(upstreamtest.ClientSecret, 3))
			return jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: secret}, (&jose.SignerOptions{}).WithHeader("kid", "1"))
		}},
		"signed by another": {signer: func(*upstreamtest.Service) (jose.Signer, error) { return upstreamtest.OpenID(t).Signer() }},
	} {
		t.Run(name, func(t *testing.T) {
			s := upstreamtest.OpenID(t)
			s.Person = alice()
			if c.person != nil {
				c.person(s.Person)
			}
			s.Change = func(claims map[string]any) (jose.Signer, error) {
				if c.claims != nil {
					c.claims(claims)
				}
				if c.signer != nil {
					return c.signer(s)
				}
				return nil, nil
			}
			id, err := walk(t, provider(s, c.kind), attempt, c.back)
			var refused *upstream.Refused
			if !errors.As(err, &refused) {
				t.Errorf("%+v %v", id, err)
			}
		})
	}
}

// The verifier is of this sign-in and no other.
func TestVerifier(t *testing.T) {
	s := upstreamtest.OpenID(t)
	s.Person = alice()
	p := provider(s, "")
	to, err := p.Start(t.Context(), attempt)
	if err != nil {
		t.Fatal(err)
	}
	other := attempt
	other.Verifier = strings.Repeat("x", 50)
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Get(to)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Finish(t.Context(), other, back.Query().Get("code"), s.URL); err == nil {
		t.Error("a code was redeemed with another verifier")
	}
}

func TestGoogle(t *testing.T) {
	s := upstreamtest.OpenID(t)
	s.Person = alice()
	s.Change = func(c map[string]any) (jose.Signer, error) { c["hd"] = "corp.example"; return nil, nil }
	p := provider(s, "google")
	if id, err := walk(t, p, attempt, nil); err != nil || id.Email != "alice@corp.example" || id.Groups != nil {
		t.Errorf("workspace: %+v %v", id, err)
	}
	s.Set(func(s *upstreamtest.Service) { s.Change = nil; s.Person.Email = "Alice@GMail.com" })
	if id, err := walk(t, p, attempt, nil); err != nil || id.Email != "Alice@GMail.com" {
		t.Errorf("gmail: %+v %v", id, err)
	}
}

// A provider that is down costs nothing until somebody wants it, is not asked at every try, and is found when it is back.
func TestLazy(t *testing.T) {
	s := upstreamtest.OpenID(t)
	s.Person, s.Down = alice(), true
	p := provider(s, "")
	if s.Requests != 0 {
		t.Errorf("%d requests before anybody signs in", s.Requests)
	}
	for range 5 {
		_, err := p.Start(t.Context(), attempt)
		var refused *upstream.Refused
		if err == nil || errors.As(err, &refused) {
			t.Fatalf("from a provider that is down: %v", err)
		}
	}
	s.Set(func(s *upstreamtest.Service) {
		if s.Requests != 1 {
			t.Errorf("%d requests for five tries", s.Requests)
		}
		s.Down = false
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		if _, err := p.Start(ctx, attempt); err == nil {
			tick.Stop()
			break
		}
		select {
		case <-ctx.Done():
			t.Fatal("a provider that is back was not found")
		case <-tick.C:
		}
	}
	s.Set(func(s *upstreamtest.Service) { s.Down = true })
	_, err := p.Finish(t.Context(), attempt, "code", s.URL)
	var refused *upstream.Refused
	if err == nil || errors.As(err, &refused) {
		t.Errorf("went down between: %v", err)
	}
}

// What a provider says of itself is not believed blindly.
func TestDiscovery(t *testing.T) {
	for name, document := range map[string]string{
		"another issuer": `{"issuer":"https://evil.example","authorization_endpoint":"%[1]s/a","token_endpoint":"%[1]s/t"}`,
		"plain http":     `{"issuer":"%[1]s","authorization_endpoint":"http://evil.example/a","token_endpoint":"%[1]s/t"}`,
		"a script":       `{"issuer":"%[1]s","authorization_endpoint":"javascript:alert(1)","token_endpoint":"%[1]s/t"}`,
		"no endpoints":   `{"issuer":"%[1]s"}`,
		"no JSON":        `<html>`,
	} {
		t.Run(name, func(t *testing.T) {
			var s *httptest.Server
			s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(strings.ReplaceAll(document, "%[1]s", s.URL)))
			}))
			defer s.Close()
			p := upstream.New("corp", upstream.Config{URL: s.URL, ClientID: "x"}, redirect, nil)
			if to, err := p.Start(t.Context(), attempt); err == nil {
				t.Errorf("sends people to %s", to)
			}
		})
	}
}

func TestGitHub(t *testing.T) {
	s := upstreamtest.GitHub(t)
	s.Person = &upstreamtest.Person{Subject: "583231", Email: "alice@corp.example", Verified: true, Groups: []string{"acme"}, Teams: []string{"acme/ops"}}
	for n := range 150 { // two pages
		s.Person.Groups = append(s.Person.Groups, fmt.Sprintf("org%03d", n))
	}
	p := provider(s, "github")
	id, err := walk(t, p, attempt, nil)
	if err != nil || id.Subject != "583231" || id.Email != "alice@corp.example" || len(id.Groups) != 152 || id.Groups[0] != "corp/acme" || id.Groups[1] != "corp/acme/ops" {
		t.Fatalf("%+v %v", id, err)
	}
	var refused *upstream.Refused
	if _, err := walk(t, p, attempt, func(q url.Values) { q.Set("iss", "https://evil.example") }); !errors.As(err, &refused) {
		t.Errorf("iss of another: %v", err)
	}
	if _, err := walk(t, p, attempt, func(q url.Values) { q.Set("code", "another") }); !errors.As(err, &refused) {
		t.Errorf("another code: %v", err)
	}
	s.Set(func(s *upstreamtest.Service) { s.Person.Verified = false })
	if _, err := walk(t, p, attempt, nil); !errors.As(err, &refused) {
		t.Errorf("unverified address: %v", err)
	}
	s.Set(func(s *upstreamtest.Service) { s.Person.Verified, s.Shy = true, true })
	if _, err := walk(t, p, attempt, nil); !errors.As(err, &refused) {
		t.Errorf("teams that nobody may see: %v", err)
	}
	s.Set(func(s *upstreamtest.Service) { s.Person.Subject, s.Shy = "0", false })
	if _, err := walk(t, p, attempt, nil); err == nil {
		t.Error("a user without a number")
	}
}

func TestValidate(t *testing.T) {
	good := upstream.Config{URL: "https://login.example.com/realms/x", ClientID: "a", ClientSecret: "b"}
	for name, c := range map[string]struct {
		name   string
		change func(*upstream.Config)
		want   string
	}{
		"good":         {change: func(*upstream.Config) {}},
		"google":       {change: func(c *upstream.Config) { c.Type, c.URL = "google", "" }},
		"github":       {change: func(c *upstream.Config) { c.Type, c.URL = "github", "" }},
		"public":       {change: func(c *upstream.Config) { c.ClientSecret = "" }},
		"loopback":     {change: func(c *upstream.Config) { c.URL = "http://localhost:9000" }},
		"name":         {name: "A B", want: `providers: "A B" cannot be`, change: func(*upstream.Config) {}},
		"type":         {want: "providers.corp.type: must be", change: func(c *upstream.Config) { c.Type = "saml" }},
		"no url":       {want: "providers.corp.url: is missing", change: func(c *upstream.Config) { c.URL = "" }},
		"http":         {want: "must be https", change: func(c *upstream.Config) { c.URL = "http://login.example.com" }},
		"query":        {want: "is not the URL of an issuer", change: func(c *upstream.Config) { c.URL += "?x" }},
		"no client":    {want: "providers.corp.client_id: is missing", change: func(c *upstream.Config) { c.ClientID = "" }},
		"no secret":    {want: "providers.corp.client_secret: is missing", change: func(c *upstream.Config) { c.Type, c.URL, c.ClientSecret = "google", "", "" }},
		"scope":        {want: "providers.corp.scopes: ", change: func(c *upstream.Config) { c.Scopes = []string{"a b"} }},
		"max_age":      {want: "providers.corp.max_age: must be at least 5m", change: func(c *upstream.Config) { c.MaxAge = time.Second }},
		"long label":   {want: "providers.corp.label: ", change: func(c *upstream.Config) { c.Label = strings.Repeat("x", 61) }},
		"userinfo":     {want: "is not the URL", change: func(c *upstream.Config) { c.URL = "https://a:b@login.example.com" }},
		"github plain": {want: "must be https", change: func(c *upstream.Config) { c.Type, c.URL = "github", "http://github.example.com" }},
	} {
		t.Run(name, func(t *testing.T) {
			config := good
			c.change(&config)
			if c.name == "" {
				c.name = "corp"
			}
			errs := config.Validate("providers", c.name)
			switch {
			case c.want == "" && len(errs) > 0:
				t.Error(errs)
			case c.want != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), c.want)):
				t.Errorf("%v, want %s", errs, c.want)
			}
		})
	}
}
