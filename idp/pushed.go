package idp

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/mcpd/mcpd/idp/cimd"
)

// pushed is an authorization request that came straight from the client (RFC 9126). Sealed, it is its own
// request_uri: nothing is stored, and the browser that carries it can neither read nor change it.
type pushed struct {
	ClientID string     `json:"client"`
	Form     url.Values `json:"form"`
	Expires  int64      `json:"expires"` // Unix milliseconds
}

const (
	pushedTTL    = 90 * time.Second
	pushedPrefix = "urn:ietf:params:oauth:request_uri:"
	sealedPushed = "pushed request"
	maxPushed    = 4 << 10 // bytes; sealed, it must fit into an authorization request
)

// servePush takes a request that a client pushes.
func (i *Issuer) servePush(w http.ResponseWriter, r *http.Request) error {
	r, err := formOf(r)
	if err != nil {
		return err
	}
	if len(r.PostForm.Encode()) > maxPushed {
		return &apiError{status: http.StatusRequestEntityTooLarge, Code: codeInvalidRequest, Text: "the request is too long"}
	}
	if err := i.acquaint(r); err != nil {
		return err
	}
	c, err := i.proven(w, r)
	if err != nil {
		return err
	}
	form := url.Values{}
	for name, v := range r.PostForm {
		if name != "client_secret" && name != "client_assertion" && name != "client_assertion_type" {
			form[name] = v
		}
	}
	form.Set("client_id", c.ID)
	if err := i.checkPushed(r, c, form); err != nil {
		return err
	}
	b, err := json.Marshal(pushed{ClientID: c.ID, Form: form, Expires: i.now().Add(pushedTTL).UnixMilli()})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, struct {
		URI     string `json:"request_uri"`
		Expires int64  `json:"expires_in"`
	}{pushedPrefix + i.keys.seal(sealedPushed, b), int64(pushedTTL / time.Second)})
	return nil
}

// checkPushed checks a request as the authorization endpoint will, so that its errors reach the client and no person (RFC 9126 §2.3).
func (i *Issuer) checkPushed(r *http.Request, c Client, form url.Values) error {
	_, redirectURI, err := parseTarget(form)
	if err == nil {
		err = checkReturn(c, redirectURI)
	}
	if err == nil {
		_, err = i.parseRequest(r.Context(), form)
	}
	return forPrograms(err)
}

// pulled is the form of an authorization request: what was pushed, if it refers to that, or what it says itself.
func (i *Issuer) pulled(form url.Values) (url.Values, error) {
	sealed, ok := strings.CutPrefix(form.Get("request_uri"), pushedPrefix)
	if !ok {
		return form, nil
	}
	var p pushed
	b, err := i.keys.open(sealedPushed, sealed)
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil || form.Get("client_id") != p.ClientID {
		return nil, badRequest("It refers to one that was not made here.", err)
	}
	if i.now().UnixMilli() > p.Expires {
		return nil, badRequest("It refers to one that is too old.", nil)
	}
	return p.Form, nil
}

// acquaint reads the document of a client that comes to an endpoint for programs before anybody began a sign-in with it.
func (i *Issuer) acquaint(r *http.Request) error {
	id, _, ok := r.BasicAuth()
	if !ok {
		id = r.PostForm.Get("client_id")
	} else if unescaped, err := url.QueryUnescape(id); err == nil {
		id = unescaped
	}
	if id == "" {
		id = claimedClient(r.PostForm.Get("client_assertion"))
	}
	if !cimd.IsID(id) {
		return nil
	}
	_, err := i.newest(r, id)
	if errors.Is(err, ErrNotFound) {
		return nil // proven says so
	}
	return forPrograms(err)
}

// credentials reads how a client proves itself, at the endpoints and grants whose clients the library does not authenticate.
func credentials(header http.Header, form url.Values) (*op.ClientCredentials, error) {
	cc := &op.ClientCredentials{
		ClientID: form.Get("client_id"), ClientSecret: form.Get("client_secret"),
		ClientAssertion: form.Get("client_assertion"), ClientAssertionType: form.Get("client_assertion_type"),
	}
	if id, secret, ok := (&http.Request{Header: header}).BasicAuth(); ok {
		var errID, errSecret error
		cc.ClientID, errID = url.QueryUnescape(id)
		if cc.ClientSecret, errSecret = url.QueryUnescape(secret); errors.Join(errID, errSecret) != nil || form.Has("client_secret") {
			return nil, oidc.ErrInvalidRequest().WithDescription("the client proves itself in one way, as one client")
		}
	}
	return cc, nil
}

// proven authenticates the client of an endpoint that the library does not know.
func (i *Issuer) proven(w http.ResponseWriter, r *http.Request) (Client, error) {
	cc, err := credentials(r.Header, r.PostForm)
	if err != nil {
		return Client{}, forPrograms(err)
	}
	c, err := i.server.VerifyClient(r.Context(), &op.Request[op.ClientCredentials]{Method: r.Method, URL: r.URL, Header: r.Header, Form: r.PostForm, Data: cc})
	if err != nil {
		if r.Header.Get("Authorization") != "" {
			w.Header().Set("WWW-Authenticate", `Basic realm="mcpd"`)
		}
		return Client{}, forPrograms(err)
	}
	return i.client(r.Context(), c.GetID())
}

// forPrograms turns errors that were made for people, for redirects and for the library into ones that programs read.
func forPrograms(err error) error {
	var page *shown
	var back *redirected
	var library *oidc.Error
	var status op.StatusError
	switch {
	case errors.As(err, &page):
		return &apiError{status: page.status, Code: codeInvalidRequest, Text: page.title + ": " + page.text}
	case errors.As(err, &back):
		return &apiError{status: http.StatusBadRequest, Code: back.code, Text: back.text}
	case errors.As(err, &library) && library.ErrorType != oidc.ServerError:
		e := &apiError{status: http.StatusBadRequest, Code: string(library.ErrorType), Text: library.Description}
		if errors.As(err, &status) {
			e.status = http.StatusUnauthorized
		}
		return e
	}
	return err
}
