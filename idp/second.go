package idp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"
)

// half is a sign-in whose first step is done, and whose second is not. It travels through the page sealed: nobody has a
// session, or anything else, before both are.
type half struct {
	User    string `json:"user"`
	Method  string `json:"method"`
	Proof   Digest `json:"proof"` // of the password's hash: who changes it ends what began with the old one
	Browser Digest `json:"browser"`
	Created int64  `json:"created"` // Unix milliseconds
	For     string `json:"for"`     // the query of the sign-in page
}

const (
	sealedHalf = "first step of a sign-in"
	halfTTL    = 10 * time.Minute
)

// Values of Config.SecondStep.
const (
	secondOffered  = "offered"
	secondRequired = "required"
)

// secondPage asks for the second step, or has somebody set one up who must have one.
type secondPage struct {
	form
	Half    string
	User    string
	Problem string
	Codes   bool         // they have an app that shows codes
	Passkey *passkeyForm // they have a passkey, or may make one
	Setup   *totpSetup   // they have neither, and must

	Recovery bool // they have recovery codes
	Typed    bool // and typed one
}

func (p *secondPage) scripted() bool { return p.Passkey != nil }

// proceed follows the first step of a sign-in: to the second, or in. Whom a provider vouches for has none here: the
// provider sees to it.
func (i *Issuer) proceed(w http.ResponseWriter, r *http.Request, u User, method string, page loginPage) error {
	factors, _, err := i.factors(r.Context(), u.ID)
	if err != nil {
		return err
	}
	if len(factors) == 0 && i.config.SecondStep != secondRequired {
		return i.admit(w, r, u, method, page.after())
	}
	a, err := i.store.Users().ByID(r.Context(), u.ID)
	if err != nil {
		return err
	}
	b, err := json.Marshal(half{
		User: u.ID, Method: method, Proof: DigestOf(a.Password), Browser: DigestOf(i.cookies.ensureBrowser(w, r)), Created: i.now().UnixMilli(), For: page.query().Encode(),
	})
	if err != nil {
		return err
	}
	http.Redirect(w, r, pathSecond+"?"+url.Values{"half": {i.keys.seal(sealedHalf, b)}}.Encode(), http.StatusSeeOther)
	return nil
}

