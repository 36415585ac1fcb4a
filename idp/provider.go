package idp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/oauth2"

	"github.com/mcpd/mcpd/idp/upstream"
)

// attempt is a sign-in with a provider. Sealed, it is the state that travels there and back: it says in which
// browser it began, so that nobody can end in another's account, and what the sign-in was for.
type attempt struct {
	Provider string `json:"provider"`
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"`
	Browser  Digest `json:"browser"`
	Created  int64  `json:"created"` // Unix milliseconds
	For      string `json:"for"`     // the query of the sign-in page
}

const (
	sealedAttempt = "sign-in with a provider"
	maxState      = 7 << 10 // bytes of an address that every provider still takes
)

func (i *Issuer) newProviders(o Options) map[string]*upstream.Provider {
	all := make(map[string]*upstream.Provider, len(o.Config.Providers))
	for name, c := range o.Config.Providers {
		all[name] = upstream.New(name, c, i.url(pathFrom+name), o.Roots)
	}
	return all
}

// vouched reports whether the one who vouches for a person is there, and has been asked lately.
func (i *Issuer) vouched(u User) bool {
	if u.Provider == "" {
		return true
	}
	p := i.providers[u.Provider]
	return p != nil && i.clock().Before(u.Seen.Add(p.MaxAge))
}

// choice is a button on the sign-in page.
type choice struct{ Label, To string }

// choices are the providers, as links: a form could not be submitted to another host (policy).
func (i *Issuer) choices(p *loginPage) (all []choice) {
	q := p.query().Encode()
	for _, name := range slices.Sorted(maps.Keys(i.providers)) {
		c := choice{Label: i.providers[name].Label, To: pathWith + name}
		if q != "" {
			c.To += "?" + q
		}
		all = append(all, c)
	}
	return all
}

func (i *Issuer) provider(r *http.Request) (*upstream.Provider, error) {
	if p := i.providers[r.PathValue("provider")]; p != nil {
		return p, nil
	}
	return nil, &shown{status: http.StatusNotFound, title: "There is nothing here", text: "Nobody signs in here with a provider of that name."}
}

