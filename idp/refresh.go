package idp

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	"go.uber.org/zap"
)

// RefreshToken rotates a refresh token. The client is authenticated (VerifyClient).
//
// A token that was used already is a sign of theft and ends its family, but not within
// the grace: real clients refresh twice at once, or lose the answer. They get the same successor again. It is
// not stored: it is derived from the old token, which only the client has, and a random salt, which only
// the store has and forgets when the grace is over. Neither the database nor an old token alone gives anything away.
func (s *server) RefreshToken(ctx context.Context, r *op.ClientRequest[oidc.RefreshTokenRequest]) (*op.Response, error) {
	i, old, now := s.issuer, DigestOf(r.Data.RefreshToken), s.issuer.now()
	token, family, err := i.store.Tokens().Refresh(ctx, old)
	if errors.Is(err, ErrNotFound) || err == nil && family.ClientID != r.Client.GetID() {
		return nil, invalidGrant("the refresh token is not valid")
	}
	if err != nil {
		return nil, internal(err)
	}
	if !now.Before(token.Expires) {
		return nil, invalidGrant("the refresh token has expired")
	}
	if err := s.issuer.sameResource(r.Form["resource"], family.Resource); err != nil {
		return nil, err
	}
	scopes, err := narrower(r.Data.Scopes, family.Scopes, i.scopesOf(family.Server))
	if err != nil {
		return nil, err
	}
	if err := i.recheck(ctx, family.UserID); err != nil {
		return nil, grantError(err)
	}
	if err := s.mayStill(ctx, family); err != nil {
		return nil, grantError(err)
	}
	access, accessSecret := i.newAccess(family.ID, scopes, now, i.config.AccessTTL)
	var successor string
	if token.Used.IsZero() {
		salt := randomBytes(32)
		successor = succeed(r.Data.RefreshToken, salt)
		next := Refresh{Hash: DigestOf(successor), Family: family.ID, Expires: now.Add(i.config.RefreshTTL)}
		err = i.store.Tokens().Rotate(ctx, old, now, salt, next, access)
		if errors.Is(err, ErrSpent) { // by another request, a moment ago
			if token, _, err = i.store.Tokens().Refresh(ctx, old); err == nil {
				successor, err = s.again(ctx, r.Data.RefreshToken, token, family, access, now)
			}
		}
	} else {
		successor, err = s.again(ctx, r.Data.RefreshToken, token, family, access, now)
	}
	if err != nil {
		return nil, grantError(err)
	}
	i.counts.tokens[byRefresh].Add(1)
	return s.respond(ctx, r.Client, &granted{family: family, scopes: scopes}, accessSecret, successor, "")
}

// again answers for a refresh token that was used before: within the grace with its
// successor and a fresh access token, after it with the end of the family.
func (s *server) again(ctx context.Context, secret string, token Refresh, family Family, access Access, now time.Time) (string, error) {
	i := s.issuer
	if now.Sub(token.Used) <= i.config.RefreshGrace && len(token.Salt) > 0 {
		return succeed(secret, token.Salt), i.store.Tokens().PutAccess(ctx, access)
	}
	i.log.Warn("refresh token used twice; its family is revoked", zap.String("client", family.ClientID), zap.String("user", family.UserID), zap.String("server", family.Server))
	if err := i.endFamily(ctx, family); err != nil {
		return "", err
	}
	return "", invalidGrant("the refresh token was used already; the authorization has ended")
}

// succeed derives the successor of a refresh token: 160 bits of an HMAC keyed by the salt.
func succeed(secret string, salt []byte) string {
	h := hmac.New(sha256.New, salt)
	h.Write([]byte(secret))
	return prefixRefresh + base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(h.Sum(nil)[:20])
}

// narrower is the scope of the new access token: what is asked for, of what was authorized (RFC 6749 §6). What means nothing at
// the server is passed over, as it was when it was asked for first.
func narrower(asked, authorized, of []string) ([]string, error) {
	if len(asked) == 0 {
		return authorized, nil
	}
	var scopes []string
	for _, a := range asked {
		switch {
		case hasScope(authorized, a) && !hasScope(scopes, a):
			scopes = append(scopes, a)
		case hasScope(supportedScopes, a) && !hasScope(authorized, a) && (hasScope(of, a) || !isServerScope(a)):
			return nil, oidc.ErrInvalidScope().WithDescription("a scope was not authorized")
		}
	}
	if len(scopes) == 0 {
		return authorized, nil
	}
	return scopes, nil
}

// endFamily ends all tokens of one authorization, here and in the store.
func (i *Issuer) endFamily(ctx context.Context, f Family) error {
	err := i.store.Tokens().DeleteFamily(ctx, f.ID)
	i.cache.drop(func(h *held) bool { return h.family == f.ID || h.grant.ID == f.ID })
	i.ended(Ended{UserID: f.UserID, Grant: f.grant()}) // what goes on with another of its tokens can begin again
	return err
}
