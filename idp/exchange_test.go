package idp_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcpd/mcpd/idp"
)

const (
	tokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	accessType    = "urn:ietf:params:oauth:token-type:access_token"
)

// trading is a house in which the client broker may exchange tokens between alpha and beta.
func trading(t *testing.T, change ...func(*idp.Options)) *house {
	return newHouse(t, append([]func(*idp.Options){func(o *idp.Options) {
		o.Config.Clients = map[string]idp.ClientConfig{
			"broker": {Name: "Broker", Secret: longSecret, Exchange: []string{"al*", "beta"}},
			"narrow": {Secret: longSecret, Exchange: []string{"beta"}},
			"plain":  {Secret: longSecret, Redirects: []string{loopback}},
		}
	}}, change...)...)
}

// trade exchanges a token for one of server beta, with changes.
func (h *house) trade(token string, changes url.Values) tokens {
	h.Helper()
	f := url.Values{
		"grant_type": {tokenExchange}, "client_id": {"broker"}, "client_secret": {longSecret},
		"subject_token": {token}, "subject_token_type": {accessType}, "resource": {h.resource("beta")},
	}
	for k, v := range changes {
		if f[k] = v; v == nil {
			f.Del(k)
		}
	}
	return h.token(f)
}

// A client has a person's token for one server, and gets one for another: it is known as who acts, and all ends together.
func TestTokenExchange(t *testing.T) {
	var ended []idp.Ended
	h := trading(t, func(o *idp.Options) { o.Ended = func(e idp.Ended) { ended = append(ended, e) } })
	h.stopClock()
	a, p := h.registered(loopback), h.signedIn("alice")
	first := a.redeem(a.code(p, url.Values{"scope": {"mcp openid profile offline_access"}}), nil).wants(h, 200, "")
	h.later(50 * time.Minute)
	got := h.trade(first.Access, url.Values{"requested_token_type": {accessType}}).wants(h, 200, "")
	if got.Refresh != "" || got.ID != "" || got.Scope != "mcp" || got.Type != "Bearer" || got.Expires != 600 || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%+v", got)
	}
	from, g := h.good(first.Access, "alpha"), h.good(got.Access, "beta")
	if g.UserID != from.UserID || g.ClientID != "broker" || g.ClientName != "Broker" || g.ID != from.ID || g.Expires.After(from.Expires) {
		t.Errorf("%+v of %+v", g, from)
	}
	h.bad(got.Access, "alpha")
	_, _, body := h.postForm("/introspect", url.Values{"token": {got.Access}}, basic("broker", longSecret))
	var about map[string]any
	if err := json.Unmarshal(body, &about); err != nil || about["client_id"] != "broker" || about["username"] != "alice" || about["aud"] != h.resource("beta") || about["act"].(map[string]any)["sub"] != "broker" {
		t.Errorf("%s %v", body, err)
	}
	page := p.get(h.url + "/account").says("Broker") // the person sees it

	// The person disconnects the program that the first token was for.
	var family string
	for n := range page.root.Descendants() {
		if attr(n, "aria-label") == "Disconnect Test App from alpha" {
			for in := range n.Parent.Descendants() {
				if attr(in, "name") == "connection" {
					family = attr(in, "value")
				}
			}
		}
	}
	_, form := page.form("everywhere", url.Values{"connection": {family}})
	p.do("POST", h.url+"/account/disconnect", form, http.Header{"Sec-Fetch-Site": {"same-origin"}}).wants(303)
	h.bad(first.Access, "alpha")
	h.bad(got.Access, "beta")
	if len(ended) != 1 || ended[0].Grant != g.ID {
		t.Errorf("ended: %+v, want %s", ended, g.ID)
	}
	if !strings.Contains(h.stranger().get(h.url+"/.well-known/oauth-authorization-server").body, tokenExchange) {
		t.Error("not advertised")
	}
}

