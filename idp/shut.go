package idp

import (
	"context"
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// errShut answers the methods of op.Storage that no route of ours reaches. They would
// make or accept tokens without the checks of code.go and refresh.go; should a new version of the library call one, it gets nothing.
var errShut = errors.New("this way to codes and tokens is shut")

func (s *storage) AuthRequestByID(context.Context, string) (op.AuthRequest, error) {
	return nil, errShut
}

func (s *storage) AuthRequestByCode(context.Context, string) (op.AuthRequest, error) {
	return nil, errShut
}

func (s *storage) SaveAuthCode(context.Context, string, string) error { return errShut }

func (s *storage) DeleteAuthRequest(context.Context, string) error { return errShut }

func (s *storage) CreateAccessToken(context.Context, op.TokenRequest) (string, time.Time, error) {
	return "", time.Time{}, errShut
}

func (s *storage) CreateAccessAndRefreshTokens(context.Context, op.TokenRequest, string) (string, string, time.Time, error) {
	return "", "", time.Time{}, errShut
}

func (s *storage) TokenRequestByRefreshToken(context.Context, string) (op.RefreshTokenRequest, error) {
	return nil, errShut
}

func (s *storage) TerminateSession(context.Context, string, string) error { return errShut }

func (s *storage) RevokeToken(context.Context, string, string, string) *oidc.Error {
	return oidc.ErrServerError().WithParent(errShut)
}

func (s *storage) GetRefreshTokenInfo(context.Context, string, string) (string, string, error) {
	return "", "", errShut
}

func (s *storage) AuthorizeClientIDSecret(context.Context, string, string) error { return errShut }

func (s *storage) SetUserinfoFromToken(context.Context, *oidc.UserInfo, string, string, string) error {
	return errShut
}

func (s *storage) SetIntrospectionFromToken(context.Context, *oidc.IntrospectionResponse, string, string, string) error {
	return errShut
}

func (s *storage) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, errShut
}

func (s *storage) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errShut
}

func (s *storage) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errShut
}
