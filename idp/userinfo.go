package idp

import (
	"errors"
	"net/http"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// serveUserinfo tells a client with the openid scope who signed in (OpenID Connect Core
// §5.3). It takes the token of any server: what it tells is what the ID token told.
func (i *Issuer) serveUserinfo(w http.ResponseWriter, r *http.Request) error {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		w.Header().Set("WWW-Authenticate", `Bearer realm="mcpd"`)
		return &apiError{status: http.StatusUnauthorized, Code: codeInvalidRequest, Text: "send the access token in the Authorization header"}
	}
	h, err := i.holder(r.Context(), token)
	if errors.Is(err, ErrInvalidToken) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="mcpd", error="invalid_token"`)
		return &apiError{status: http.StatusUnauthorized, Code: "invalid_token", Text: "the access token is not valid"}
	}
	if err != nil {
		return err
	}
	if !hasScope(h.grant.Scopes, oidc.ScopeOpenID) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="mcpd", error="insufficient_scope", scope="openid"`)
		return &apiError{status: http.StatusForbidden, Code: "insufficient_scope", Text: "this needs the openid scope"}
	}
	var info oidc.UserInfo
	describe(&info, h.user, h.grant.Scopes)
	writeJSON(w, http.StatusOK, &info)
	return nil
}
