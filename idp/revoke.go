package idp

import (
	"context"
	"errors"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Revocation ends a token (RFC 7009): an access token alone, a refresh token with its whole
// family. The hint is not needed: a token says what it is. A token that is none, or
// another client's, is answered like a good one (RFC 7009 §2.2) and left alone.
func (s *server) Revocation(ctx context.Context, r *op.ClientRequest[oidc.RevocationRequest]) (*op.Response, error) {
	i, hash := s.issuer, DigestOf(r.Data.Token)
	var err error
	switch {
	case looksLike(r.Data.Token, prefixRefresh):
		var f Family
		if _, f, err = i.store.Tokens().Refresh(ctx, hash); err == nil && f.ClientID == r.Client.GetID() {
			err = i.endFamily(ctx, f)
		}
	case looksLike(r.Data.Token, prefixAccess):
		var h Holder
		if h, err = i.store.Tokens().Access(ctx, hash); err == nil && h.Family.ClientID == r.Client.GetID() {
			err = i.store.Tokens().DeleteAccess(ctx, hash)
			i.cache.drop(func(e *held) bool { return e.hash == hash })
			i.ended(Ended{UserID: h.User.ID, Grant: h.Family.grant()}) // what goes on with another of its tokens can begin again
		}
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, internal(err)
	}
	return op.NewResponse(nil), nil
}
