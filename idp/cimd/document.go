package cimd

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Document is what a client says of itself.
type Document struct {
	ID                 string          `json:"client_id"`
	Name               string          `json:"client_name"`
	RedirectURIs       []string        `json:"redirect_uris"`
	LogoutRedirectURIs []string        `json:"post_logout_redirect_uris"`
	AuthMethod         string          `json:"token_endpoint_auth_method"`
	GrantTypes         []string        `json:"grant_types"`
	ResponseTypes      []string        `json:"response_types"`
	URI                string          `json:"client_uri"`
	SoftwareID         string          `json:"software_id"`
	AppType            string          `json:"application_type"`
	Keys               json.RawMessage `json:"jwks"`
	KeysURI            string          `json:"jwks_uri"`

	// Fresh is until when the document need not be fetched again. It is not part of the document.
	Fresh time.Time `json:"-"`
}

// maxID bounds a client identifier, in bytes.
const maxID = 1024

// CheckID says whether a client_id is the URL of a document: https, with a host and a path, without fragment,
// user name or dot segments. The error's text is for the client's developer.
func CheckID(id string) error {
	if len(id) > maxID {
		return errors.New("the client_id is too long")
	}
	for n := range len(id) {
		if c := id[n]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}#", c) >= 0 {
			return errors.New("the client_id has a character that a URL of a document does not have")
		}
	}
	u, err := url.Parse(id)
	switch {
	case err != nil || u.Scheme != "https" || u.Opaque != "" || u.Hostname() == "":
		return errors.New("the client_id is not an https URL")
	case !strings.HasPrefix(id, "https://"+u.Host):
		return errors.New("the client_id must be written as URLs are: https in lower case, then the host")
	case u.User != nil:
		return errors.New("the client_id must have no user name")
	case u.Path == "":
		return errors.New("the client_id must have a path")
	}
	for segment := range strings.SplitSeq(u.Path, "/") { // decoded: %2e is a dot
		if segment == "." || segment == ".." {
			return errors.New("the client_id must have no dot segments")
		}
	}
	return nil
}

// IsID reports whether a client_id means a document at all; no other kind of identifier begins so.
func IsID(id string) bool { return strings.HasPrefix(id, "https://") }

// Parse reads the document that was found at id. Its errors are for the client's developer.
func Parse(id string, body []byte) (Document, error) {
	var d Document
	var forbidden struct {
		Secret  any `json:"client_secret"`
		Expires any `json:"client_secret_expires_at"`
	}
	if json.Unmarshal(body, &d) != nil || json.Unmarshal(body, &forbidden) != nil {
		return d, errors.New("the document is not a JSON object of client metadata")
	}
	switch {
	case d.ID != id: // as strings, not as URLs
		return d, errors.New("the client_id in the document is not the URL of the document")
	case strings.TrimSpace(d.Name) == "":
		return d, errors.New("the document has no client_name")
	case len(d.RedirectURIs) == 0:
		return d, errors.New("the document has no redirect_uris")
	case forbidden.Secret != nil || forbidden.Expires != nil:
		return d, errors.New("the document has a client_secret, and anybody can read it")
	case len(d.GrantTypes) > 0 && !slices.Contains(d.GrantTypes, "authorization_code"):
		return d, errors.New("grant_types must have authorization_code")
	case len(d.ResponseTypes) > 0 && !slices.Contains(d.ResponseTypes, "code"):
		return d, errors.New("response_types must have code")
	}
	return d, d.checkAuth()
}

// checkAuth refuses every way of authentication that shares a secret: a document has none to share.
func (d *Document) checkAuth() error {
	switch d.AuthMethod {
	case "", "none":
		d.AuthMethod, d.Keys, d.KeysURI = "none", nil, ""
		return nil
	case "private_key_jwt":
	default:
		return errors.New("token_endpoint_auth_method must be none or private_key_jwt")
	}
	if (len(d.Keys) > 0) == (d.KeysURI != "") {
		return errors.New("private_key_jwt needs either jwks or jwks_uri")
	}
	if d.KeysURI != "" {
		if err := CheckID(d.KeysURI); err != nil {
			return fmt.Errorf("jwks_uri: it must be an https URL")
		}
	}
	return nil
}

// IDOf reads which client a document is about, for one that was not found at its URL.
func IDOf(body []byte) (string, error) {
	var d struct {
		ID string `json:"client_id"`
	}
	if err := json.Unmarshal(body, &d); err != nil {
		return "", errors.New("it is not a JSON object of client metadata")
	}
	return d.ID, CheckID(d.ID)
}
