package idp

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"go.uber.org/zap"
)

// registration is client metadata (RFC 7591 §2) as it comes in, and goes out completed.
// What is not listed is ignored: nothing that a client says is fetched or shown but its name.
type registration struct {
	ClientID        string   `json:"client_id,omitempty"`
	IssuedAt        int64    `json:"client_id_issued_at,omitempty"`
	Secret          string   `json:"client_secret,omitempty"`
	SecretExpires   *int64   `json:"client_secret_expires_at,omitempty"` // 0: never; there when there is a secret
	AccessToken     string   `json:"registration_access_token,omitempty"`
	ManagementURI   string   `json:"registration_client_uri,omitempty"`
	Name            string   `json:"client_name,omitempty"`
	RedirectURIs    []string `json:"redirect_uris,omitempty"`
	LogoutURIs      []string `json:"post_logout_redirect_uris,omitempty"`
	AuthMethod      string   `json:"token_endpoint_auth_method,omitempty"`
	GrantTypes      []string `json:"grant_types,omitempty"`
	ResponseTypes   []string `json:"response_types,omitempty"`
	Scope           string   `json:"scope,omitempty"`
	URI             string   `json:"client_uri,omitempty"`
	SoftwareID      string   `json:"software_id,omitempty"`
	ApplicationType string   `json:"application_type,omitempty"`
}

// Bounds of a registration. Cursor registers three redirect URIs at once.
const (
	maxRegistration = 16 << 10 // bytes
	maxRedirects    = 10
	maxClientName   = 80 // characters
	maxMetadata     = 512
)

// serveRegister is the registration endpoint (RFC 7591 §3). Anybody may register: it is the consent that protects people.
func (i *Issuer) serveRegister(w http.ResponseWriter, r *http.Request) error {
	if i.config.Registration.Disabled {
		return &apiError{status: http.StatusForbidden, Code: codeAccessDenied, Text: "clients cannot register themselves here"}
	}
	address, now := addressOf(r.RemoteAddr), i.now()
	if !i.comers.take(address, now) {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(i.comers.wait(address, now).Seconds()))))
		return &apiError{status: http.StatusTooManyRequests, Code: codeUnavailable, Text: "too many registrations from this address; try again later"}
	}
	in, err := readRegistration(w, r)
	if err != nil {
		return err
	}
	c, err := i.newClient(in)
	if err != nil {
		return err
	}
	manage := newSecret(prefixManage)
	c.ID, c.Kind, c.Created, c.Manage = newID("cli"), Registered, now, DigestOf(manage)
	out := i.describeClient(c)
	out.AccessToken = manage
	if c.AuthMethod != string(oidc.AuthMethodNone) {
		out.Secret, out.SecretExpires = newSecret(prefixClient), new(int64)
		c.Secret = DigestOf(out.Secret)
	}
	err = i.store.Clients().Create(r.Context(), c, i.config.Registration.Max)
	if errors.Is(err, ErrFull) {
		return &apiError{status: http.StatusServiceUnavailable, Code: codeUnavailable, Text: "no more clients can register here"}
	}
	if err != nil {
		return err
	}
	i.log.Info("client registered", zap.String("client", c.ID), zap.String("name", c.Name))
	writeJSON(w, http.StatusCreated, out)
	return nil
}

func readRegistration(w http.ResponseWriter, r *http.Request) (registration, error) {
	var in registration
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return in, &apiError{status: http.StatusUnsupportedMediaType, Code: codeInvalidMetadata, Text: "want application/json"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRegistration))
	var tooBig *http.MaxBytesError
	if errors.As(err, &tooBig) {
		return in, &apiError{status: http.StatusRequestEntityTooLarge, Code: codeInvalidMetadata, Text: "a registration has at most 16 KiB"}
	}
	if err != nil {
		return in, &apiError{status: http.StatusBadRequest, Code: codeInvalidRequest, Text: "the body could not be read"}
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return in, invalidMetadata("the body is not a JSON object of client metadata")
	}
	return in, nil
}

