package idp

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/mcpd/mcpd/idp/passkey"
)

// passkeyForm is a form that a script fills in with what the browser's passkeys say.
type passkeyForm struct {
	Options string
	Sealed  string
}

// ceremony is what the browser was asked. Sealed, it is bound to the browser and to whom it is for; it is good once.
type ceremony struct {
	State   []byte `json:"state"`
	User    string `json:"user"` // "" for whoever it may be
	Browser Digest `json:"browser"`
	Created int64  `json:"created"` // Unix milliseconds
}

const (
	sealedNewPasskey = "new passkey"
	sealedPasskey    = "passkey"
)

func personOf(u User, factors []Factor) passkey.Person {
	p := passkey.Person{ID: u.ID, Name: u.Name}
	for _, f := range factors {
		if f.Kind == Passkey {
			p.Credentials = append(p.Credentials, f.Data)
		}
	}
	return p
}

// offerPasskey has a new passkey made; nil where there are none.
func (i *Issuer) offerPasskey(w http.ResponseWriter, r *http.Request, u User, factors []Factor) (*passkeyForm, error) {
	if i.passkeys == nil {
		return nil, nil
	}
	c, err := i.passkeys.Create(personOf(u, factors))
	if err != nil {
		return nil, err
	}
	return i.sealCeremony(w, r, sealedNewPasskey, c, u.ID)
}

// askPasskey asks somebody for a passkey of theirs; nil means whoever it may be.
func (i *Issuer) askPasskey(w http.ResponseWriter, r *http.Request, u *User, factors []Factor) (*passkeyForm, error) {
	if i.passkeys == nil {
		return nil, nil
	}
	var p passkey.Person
	if u != nil {
		p = personOf(*u, factors)
	}
	c, err := i.passkeys.Ask(p)
	if err != nil {
		return nil, err
	}
	return i.sealCeremony(w, r, sealedPasskey, c, p.ID)
}

func (i *Issuer) sealCeremony(w http.ResponseWriter, r *http.Request, purpose string, c passkey.Ceremony, user string) (*passkeyForm, error) {
	b, err := json.Marshal(ceremony{State: c.State, User: user, Browser: DigestOf(i.cookies.ensureBrowser(w, r)), Created: i.now().UnixMilli()})
	if err != nil {
		return nil, err
	}
	return &passkeyForm{Options: c.Options, Sealed: i.keys.seal(purpose, b)}, nil
}

var errCeremony = errors.New("not a ceremony of this browser and person, too old, or used already")

// takeCeremony uses one up.
func (i *Issuer) takeCeremony(r *http.Request, purpose, user string) (ceremony, error) {
	var c ceremony
	sealed := r.PostFormValue("ceremony")
	b, err := i.keys.open(purpose, sealed)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	browser, ok := i.cookies.browser(r)
	if err != nil || !ok || DigestOf(browser) != c.Browser || c.User != user || i.now().Sub(time.UnixMilli(c.Created)) > passkey.Timeout {
		return c, errCeremony
	}
	err = i.store.Tokens().Spend(r.Context(), DigestOf(sealed), i.now().Add(2*passkey.Timeout))
	if errors.Is(err, ErrSpent) {
		err = errCeremony
	}
	return c, err
}

// addPasskey keeps the one that the browser has made.
func (i *Issuer) addPasskey(r *http.Request, u User) error {
	c, err := i.takeCeremony(r, sealedNewPasskey, u.ID)
	if err != nil {
		return err
	}
	factors, err := i.store.Factors().Of(r.Context(), u.ID)
	if err != nil {
		return err
	}
	made, err := i.passkeys.Created(personOf(u, factors), c.State, r.PostFormValue("answer"))
	if err != nil {
		return err
	}
	label := "Passkey of " + agentInWords(r.UserAgent())
	err = i.store.Factors().Put(r.Context(), Factor{ID: newID("fac"), UserID: u.ID, Kind: Passkey, Label: label, Handle: made.Handle, Data: made.Data, Created: i.now()}, maxFactors)
	if err == nil {
		i.log.Info("passkey added", zap.String("user", u.Name))
	}
	return err
}

// usePasskey says whose passkey answered. User is whom it was asked of, "" for whoever it may be.
func (i *Issuer) usePasskey(r *http.Request, user string) (User, error) {
	c, err := i.takeCeremony(r, sealedPasskey, user)
	if err != nil {
		return User{}, err
	}
	var f Factor
	var u User
	got, err := i.passkeys.Answered(c.State, r.PostFormValue("answer"), func(handle string) (p passkey.Person, err error) {
		if f, err = i.store.Factors().ByHandle(r.Context(), handle); err != nil {
			return p, err
		}
		a, err := i.store.Users().ByID(r.Context(), f.UserID)
		if err != nil {
			return p, err
		}
		u = a.User
		factors, err := i.store.Factors().Of(r.Context(), u.ID)
		return personOf(u, factors), err
	})
	if err != nil {
		return User{}, err
	}
	if user != "" && u.ID != user {
		return User{}, errCeremony
	}
	return u, i.store.Factors().Use(r.Context(), f.ID, f.Step+1, got.Data, i.now())
}

// servePasskey takes what a passkey says, as the whole of a sign-in, or as the second step of one.
func (i *Issuer) servePasskey(w http.ResponseWriter, r *http.Request) error {
	session, err := i.session(r)
	if err != nil {
		return err
	}
	if err := i.checkForm(r, session); err != nil {
		return err
	}
	if i.passkeys == nil {
		return &shown{status: http.StatusNotFound, title: "There are no passkeys here", text: "Browsers keep them for names, and this address is a number."}
	}
	if r.PostFormValue("half") != "" {
		return i.passkeySecond(w, r)
	}
	page, _, err := i.loginPage(w, r)
	if err != nil {
		return err
	}
	if !i.visitors.take(addressOf(r.RemoteAddr), i.now()) {
		page.Problem = "There were too many tries. Wait a minute."
		return i.pages.login.show(w, http.StatusTooManyRequests, page)
	}
	u, err := i.usePasskey(r, "")
	if err != nil {
		if r.Context().Err() != nil {
			return err
		}
		i.counts.signIns[passkeyWrong].Add(1)
		i.log.Info("passkey refused", zap.String("address", addressOf(r.RemoteAddr)), zap.Error(err))
		page.Problem = "This passkey is not one that is known here. Use another, or sign in with your password."
		return i.pages.login.show(w, http.StatusForbidden, page)
	}
	i.counts.signIns[byPasskey].Add(1)
	return i.admit(w, r, u, "passkey", page.after())
}

func (i *Issuer) passkeySecond(w http.ResponseWriter, r *http.Request) error {
	h, u, err := i.openHalf(r)
	if err != nil {
		return err
	}
	factors, _, err := i.factors(r.Context(), u.ID)
	if err != nil {
		return err
	}
	if len(factors) == 0 { // who must have something makes it now
		err = i.addPasskey(r, u)
	} else {
		_, err = i.usePasskey(r, u.ID)
	}
	if err != nil {
		if r.Context().Err() != nil {
			return err
		}
		i.counts.signIns[passkeyWrong].Add(1)
		i.log.Info("passkey refused", zap.String("user", u.Name), zap.Error(err))
		return i.showSecond(w, r, u, http.StatusForbidden, "That did not work. Try again, or use another way.")
	}
	i.counts.signIns[byPasskey].Add(1)
	return i.admit(w, r, u, h.Method+" and passkey", h.after())
}
