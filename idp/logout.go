package idp

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// logoutPage asks whether to sign out: a GET, which any page can cause, does not do it.
type logoutPage struct {
	form
	User   string // "" when nobody is signed in (any more)
	Client string // which asks for it; "" when the person came by themselves
	To     string // back to the client
}

// farewell is where a client wants a person who has signed out. It travels through the page sealed.
type farewell struct {
	ClientID string `json:"client"`
	To       string `json:"to"`
	Created  int64  `json:"created"` // Unix milliseconds
}

const sealedFarewell = "farewell"

// serveEndSession is where a client sends a person to sign out (OpenID Connect RP-Initiated Logout §2). The person is
// asked; back to the client it goes only if the client registered the address and shows an ID token of ours, or the
// operator knows it. Else whoever registers a client could send people anywhere by our name.
func (i *Issuer) serveEndSession(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return badRequest("It could not be read.", err)
	}
	client, err := i.leaving(r)
	if err != nil {
		return err
	}
	to := r.Form.Get("post_logout_redirect_uri")
	proven := client.Kind == Configured || r.Form.Get("id_token_hint") != ""
	if !proven || !slices.Contains(client.LogoutURIs, to) {
		http.Redirect(w, r, pathLogout, http.StatusSeeOther)
		return nil
	}
	if state := r.Form.Get("state"); state != "" {
		u, err := url.Parse(to)
		if err != nil {
			return err // it was good when it was registered
		}
		q := u.Query()
		q.Set("state", state)
		u.RawQuery = q.Encode()
		to = u.String()
	}
	b, err := json.Marshal(farewell{ClientID: client.ID, To: to, Created: i.now().UnixMilli()})
	if err != nil {
		return err
	}
	http.Redirect(w, r, joinPath(pathLogout, i.keys.seal(sealedFarewell, b)), http.StatusSeeOther)
	return nil
}

// leaving finds the client that sends a person, by the ID token it had of us, however old, or by its name; the zero Client when there is none.
func (i *Issuer) leaving(r *http.Request) (Client, error) {
	id := r.Form.Get("client_id")
	if hint := r.Form.Get("id_token_hint"); hint != "" {
		ctx := i.issuerContext(r.Context())
		claims, err := op.VerifyIDTokenHint[*oidc.TokenClaims](ctx, hint, i.server.provider.IDTokenHintVerifier(ctx))
		var old op.IDTokenHintExpiredError
		if err != nil && !errors.As(err, &old) || len(claims.Audience) != 1 || id != "" && id != claims.Audience[0] {
			return Client{}, badRequest("It shows a proof that is not valid.", err)
		}
		id = claims.Audience[0]
	}
	c, err := i.client(r.Context(), id)
	if errors.Is(err, ErrNotFound) {
		return Client{}, nil
	}
	return c, err
}

// openFarewell reads where a client wanted the person; the zero farewell when it did not say.
func (i *Issuer) openFarewell(r *http.Request) (farewell, string, error) {
	sealed := r.FormValue("req")
	if sealed == "" {
		return farewell{}, "", nil
	}
	var f farewell
	b, err := i.keys.open(sealedFarewell, sealed)
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	if err != nil || i.now().Sub(time.UnixMilli(f.Created)) > requestTTL {
		return farewell{}, "", badRequest("The link is incomplete, or too old.", err)
	}
	return f, sealed, nil
}

func (i *Issuer) serveLogout(w http.ResponseWriter, r *http.Request) error {
	session, err := i.session(r)
	if err != nil {
		return err
	}
	f, sealed, err := i.openFarewell(r)
	if err != nil {
		return err
	}
	page := logoutPage{To: f.To}
	if session != nil {
		page.User = session.User.Name
	}
	if f.To != "" {
		c, err := i.client(r.Context(), f.ClientID)
		if err != nil {
			return notKnown(err)
		}
		page.Client, page.Req, page.leaves = c.Name, sealed, true
	}
	page.CSRF = i.formToken(i.cookies.ensureBrowser(w, r), session)
	return i.pages.logout.show(w, http.StatusOK, page)
}

func (i *Issuer) serveSignOut(w http.ResponseWriter, r *http.Request) error {
	session, err := i.session(r)
	if err != nil {
		return err
	}
	if err := i.checkForm(r, session); err != nil {
		return err
	}
	f, _, err := i.openFarewell(r)
	if err != nil {
		return err
	}
	if err := i.endSession(w, r); err != nil {
		return err
	}
	if f.To == "" {
		f.To = pathLogout
	}
	http.Redirect(w, r, f.To, http.StatusSeeOther)
	return nil
}
