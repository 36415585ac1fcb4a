package idp

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	"go.uber.org/zap"
)

// TokenExchange gives a configured client a token for one server in exchange for a person's token for another (RFC 8693), when
// the operator has named both. The client is authenticated (VerifyClient), and known from then on as the one who acts.
//
// The new token is never more than the old one: the same person, who may use the server; no scope that the old one has not;
// no longer life, and no refresh token. It ends with the authorization that the old one came from. It cannot be exchanged again,
// so that who acts is always one client, and neither can a token for some tools only: their names mean something else elsewhere.
func (s *server) TokenExchange(ctx context.Context, r *op.ClientRequest[oidc.TokenExchangeRequest]) (*op.Response, error) {
	i, now := s.issuer, s.issuer.now()
	if err := plainExchange(r.Data); err != nil {
		return nil, err
	}
	c, err := i.client(ctx, r.Client.GetID())
	if err != nil {
		return nil, internal(err)
	}
	old, err := i.exchangeable(ctx, r.Data.SubjectToken, c)
	if err != nil {
		return nil, err
	}
	var req request
	if err := i.parseResource(r.Form["resource"], &req); err != nil {
		return nil, backFrom(err)
	}
	if !exchanges(c, req.Server) || req.Server == old.server || !i.allowed(req.Server, old.user) {
		return nil, invalidTarget("this client gets no token of this person for this server")
	}
	scopes, err := i.exchangedScopes(old, r.Data.Scopes, req.Server)
	if err != nil {
		return nil, err
	}
	f := Family{
		ID: newID("fam"), Parent: old.family, UserID: old.user.ID, ClientID: c.ID, Server: req.Server, Resource: req.Resource,
		Scopes: scopes, AuthTime: now, Created: now,
	}
	ttl := min(i.config.AccessTTL, old.expires.Sub(now))
	access, secret := i.newAccess(f.ID, scopes, now, ttl)
	if err := i.store.Tokens().PutFamily(ctx, f, access); err != nil {
		return nil, grantError(err)
	}
	i.counts.tokens[byExchange].Add(1)
	i.log.Info("token exchanged", zap.String("client", f.ClientID), zap.String("from", old.server), zap.String("server", f.Server), zap.String("user", f.UserID))
	return op.NewResponse(&oidc.TokenExchangeResponse{
		AccessToken: secret, IssuedTokenType: oidc.AccessTokenType, TokenType: oidc.BearerToken, ExpiresIn: uint64(ttl / time.Second), Scopes: scopes,
	}), nil
}

// exchanges reports whether the operator lets a client exchange tokens for and of a server.
func exchanges(c Client, server string) bool {
	return slices.ContainsFunc(c.Exchange, func(pattern string) bool { return matchGlob(pattern, server) })
}

// plainExchange refuses what would ask for something else than an access token for an access token.
func plainExchange(r *oidc.TokenExchangeRequest) error {
	switch {
	case r.SubjectTokenType != oidc.AccessTokenType:
		return oidc.ErrInvalidRequest().WithDescription("subject_token must be an access token")
	case r.RequestedTokenType != "" && r.RequestedTokenType != oidc.AccessTokenType:
		return oidc.ErrInvalidRequest().WithDescription("only an access token can be had")
	case r.ActorToken != "" || r.ActorTokenType != "":
		return oidc.ErrInvalidRequest().WithDescription("the client itself is who acts: no actor_token")
	case len(r.Audience) > 0:
		return invalidTarget("name the server by its URL, in resource")
	}
	return nil
}

// exchangeable finds the token that is presented. What is wrong with it is no business of who has no right to it.
func (i *Issuer) exchangeable(ctx context.Context, token string, c Client) (*held, error) {
	h, err := i.holder(ctx, token)
	if err != nil && !errors.Is(err, ErrInvalidToken) {
		return nil, internal(err)
	}
	switch {
	case err != nil || !i.allowed(h.server, h.user) || !exchanges(c, h.server):
		return nil, oidc.ErrInvalidRequest().WithDescription("subject_token is not valid") // RFC 8693 §2.2.2
	case h.grant.ID != h.family:
		return nil, oidc.ErrInvalidRequest().WithDescription("subject_token was had in exchange itself")
	case len(h.grant.Tools) > 0:
		return nil, oidc.ErrInvalidRequest().WithDescription("subject_token is for some tools only")
	}
	return h, nil
}

// exchangedScopes are those of the old token that are asked for. What it says of reading and writing goes along and holds at every
// server. It must say something where one of the two tells them apart, and a reader must stay one: alone, mcp is the door at one
// server, and everything at another.
func (i *Issuer) exchangedScopes(old *held, asked []string, server string) ([]string, error) {
	have := slices.DeleteFunc(slices.Clone(old.grant.Scopes), func(s string) bool { return !isServerScope(s) })
	reads, writes := hasScope(have, ScopeRead), hasScope(have, ScopeWrite)
	if !reads && !writes && len(i.scopesOf(old.server))+len(i.scopesOf(server)) > 2 {
		return nil, oidc.ErrInvalidScope().WithDescription("subject_token says neither read nor write, which one of the servers tells apart")
	}
	scopes, err := narrower(asked, have, i.scopesOf(server))
	if err == nil && reads && !writes && !hasScope(scopes, ScopeRead) {
		return nil, oidc.ErrInvalidScope().WithDescription("subject_token is for reading: scope must have " + ScopeRead)
	}
	return scopes, err
}
