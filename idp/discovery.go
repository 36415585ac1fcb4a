package idp

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// metadata is one document for both standards, RFC 8414 and OpenID Connect Discovery:
// clients read whichever they find first, and both must say the same. It says what is there, and nothing else.
type metadata struct {
	oidc.DiscoveryConfiguration
	Iss  bool   `json:"authorization_response_iss_parameter_supported"` // RFC 9207 §3
	Push string `json:"pushed_authorization_request_endpoint"`          // RFC 9126 §5

	Profiles []string `json:"authorization_grant_profiles_supported,omitempty"` // of the JWT bearer grant (MCP enterprise-managed authorization)
}

// authMethods are the ways a client may prove itself at the token endpoint.
func authMethods() []oidc.AuthMethod {
	return []oidc.AuthMethod{oidc.AuthMethodNone, oidc.AuthMethodBasic, oidc.AuthMethodPost, oidc.AuthMethodPrivateKeyJWT}
}

// signatures are the algorithms of a client's assertion.
func signatures() []string {
	var names []string
	for _, a := range assertionAlgorithms() {
		names = append(names, string(a))
	}
	return names
}

func (i *Issuer) discovery() ([]byte, error) {
	m := metadata{
		DiscoveryConfiguration: oidc.DiscoveryConfiguration{
			Issuer:                i.issuer,
			AuthorizationEndpoint: i.url(pathAuthorize),
			TokenEndpoint:         i.url(pathToken),
			UserinfoEndpoint:      i.url(pathUserinfo),
			EndSessionEndpoint:    i.url(pathEnd),
			RevocationEndpoint:    i.url(pathRevoke),
			IntrospectionEndpoint: i.url(pathIntrospect),
			IntrospectionEndpointAuthMethodsSupported: authMethods()[1:], // a public client cannot prove itself
			JwksURI:                                    i.url(pathKeys),
			ScopesSupported:                            supportedScopes,
			ResponseTypesSupported:                     []string{string(oidc.ResponseTypeCode)},
			ResponseModesSupported:                     []string{string(oidc.ResponseModeQuery)},
			GrantTypesSupported:                        []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken},
			SubjectTypesSupported:                      []string{"public"},
			IDTokenSigningAlgValuesSupported:           []string{"ES256"},
			TokenEndpointAuthMethodsSupported:          authMethods(),
			TokenEndpointAuthSigningAlgValuesSupported: signatures(),
			RevocationEndpointAuthMethodsSupported:     authMethods(),
			ClaimsSupported:                            []string{"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "amr", "azp", "at_hash", "c_hash", "name", "preferred_username"},
			CodeChallengeMethodsSupported:              []oidc.CodeChallengeMethod{oidc.CodeChallengeMethodS256},
		},
		Iss: true, Push: i.url(pathPush),
	}
	if i.config.Device {
		m.DeviceAuthorizationEndpoint = i.url(pathDeviceAuthorization)
		m.GrantTypesSupported = append(m.GrantTypesSupported, oidc.GrantTypeDeviceCode)
	}
	clients := slices.Collect(maps.Values(i.config.Clients))
	if slices.ContainsFunc(clients, func(c ClientConfig) bool { return c.Service }) {
		m.GrantTypesSupported = append(m.GrantTypesSupported, oidc.GrantTypeClientCredentials)
	}
	if slices.ContainsFunc(clients, func(c ClientConfig) bool { return len(c.Exchange) > 0 }) {
		m.GrantTypesSupported = append(m.GrantTypesSupported, oidc.GrantTypeTokenExchange)
	}
	if i.takesAssertions() {
		m.GrantTypesSupported = append(m.GrantTypesSupported, oidc.GrantTypeBearer)
		m.Profiles = []string{profileIDJAG}
	}
	m.ClientIDMetadataDocumentSupported = !i.config.Documents.Disabled && len(i.config.Documents.Allow) > 0 // else a client tries, and does not register
	if !i.config.Registration.Disabled {
		m.RegistrationEndpoint = i.url(pathRegister)
	}
	return json.MarshalIndent(m, "", "  ")
}

// Metadata serves the RFC 8414 document, whatever the path: the oldest clients look for it beside each server.
func (i *Issuer) Metadata() http.Handler {
	return i.forPrograms(route{class: open, methods: map[string]handler{http.MethodGet: i.serveMetadata}})
}

func (i *Issuer) serveMetadata(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("Content-Length", strconv.Itoa(len(i.metadata)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(i.metadata) // a client that left is no error
	}
	return nil
}
