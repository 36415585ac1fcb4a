package idp

import (
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// opClient is a Client as the library sees it.
type opClient struct {
	client Client
	issuer *Issuer
}

var _ op.Client = opClient{}

// methodSigned is how a client proves itself with a key of its own: private_key_jwt.
const methodSigned = string(oidc.AuthMethodPrivateKeyJWT)

// idTokenTTL is how long an ID token is good for. It says who signed in, once; it opens nothing.
const idTokenTTL = 5 * time.Minute

func (c opClient) GetID() string                        { return c.client.ID }
func (c opClient) RedirectURIs() []string               { return c.client.RedirectURIs }
func (c opClient) PostLogoutRedirectURIs() []string     { return c.client.LogoutURIs }
func (c opClient) AuthMethod() oidc.AuthMethod          { return oidc.AuthMethod(c.client.AuthMethod) }
func (c opClient) AccessTokenType() op.AccessTokenType  { return op.AccessTokenTypeBearer }
func (c opClient) IDTokenLifetime() time.Duration       { return idTokenTTL }
func (c opClient) DevMode() bool                        { return false }
func (c opClient) IDTokenUserinfoClaimsAssertion() bool { return true }
func (c opClient) ClockSkew() time.Duration             { return 0 }

// ApplicationType is native for all: the library then lets loopback ports vary and private-use
// schemes be. matchRedirect, which is stricter, has decided before.
func (c opClient) ApplicationType() op.ApplicationType { return op.ApplicationTypeNative }

func (c opClient) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}

func (c opClient) GrantTypes() []oidc.GrantType {
	grants := []oidc.GrantType{oidc.GrantTypeRefreshToken}
	if len(c.client.RedirectURIs) > 0 {
		grants = append(grants, oidc.GrantTypeCode)
	}
	if c.issuer.config.Device {
		grants = append(grants, oidc.GrantTypeDeviceCode)
	}
	if c.client.Service {
		grants = append(grants, oidc.GrantTypeClientCredentials)
	}
	if len(c.client.Exchange) > 0 {
		grants = append(grants, oidc.GrantTypeTokenExchange)
	}
	slices.Sort(grants)
	return grants
}

func grantNames(grants []oidc.GrantType) []string {
	names := make([]string, len(grants))
	for n, g := range grants {
		names[n] = string(g)
	}
	return names
}

// LoginURL is where the browser goes with a request that was found good: to the dispatcher.
func (c opClient) LoginURL(sealed string) string { return joinPath(pathContinue, sealed) }

func (c opClient) RestrictAdditionalIdTokenScopes() func([]string) []string { return same }

func (c opClient) RestrictAdditionalAccessTokenScopes() func([]string) []string { return same }

func (c opClient) IsScopeAllowed(scope string) bool { return hasScope(supportedScopes, scope) }

func same(scopes []string) []string { return scopes }