// serveWith sends a person to a provider.
func (i *Issuer) serveWith(w http.ResponseWriter, r *http.Request) error {
	p, err := i.provider(r)
	if err != nil {
		return err
	}
	page, _, err := i.loginPage(w, r)
	if err != nil {
		return err
	}
	if page.done {
		http.Redirect(w, r, page.after(), http.StatusSeeOther)
		return nil
	}
	a := attempt{
		Provider: p.Name, Nonce: newID("nonce"), Verifier: oauth2.GenerateVerifier(),
		Browser: DigestOf(i.cookies.ensureBrowser(w, r)), Created: i.now().UnixMilli(), For: page.query().Encode(),
	}
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	state := i.keys.seal(sealedAttempt, b)
	if len(state) > maxState {
		return &shown{status: http.StatusRequestURITooLong, title: "This request is too long", text: "The program that sent you here asks for more than fits into a sign-in with " + p.Label + "."}
	}
	to, err := p.Start(r.Context(), upstream.Attempt{State: state, Nonce: a.Nonce, Verifier: a.Verifier, Fresh: page.fresh})
	if err != nil {
		return i.unreachable(w, page, p, err)
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// serveFrom is where a provider sends people back to, each provider to a path of its own.
func (i *Issuer) serveFrom(w http.ResponseWriter, r *http.Request) error {
	p, err := i.provider(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	a, err := i.openAttempt(r, p, q.Get("state"))
	if err != nil {
		return err
	}
	if r.Form, err = url.ParseQuery(a.For); err != nil { // what the sign-in page was shown for
		return err
	}
	page, _, err := i.loginPage(w, r)
	if err != nil {
		return err
	}
	if page.done {
		http.Redirect(w, r, page.after(), http.StatusSeeOther)
		return nil
	}
	if !i.visitors.take(addressOf(r.RemoteAddr), i.now()) {
		page.Problem = "There were too many tries. Wait a minute."
		return i.pages.login.show(w, http.StatusTooManyRequests, page)
	}
	code := q.Get("code")
	if code == "" {
		i.counts.signIns[providerRefused].Add(1)
		i.log.Info("sign-in refused", zap.String("provider", p.Name), zap.String("error", clip(q.Get("error"), 100)))
		page.Problem = fmt.Sprintf("%s did not let you in. Try again, or sign in another way.", p.Label)
		return i.pages.login.show(w, http.StatusForbidden, page)
	}
	id, err := p.Finish(r.Context(), upstream.Attempt{Nonce: a.Nonce, Verifier: a.Verifier}, code, q.Get("iss"))
	var refused *upstream.Refused
	switch {
	case errors.As(err, &refused):
		i.counts.signIns[providerRefused].Add(1)
		i.log.Warn("sign-in refused", zap.String("provider", p.Name), zap.Error(err))
		page.Problem = fmt.Sprintf("%s did not let you in. %s", p.Label, refused.Text)
		return i.pages.login.show(w, http.StatusForbidden, page)
	case err != nil:
		return i.unreachable(w, page, p, err)
	}
	return i.arrive(w, r, page, p, id)
}

func (i *Issuer) unreachable(w http.ResponseWriter, page loginPage, p *upstream.Provider, err error) error {
	i.counts.signIns[providerAway].Add(1)
	i.log.Warn("provider does not answer", zap.String("provider", p.Name), zap.Error(err))
	page.Problem = fmt.Sprintf("%s does not answer at this moment. Try again in a minute, or sign in another way.", p.Label)
	return i.pages.login.show(w, http.StatusServiceUnavailable, page)
}

// openAttempt refuses a state that is too old, of another provider, or of another browser.
func (i *Issuer) openAttempt(r *http.Request, p *upstream.Provider, state string) (attempt, error) {
	var a attempt
	b, err := i.keys.open(sealedAttempt, state)
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	if err != nil || a.Provider != p.Name {
		return a, &shown{status: http.StatusBadRequest, title: "This request is not valid", text: "It does not belong to a sign-in that began here. Go back to where you started and try again.", cause: err}
	}
	if i.now().Sub(time.UnixMilli(a.Created)) > requestTTL {
		return a, &shown{status: http.StatusBadRequest, title: "This took too long", text: "The sign-in is no longer valid. Go back to where you started and try again."}
	}
	if browser, ok := i.cookies.browser(r); !ok || DigestOf(browser) != a.Browser {
		return a, &shown{
			status: http.StatusForbidden, title: "This sign-in began in another browser",
			text: "If you followed a link that somebody sent you, close this page: they may be trying to have you use their account. Otherwise start again, with cookies allowed.",
		}
	}
	return a, nil
}

// arrive signs in whom a provider vouches for.
func (i *Issuer) arrive(w http.ResponseWriter, r *http.Request, page loginPage, p *upstream.Provider, id upstream.Identity) error {
	u, err := i.vouchedUser(r.Context(), p, id)
	var refusal *shown
	if errors.As(err, &refusal) {
		i.counts.signIns[providerRefused].Add(1)
		i.log.Info("sign-in refused", zap.String("provider", p.Name), zap.String("user", id.Email), zap.String("reason", refusal.title))
	}
	if err != nil {
		return err
	}
	i.counts.signIns[byProvider].Add(1)
	return i.admit(w, r, u, p.Name, page.after())
}

// vouchedUser finds or makes the user. It goes by the provider's subject: an e-mail address can change hands, so
// one that is another user's already gives nobody that user.
func (i *Issuer) vouchedUser(ctx context.Context, p *upstream.Provider, id upstream.Identity) (User, error) {
	if err := checkName(strings.ReplaceAll(id.Email, "'", "")); err != nil { // O'Brien may come
		return User{}, &shown{status: http.StatusForbidden, title: "This address cannot be used", text: "Your e-mail address at " + p.Label + " has characters that a name here cannot have.", cause: err}
	}
	taken := &shown{
		status: http.StatusForbidden, title: "This name belongs to somebody else",
		text: "There is a user " + id.Email + " here who signs in another way. Sign in that way, or ask the administrator.",
	}
	a, err := i.store.Users().BySubject(ctx, p.Name, id.Subject)
	u := a.User
	switch {
	case errors.Is(err, ErrNotFound):
		u = User{ID: newID("usr"), Name: id.Email, Provider: p.Name, Subject: id.Subject, Groups: id.Groups, Seen: i.now(), Created: i.now()}
		if !i.welcome(u) {
			return User{}, &shown{
				status: http.StatusForbidden, title: "You may not use anything here",
				text: p.Label + " says that you are " + id.Email + ", but no server here lets you in. Ask the administrator to allow you.",
			}
		}
		err = i.store.Users().Create(ctx, Account{User: u})
	case err == nil:
		changed := u.Name != id.Email || !slices.Equal(u.Groups, id.Groups)
		u.Name, u.Groups, u.Seen = id.Email, id.Groups, i.now()
		err = i.store.Users().Update(ctx, u)
		i.cache.drop(func(h *held) bool { return h.user.ID == u.ID }) // what is in memory has the old groups
		if err == nil && changed {
			i.log.Info("user changed at the provider", zap.String("user", u.Name), zap.String("provider", p.Name), zap.Strings("groups", u.Groups))
			i.changed(u)
		}
	}
	if errors.Is(err, ErrExists) {
		return User{}, taken
	}
	return u, err
}
