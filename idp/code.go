package idp

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"regexp"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	"go.uber.org/zap"
)

// verifierForm is a code verifier (RFC 7636 §4.1).
var verifierForm = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

// CodeExchange redeems an authorization code. The client is authenticated (VerifyClient).
// The library's own wants a verifier of public clients only, does not know resources, and makes an ID token always.
//
// The order matters. A code of another client is left alone: who steals a code cannot even
// spoil it. A wrong verifier or redirect URI from the right client spends the code: it is an attack or a defect, and has one try.
// Then the code is spent and the tokens are kept in one transaction, so that of two at once one gets tokens and the other ends them.
func (s *server) CodeExchange(ctx context.Context, r *op.ClientRequest[oidc.AccessTokenRequest]) (*op.Response, error) {
	i, hash, now := s.issuer, DigestOf(r.Data.Code), s.issuer.now()
	code, err := i.store.Tokens().Code(ctx, hash)
	if errors.Is(err, ErrNotFound) || err == nil && code.Family.ClientID != r.Client.GetID() {
		return nil, invalidGrant("the code is not valid")
	}
	if err != nil {
		return nil, internal(err)
	}
	if !code.Used.IsZero() {
		return nil, s.replayed(ctx, code)
	}
	if !now.Before(code.Expires) {
		return nil, invalidGrant("the code has expired")
	}
	if err := s.issuer.sameResource(r.Form["resource"], code.Family.Resource); err != nil {
		return nil, err
	}
	if !verify(r.Data.CodeVerifier, code.Challenge) || r.Data.RedirectURI != code.RedirectURI {
		if err := i.store.Tokens().BurnCode(ctx, hash, now); err != nil && !errors.Is(err, ErrSpent) {
			return nil, internal(err)
		}
		return nil, invalidGrant("code_verifier or redirect_uri is not that of the authorization request")
	}
	if err := s.mayStill(ctx, code.Family); err != nil {
		return nil, grantError(err)
	}
	access, accessSecret := i.newAccess(code.Family.ID, code.Family.Scopes, now, i.config.AccessTTL)
	refreshSecret := newSecret(prefixRefresh)
	refresh := Refresh{Hash: DigestOf(refreshSecret), Family: code.Family.ID, Expires: now.Add(i.config.RefreshTTL)}
	switch err := i.store.Tokens().Redeem(ctx, hash, now, access, refresh); {
	case errors.Is(err, ErrSpent):
		return nil, s.replayed(ctx, code)
	case err != nil:
		return nil, grantError(err)
	}
	i.counts.tokens[byCode].Add(1)
	i.log.Info("token issued", zap.String("client", code.Family.ClientID), zap.String("server", code.Family.Server), zap.String("user", code.Family.UserID))
	return s.respond(ctx, r.Client, &granted{family: code.Family, scopes: code.Family.Scopes, nonce: code.Nonce}, accessSecret, refreshSecret, r.Data.Code)
}

// replayed ends what a code gave that is presented again: somebody has it who should not (RFC 6749 §4.1.2).
func (s *server) replayed(ctx context.Context, code Code) error {
	s.issuer.log.Warn("authorization code used twice; its tokens are revoked", zap.String("client", code.Family.ClientID), zap.String("user", code.Family.UserID))
	if err := s.issuer.endFamily(ctx, code.Family); err != nil {
		return internal(err)
	}
	return invalidGrant("the code was used already")
}

// verify is S256 of RFC 7636 §4.6.
func verify(verifier, challenge string) bool {
	if !verifierForm.MatchString(verifier) {
		return false
	}
	sum := sha256.Sum256([]byte(verifier))
	got := base64.RawURLEncoding.EncodeToString(sum[:])
	return subtle.ConstantTimeCompare([]byte(got), []byte(challenge)) == 1
}

// grantError answers for a user, client or family that went away in between.
func grantError(err error) error {
	var oauth *oidc.Error
	switch {
	case errors.As(err, &oauth):
		return err
	case errors.Is(err, ErrNotFound):
		return invalidGrant("the authorization has ended")
	}
	return internal(err)
}

func looksLike(secret, prefix string) bool {
	return strings.HasPrefix(secret, prefix) && len(secret) < 128
}