// Everything else is refused, with the error that says whose fault it is.
func TestTokenExchangeAttacks(t *testing.T) {
	h := trading(t)
	a, p := h.registered(loopback), h.signedIn("alice")
	got := a.redeem(a.code(p, nil), nil).wants(h, 200, "")
	beta := url.Values{"resource": {h.resource("beta")}}
	second := a.redeem(a.code(p, beta), beta).wants(h, 200, "")
	had := h.trade(got.Access, nil).wants(h, 200, "")
	some, err := h.issuer.Mint(t.Context(), idp.MintRequest{User: "alice", Resource: h.resource("alpha"), TTL: time.Hour, Tools: []string{"get_*"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		token  string
		change url.Values
		status int
		code   string
	}{
		"no secret":           {got.Access, url.Values{"client_secret": nil}, 401, "invalid_client"},
		"wrong secret":        {got.Access, url.Values{"client_secret": {"x"}}, 401, "invalid_client"},
		"not let by config":   {got.Access, url.Values{"client_id": {"plain"}}, 400, "unauthorized_client"},
		"a registered client": {got.Access, url.Values{"client_id": {a.id}, "client_secret": nil}, 400, "unauthorized_client"},
		"not for that server": {got.Access, url.Values{"client_id": {"narrow"}}, 400, "invalid_request"},
		"not to that server":  {second.Access, url.Values{"client_id": {"narrow"}, "resource": {h.resource("alpha")}}, 400, "invalid_target"},
		"the same server":     {second.Access, nil, 400, "invalid_target"},
		"no resource":         {got.Access, url.Values{"resource": nil}, 400, "invalid_target"},
		"two resources":       {got.Access, url.Values{"resource": {h.resource("alpha"), h.resource("beta")}}, 400, "invalid_target"},
		"foreign resource":    {got.Access, url.Values{"resource": {"https://evil.example/mcp"}}, 400, "invalid_target"},
		"audience":            {got.Access, url.Values{"audience": {"beta"}}, 400, "invalid_target"},
		"more scope":          {got.Access, url.Values{"scope": {"mcp profile"}}, 400, "invalid_scope"},
		"an identity":         {got.Access, url.Values{"scope": {"openid"}}, 400, "invalid_scope"},
		"no token":            {"", nil, 400, "invalid_request"},
		"no kind":             {got.Access, url.Values{"subject_token_type": nil}, 400, "invalid_request"},
		"a refresh token":     {got.Refresh, nil, 400, "invalid_request"},
		"as a refresh token":  {got.Refresh, url.Values{"subject_token_type": {"urn:ietf:params:oauth:token-type:refresh_token"}}, 400, "invalid_request"},
		"an ID token":         {got.Access, url.Values{"subject_token_type": {"urn:ietf:params:oauth:token-type:id_token"}}, 400, "invalid_request"},
		"for a refresh token": {got.Access, url.Values{"requested_token_type": {"urn:ietf:params:oauth:token-type:refresh_token"}}, 400, "invalid_request"},
		"for an assertion":    {got.Access, url.Values{"requested_token_type": {"urn:ietf:params:oauth:token-type:id-jag"}}, 400, "invalid_request"},
		"an actor":            {got.Access, url.Values{"actor_token": {got.Access}, "actor_token_type": {accessType}}, 400, "invalid_request"},
		"nobody's token":      {"mcpd_at_AAAAAAAAAAAAAAAAAAAAAAAAAA", nil, 400, "invalid_request"},
		"one had in exchange": {had.Access, url.Values{"resource": {h.resource("alpha")}}, 400, "invalid_request"},
		"one for some tools":  {some, nil, 400, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) { h.trade(c.token, c.change).wants(h, c.status, c.code) })
	}
	name := "alice"
	h.banned.Store(&name)
	h.trade(got.Access, nil).wants(h, 400, "invalid_request")
	h.banned.Store(nil)
	a.refresh(got.Refresh, nil).wants(h, 200, "")
	a.refresh(got.Refresh, nil).wants(h, 200, "") // within the grace
	h.later(time.Minute)
	a.refresh(got.Refresh, nil).wants(h, 400, "invalid_grant") // a sign of theft, which ends all
	h.bad(had.Access, "beta")
	h.trade(got.Access, nil).wants(h, 400, "invalid_request")
	h.later(2 * time.Hour)
	h.trade(second.Access, url.Values{"resource": {h.resource("alpha")}}).wants(h, 400, "invalid_request")
}

// The person may not use the other server: the policy of each is asked.
func TestTokenExchangePolicy(t *testing.T) {
	h := trading(t, func(o *idp.Options) { o.Allowed = func(server string, u idp.User) bool { return server == "alpha" } })
	a, p := h.registered(loopback), h.signedIn("alice")
	h.trade(a.redeem(a.code(p, nil), nil).wants(h, 200, "").Access, nil).wants(h, 400, "invalid_target")
}

// Who agreed to reading stays a reader, at a server that does not tell reading from writing too; and the other way round
// nothing becomes more than it was.
func TestTokenExchangeScopes(t *testing.T) {
	for _, split := range []string{"alpha", "beta"} {
		h := trading(t, func(o *idp.Options) { o.Splits = func(server string) bool { return server == split } })
		a, p := h.registered(loopback), h.signedIn("alice")
		got := a.redeem(a.code(p, url.Values{"scope": {"mcp mcp:read"}}), nil).wants(h, 200, "")
		if split == "beta" {
			h.trade(got.Access, nil).wants(h, 400, "invalid_scope")
			continue
		}
		if had := h.trade(got.Access, nil).wants(h, 200, ""); had.Scope != "mcp mcp:read" {
			t.Errorf("%q", had.Scope)
		}
		if had := h.trade(got.Access, url.Values{"scope": {"mcp:read"}}).wants(h, 200, ""); had.Scope != "mcp:read" {
			t.Errorf("%q", had.Scope)
		}
		// "mcp" alone is nothing at alpha, and would be everything at beta.
		h.trade(got.Access, url.Values{"scope": {"mcp"}}).wants(h, 400, "invalid_scope")
		door := a.redeem(a.code(p, url.Values{"scope": {"mcp"}}), nil).wants(h, 200, "")
		h.trade(door.Access, nil).wants(h, 400, "invalid_scope")
	}
}
