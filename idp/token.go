package idp

import (
	"context"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// newAccess makes an access token of a family; the secret is what the client gets.
func (i *Issuer) newAccess(family string, scopes []string, now time.Time, ttl time.Duration) (Access, string) {
	secret := newSecret(prefixAccess)
	return Access{Hash: DigestOf(secret), Family: family, Scopes: scopes, Created: now, Expires: now.Add(ttl)}, secret
}

// respond puts the answer of the token endpoint together. There is an ID token with the
// openid scope only: the library makes one always, and somewhere it might be taken for a bearer token.
func (s *server) respond(ctx context.Context, client op.Client, g *granted, access, refresh, code string) (*op.Response, error) {
	resp := &oidc.AccessTokenResponse{
		AccessToken: access, TokenType: oidc.BearerToken, RefreshToken: refresh,
		ExpiresIn: uint64(s.issuer.config.AccessTTL / time.Second), Scope: g.scopes,
	}
	if hasScope(g.scopes, oidc.ScopeOpenID) {
		var err error
		resp.IDToken, err = op.CreateIDToken(ctx, s.issuer.issuer, g, client.IDTokenLifetime(), access, code, s.provider.Storage(), client)
		if err != nil {
			return nil, internal(err)
		}
	}
	return op.NewResponse(resp), nil
}

// sameResource checks the resource of a token request (RFC 8707 §2.2): none, or the one that was authorized.
func (i *Issuer) sameResource(asked []string, authorized string) error {
	for _, raw := range asked {
		if got, _, ok := i.findResource(raw); !ok || got != authorized {
			return invalidTarget("resource is not the one that was authorized")
		}
	}
	return nil
}

// mayStill checks that the person may use the server now, not only when they agreed.
func (s *server) mayStill(ctx context.Context, f Family) error {
	a, err := s.issuer.store.Users().ByID(ctx, f.UserID)
	if err != nil {
		return err
	}
	if _, server, ok := s.issuer.findResource(f.Resource); !ok || server != f.Server || !s.issuer.allowed(f.Server, a.User) {
		return invalidGrant("the person may not use this server (any more)")
	}
	return nil
}
