package idp

import (
	"context"
	"errors"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// introspection is what a client may know of a token (RFC 7662 §2.2).
type introspection struct {
	Active    bool   `json:"active"`
	Issuer    string `json:"iss,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	Subject   string `json:"sub,omitempty"`
	Username  string `json:"username,omitempty"`
	Audience  string `json:"aud,omitempty"`
	Scope     string `json:"scope,omitempty"`
	Expires   int64  `json:"exp,omitempty"`
	TokenType string `json:"token_type,omitempty"`
	Actor     *actor `json:"act,omitempty"` // who had it in exchange
}

// actor is who acts for somebody (RFC 8693 §4.1).
type actor struct {
	Subject string `json:"sub"`
}

// Introspect tells a client that has proved itself about a token: its own, or any if the operator lets it. What is
// not good, or not its business, is not active, and nothing says which (RFC 7662 §2.2).
func (s *server) Introspect(ctx context.Context, r *op.Request[op.IntrospectionRequest]) (*op.Response, error) {
	proven, err := s.VerifyClient(ctx, &op.Request[op.ClientCredentials]{Method: r.Method, URL: r.URL, Header: r.Header, Form: r.Form, Data: r.Data.ClientCredentials})
	if err != nil {
		return nil, err
	}
	c, err := s.issuer.client(ctx, proven.GetID())
	if err != nil {
		return nil, internal(err)
	}
	about, err := s.issuer.introspect(ctx, r.Data.Token)
	if err != nil {
		return nil, internal(err)
	}
	if about.ClientID != c.ID && !c.Introspects {
		about = introspection{}
	}
	return op.NewResponse(about), nil
}

func (i *Issuer) introspect(ctx context.Context, token string) (introspection, error) {
	var about introspection
	var u User
	var server string
	if looksLike(token, prefixRefresh) {
		t, f, err := i.store.Tokens().Refresh(ctx, DigestOf(token))
		if errors.Is(err, ErrNotFound) || err == nil && (!t.Used.IsZero() || !i.now().Before(t.Expires)) {
			return introspection{}, nil
		}
		if err != nil {
			return introspection{}, err
		}
		a, err := i.store.Users().ByID(ctx, f.UserID)
		if err != nil {
			return introspection{}, err
		}
		u, server = a.User, f.Server
		about = introspection{ClientID: f.ClientID, Audience: f.Resource, Scope: sentence(f.Scopes), Expires: t.Expires.Unix(), TokenType: "refresh_token"}
	} else {
		h, err := i.holder(ctx, token)
		if errors.Is(err, ErrInvalidToken) {
			return introspection{}, nil
		}
		if err != nil {
			return introspection{}, err
		}
		u, server = h.user, h.server
		about = introspection{ClientID: h.grant.ClientID, Audience: h.resource, Scope: sentence(h.grant.Scopes), Expires: h.expires.Unix(), TokenType: "Bearer"}
		if h.grant.ID != h.family {
			about.Actor = &actor{h.grant.ClientID}
		}
	}
	if !i.allowed(server, u) {
		return introspection{}, nil
	}
	about.Active, about.Issuer, about.Subject, about.Username = true, i.issuer, u.ID, u.Name
	return about, nil
}
