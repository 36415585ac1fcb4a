package idp

import (
	"context"
	"errors"
	"fmt"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	"go.uber.org/zap"
)

// servicePrefix begins the names of services, and of nobody else: a person's name has no colon.
const servicePrefix = "service:"

// service finds the user that a program is when it acts in its own name, and makes it the first time. Nobody can sign in as it.
func (i *Issuer) service(ctx context.Context, name string) (User, error) {
	if !configuredID.MatchString(name) {
		return User{}, fmt.Errorf("a service's name has small letters, digits, dots and dashes, as %q has not", name)
	}
	u := User{ID: newID("svc"), Name: servicePrefix + name, Created: i.now()}
	err := i.store.Users().Create(ctx, Account{User: u})
	if errors.Is(err, ErrExists) {
		a, err := i.account(ctx, u.Name)
		return a.User, err
	}
	if err != nil {
		return User{}, fmt.Errorf("cannot create service: %w", err)
	}
	i.log.Info("service created", zap.String("user", u.Name))
	return u, nil
}

// ClientCredentialsExchange gives a configured client a token in its own name (RFC 6749 §4.4), for one server. There is no
// refresh token: the client can ask again.
func (s *server) ClientCredentialsExchange(ctx context.Context, r *op.ClientRequest[oidc.ClientCredentialsRequest]) (*op.Response, error) {
	i, now := s.issuer, s.issuer.now()
	var req request
	if err := i.parseResource(r.Form["resource"], &req); err != nil {
		return nil, backFrom(err)
	}
	scopes, err := narrower(r.Data.Scope, i.scopesOf(req.Server), i.scopesOf(req.Server))
	if err != nil {
		return nil, err
	}
	u, err := i.service(ctx, r.Client.GetID())
	if err != nil {
		return nil, internal(err)
	}
	if !i.allowed(req.Server, u) {
		return nil, oidc.ErrUnauthorizedClient().WithDescription("%s may not use this server", u.Name)
	}
	f := Family{
		ID: newID("fam"), UserID: u.ID, ClientID: r.Client.GetID(), Server: req.Server, Resource: req.Resource,
		Scopes: scopes, AuthTime: now, Created: now,
	}
	access, secret := i.newAccess(f.ID, scopes, now, i.config.AccessTTL)
	if err := i.store.Tokens().PutFamily(ctx, f, access); err != nil {
		return nil, grantError(err)
	}
	i.counts.tokens[byService].Add(1)
	i.log.Info("token issued", zap.String("client", f.ClientID), zap.String("server", f.Server), zap.String("user", u.Name))
	return s.respond(ctx, r.Client, &granted{family: f, scopes: scopes}, secret, "", "")
}

// backFrom turns an error of an authorization request into one of an endpoint for programs.
func backFrom(err error) error {
	var back *redirected
	if !errors.As(err, &back) {
		return err
	}
	if back.code == codeInvalidTarget {
		return invalidTarget(back.text)
	}
	return oidc.ErrInvalidRequest().WithDescription("%s", back.text)
}