// newClient checks what a client says of itself and completes it (RFC 7591 §2).
func (i *Issuer) newClient(in registration) (Client, error) {
	c := Client{Name: cleanName(in.Name), RedirectURIs: in.RedirectURIs, AuthMethod: in.AuthMethod, SoftwareID: clip(in.SoftwareID, maxMetadata), AppType: in.ApplicationType}
	switch c.AuthMethod {
	case "": // RFC 7591 says client_secret_basic; but the clients that leave it out are public ones, and a secret would be one more thing to leak
		c.AuthMethod = string(oidc.AuthMethodNone)
	case string(oidc.AuthMethodNone), string(oidc.AuthMethodBasic), string(oidc.AuthMethodPost):
	default:
		return c, invalidMetadata("token_endpoint_auth_method must be none, client_secret_basic or client_secret_post")
	}
	redirects := len(in.GrantTypes) == 0 || slices.Contains(in.GrantTypes, string(oidc.GrantTypeCode))
	if !redirects && !(i.config.Device && slices.Contains(in.GrantTypes, string(oidc.GrantTypeDeviceCode))) {
		return c, invalidMetadata("grant_types must have authorization_code")
	}
	if len(in.ResponseTypes) > 0 && !slices.Contains(in.ResponseTypes, string(oidc.ResponseTypeCode)) {
		return c, invalidMetadata("response_types must have code")
	}
	if c.AppType != "" && c.AppType != "native" && c.AppType != "web" {
		return c, invalidMetadata("application_type must be native or web")
	}
	if httpsURL(in.URI) {
		c.URI = in.URI
	}
	c.LogoutURIs = in.LogoutURIs
	if err := checkLogoutURIs(c.LogoutURIs); err != nil {
		return c, invalidMetadata(err.Error())
	}
	if len(c.RedirectURIs) == 0 && redirects || len(c.RedirectURIs) > maxRedirects {
		return c, &apiError{status: http.StatusBadRequest, Code: codeInvalidRedirect, Text: fmt.Sprintf("there must be one to %d redirect_uris", maxRedirects)}
	}
	for n, uri := range c.RedirectURIs {
		if err := checkRedirect(uri, i.config.Registration.Schemes); err != nil {
			return c, &apiError{status: http.StatusBadRequest, Code: codeInvalidRedirect, Text: fmt.Sprintf("redirect_uris[%d]: %s", n, err)}
		}
		if !slices.ContainsFunc(i.config.Registration.Allow, func(pattern string) bool { return matchGlob(pattern, uri) }) {
			return c, &apiError{status: http.StatusForbidden, Code: codeInvalidRedirect, Text: fmt.Sprintf("redirect_uris[%d]: the operator does not let such clients register", n)}
		}
	}
	if c.Name == "" {
		c.Name = "A program without a name"
	}
	return c, nil
}

func invalidMetadata(text string) error {
	return &apiError{status: http.StatusBadRequest, Code: codeInvalidMetadata, Text: text}
}

// cleanName keeps a client from showing more than a name: no control or direction characters, no lines, not long.
func cleanName(name string) string {
	var b strings.Builder
	n := 0
	for _, r := range strings.Join(strings.Fields(name), " ") {
		if r == utf8.RuneError || r != ' ' && !unicode.IsPrint(r) || unicode.Is(unicode.Bidi_Control, r) {
			continue
		}
		if n++; n > maxClientName {
			b.WriteString("…")
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

// describeClient is the client information response (RFC 7591 §3.2.1), without the secrets, which are told once.
func (i *Issuer) describeClient(c Client) registration {
	return registration{
		ClientID: c.ID, IssuedAt: c.Created.Unix(), ManagementURI: i.url(pathRegister) + "/" + c.ID,
		Name: c.Name, RedirectURIs: c.RedirectURIs, LogoutURIs: c.LogoutURIs, AuthMethod: c.AuthMethod,
		GrantTypes:    grantNames(opClient{c, i}.GrantTypes()),
		ResponseTypes: []string{string(oidc.ResponseTypeCode)},
		Scope:         sentence(supportedScopes), URI: c.URI, SoftwareID: c.SoftwareID, ApplicationType: c.AppType,
	}
}

// serveRegistration reads a registration back (RFC 7592 §2.1).
func (i *Issuer) serveRegistration(w http.ResponseWriter, r *http.Request) error {
	c, err := i.managed(w, r)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, i.describeClient(c))
	return nil
}

// serveReregister replaces what a client says of itself (RFC 7592 §2.2). Who agreed to what it was is asked again.
func (i *Issuer) serveReregister(w http.ResponseWriter, r *http.Request) error {
	old, err := i.managed(w, r)
	if err != nil {
		return err
	}
	in, err := readRegistration(w, r)
	if err != nil {
		return err
	}
	secret := DigestOf(in.Secret)
	if in.ClientID != old.ID || in.Secret != "" && subtle.ConstantTimeCompare(secret[:], old.Secret[:]) != 1 {
		return &apiError{status: http.StatusBadRequest, Code: codeInvalidRequest, Text: "client_id and client_secret must be those of the client"}
	}
	c, err := i.newClient(in)
	if err != nil {
		return err
	}
	c.ID, c.Kind, c.Created, c.Used, c.Manage, c.Secret = old.ID, old.Kind, old.Created, old.Used, old.Manage, old.Secret
	out := i.describeClient(c)
	switch {
	case c.AuthMethod == string(oidc.AuthMethodNone):
		c.Secret = Digest{}
	case old.AuthMethod == string(oidc.AuthMethodNone):
		out.Secret, out.SecretExpires = newSecret(prefixClient), new(int64)
		c.Secret = DigestOf(out.Secret)
	}
	if err := i.store.Clients().Update(r.Context(), c); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

// serveUnregister removes a client with all its tokens (RFC 7592 §2.3).
func (i *Issuer) serveUnregister(w http.ResponseWriter, r *http.Request) error {
	c, err := i.managed(w, r)
	if err != nil {
		return err
	}
	if err := i.store.Clients().Delete(r.Context(), c.ID); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	i.cache.drop(func(h *held) bool { return h.grant.ClientID == c.ID })
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// managed authenticates a client by its registration access token. An unknown client and a wrong token look the same.
func (i *Issuer) managed(w http.ResponseWriter, r *http.Request) (Client, error) {
	c, err := i.store.Clients().Get(r.Context(), r.PathValue("client"))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return c, err
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got := DigestOf(token)
	if err != nil || !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], c.Manage[:]) != 1 {
		w.Header().Set("WWW-Authenticate", `Bearer realm="mcpd", error="invalid_token"`)
		return c, &apiError{status: http.StatusUnauthorized, Code: "invalid_token", Text: "the registration access token is not valid"}
	}
	return c, nil
}
