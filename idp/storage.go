package idp

import (
	"context"
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// storage is the op.Storage. The library needs it for keys, for the claims of an ID
// token and to pass a request on to the dispatcher; codes and tokens go through the Store, where
// they are spent and made in one transaction, and the library's doors to them stay shut (shut.go).
type storage struct{ issuer *Issuer }

// CreateAuthRequest seals the request that serveAuthorize found good.
func (s *storage) CreateAuthRequest(ctx context.Context, _ *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	req, ok := ctx.Value(requestKey{}).(*request)
	if !ok {
		return nil, errShut
	}
	sealed, err := s.issuer.sealRequest(req)
	if err != nil {
		return nil, err
	}
	return &granted{id: sealed, family: Family{ClientID: req.ClientID, Scopes: req.Scopes}}, nil
}

// SigningKey implements op.Storage.
func (s *storage) SigningKey(context.Context) (op.SigningKey, error) {
	return s.issuer.keys.signing(s.issuer.now()), nil
}

// SignatureAlgorithms implements op.Storage.
func (s *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.ES256}, nil
}

// KeySet implements op.Storage.
func (s *storage) KeySet(context.Context) ([]op.Key, error) { return s.issuer.keys.published(), nil }

// GetClientByClientID implements op.Storage.
func (s *storage) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := s.issuer.client(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return nil, oidc.ErrInvalidClient()
	}
	if err != nil {
		return nil, internal(err)
	}
	return opClient{c, s.issuer}, nil
}

// SetUserinfoFromScopes fills an ID token. Without a subject it would have none at all.
func (s *storage) SetUserinfoFromScopes(ctx context.Context, info *oidc.UserInfo, userID, _ string, scopes []string) error {
	a, err := s.issuer.store.Users().ByID(ctx, userID)
	if err != nil {
		return err
	}
	describe(info, a.User, scopes)
	return nil
}

func describe(info *oidc.UserInfo, u User, scopes []string) {
	info.Subject = u.ID
	if hasScope(scopes, oidc.ScopeProfile) {
		info.Name, info.PreferredUsername = u.Name, u.Name
	}
}

// Health implements op.Storage.
func (s *storage) Health(context.Context) error { return nil }

// granted is what a code or a refresh token stands for, as the library sees it when it makes an ID token.
type granted struct {
	id     string
	family Family
	scopes []string
	nonce  string
}

var _ op.AuthRequest = (*granted)(nil)

func (g *granted) GetID() string                         { return g.id }
func (g *granted) GetACR() string                        { return "" }
func (g *granted) GetAMR() []string                      { return nil }
func (g *granted) GetAudience() []string                 { return []string{g.family.ClientID} }
func (g *granted) GetAuthTime() time.Time                { return g.family.AuthTime }
func (g *granted) GetClientID() string                   { return g.family.ClientID }
func (g *granted) GetCodeChallenge() *oidc.CodeChallenge { return nil }
func (g *granted) GetNonce() string                      { return g.nonce }
func (g *granted) GetRedirectURI() string                { return "" }
func (g *granted) GetResponseType() oidc.ResponseType    { return oidc.ResponseTypeCode }
func (g *granted) GetResponseMode() oidc.ResponseMode    { return oidc.ResponseModeQuery }
func (g *granted) GetScopes() []string                   { return g.scopes }
func (g *granted) GetState() string                      { return "" }
func (g *granted) GetSubject() string                    { return g.family.UserID }
func (g *granted) Done() bool                            { return false }