// admit signs somebody in who has shown all that they must.
func (i *Issuer) admit(w http.ResponseWriter, r *http.Request, u User, method, to string) error {
	if err := i.startSession(w, r, u, method); err != nil {
		return err
	}
	i.log.Info("signed in", zap.String("user", u.Name), zap.String("by", method))
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// openHalf refuses a first step that is too old, or of another browser.
func (i *Issuer) openHalf(r *http.Request) (half, User, error) {
	var h half
	over := &shown{status: http.StatusBadRequest, title: "This took too long", text: "The sign-in is no longer valid. Go back to where you started and try again."}
	b, err := i.keys.open(sealedHalf, r.FormValue("half"))
	if err == nil {
		err = json.Unmarshal(b, &h)
	}
	if err != nil || i.now().Sub(time.UnixMilli(h.Created)) > halfTTL {
		return h, User{}, over
	}
	if browser, ok := i.cookies.browser(r); !ok || DigestOf(browser) != h.Browser {
		return h, User{}, &shown{status: http.StatusForbidden, title: "This sign-in began in another browser", text: "Go back to where you started and try again, with cookies allowed."}
	}
	a, err := i.store.Users().ByID(r.Context(), h.User)
	if errors.Is(err, ErrNotFound) || err == nil && DigestOf(a.Password) != h.Proof {
		return h, User{}, over
	}
	return h, a.User, err
}

// after is where it goes on.
func (h half) after() string {
	q, err := url.ParseQuery(h.For)
	if err != nil {
		return pathAccount
	}
	p := loginPage{Device: q.Has("device"), Code: q.Get("device")}
	p.Req = q.Get("req")
	return p.after()
}

// serveSecond asks for the second step.
func (i *Issuer) serveSecond(w http.ResponseWriter, r *http.Request) error {
	_, u, err := i.openHalf(r)
	if err != nil {
		return err
	}
	return i.showSecond(w, r, u, http.StatusOK, "")
}

func (i *Issuer) showSecond(w http.ResponseWriter, r *http.Request, u User, status int, problem string) error {
	factors, recovery, err := i.factors(r.Context(), u.ID)
	if err != nil {
		return err
	}
	session, err := i.session(r)
	if err != nil {
		return err
	}
	page := &secondPage{Half: r.FormValue("half"), User: u.Name, Problem: problem, Recovery: recovery.left() > 0 && len(factors) > 0, Typed: r.PostFormValue("recovery") != ""}
	page.leaves = true // on to the client
	page.CSRF = i.formToken(i.cookies.ensureBrowser(w, r), session)
	keys := 0
	for _, f := range factors {
		if f.Kind == TOTP {
			page.Codes = true
		} else {
			keys++
		}
	}
	if len(factors) == 0 {
		if page.Setup, err = i.newSetup(u, r.PostFormValue("setup")); err != nil {
			return err
		}
		page.Passkey, err = i.offerPasskey(w, r, u, nil)
	} else if keys > 0 {
		page.Passkey, err = i.askPasskey(w, r, &u, factors)
	}
	if err != nil {
		return err
	}
	return i.pages.second.show(w, status, page)
}

// serveSecondStep takes a code: of the app that somebody has, or of the one that they are setting up.
func (i *Issuer) serveSecondStep(w http.ResponseWriter, r *http.Request) error {
	session, err := i.session(r)
	if err != nil {
		return err
	}
	if err := i.checkForm(r, session); err != nil {
		return err
	}
	h, u, err := i.openHalf(r)
	if err != nil {
		return err
	}
	if !i.seconds.take(u.ID, i.now()) {
		i.counts.signIns[codeLater].Add(1)
		return i.showSecond(w, r, u, http.StatusTooManyRequests, "There were too many tries. Wait "+inWords(i.seconds.wait(u.ID, i.now()))+".")
	}
	ok, good, bad, by := false, bySecond, codeWrong, "code"
	if typed := r.PostFormValue("recovery"); typed != "" {
		good, bad, by = byRecovery, recoveryWrong, "recovery code"
		ok, err = i.useRecovery(r.Context(), u, typed)
	} else {
		ok, err = i.checkCode(r.Context(), r, u)
	}
	if err != nil {
		return err
	}
	if !ok {
		i.counts.signIns[bad].Add(1)
		i.log.Info("second step refused", zap.String("user", u.Name), zap.String("address", addressOf(r.RemoteAddr)))
		problem := "This code is not right. Type the one that the app shows now; each works once."
		if bad == recoveryWrong {
			problem = "This recovery code is not right. Each works once."
		}
		return i.showSecond(w, r, u, http.StatusForbidden, problem)
	}
	i.seconds.forget(u.ID)
	i.counts.signIns[good].Add(1)
	return i.admit(w, r, u, h.Method+" and "+by, h.after())
}

// checkCode checks a code against what somebody has; or, if they have nothing, sets up the app that showed it.
func (i *Issuer) checkCode(ctx context.Context, r *http.Request, u User) (bool, error) {
	factors, _, err := i.factors(ctx, u.ID)
	if err != nil {
		return false, err
	}
	code := r.PostFormValue("code")
	if len(factors) == 0 {
		return i.addTOTP(ctx, u, r.PostFormValue("setup"), code)
	}
	for _, f := range factors {
		if f.Kind != TOTP {
			continue
		}
		step, ok := checkTOTP(f.Data, code, i.now(), f.Step)
		if !ok {
			continue
		}
		err := i.store.Factors().Use(ctx, f.ID, step, f.Data, i.now())
		if errors.Is(err, ErrSpent) || errors.Is(err, ErrNotFound) { // by another request, a moment ago
			return false, nil
		}
		return err == nil, err
	}
	return false, nil
}
