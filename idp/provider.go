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
	Link     string `json:"link"`    // the session that an identity is to be linked in, instead of a sign-in
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
	for _, name := range i.providerNames() {
		c := choice{Label: i.providers[name].Label, To: pathWith + name}
		if q != "" {
			c.To += "?" + q
		}
		all = append(all, c)
	}
	return all
}

func (i *Issuer) providerNames() []string { return slices.Sorted(maps.Keys(i.providers)) }

func (i *Issuer) provider(r *http.Request) (*upstream.Provider, error) {
	if p := i.providers[r.PathValue("provider")]; p != nil {
		return p, nil
	}
	return nil, &shown{status: http.StatusNotFound, title: "There is nothing here", text: "Nobody signs in here with a provider of that name."}
}

// serveWith sends a person to a provider, to sign in or to link an identity.
func (i *Issuer) serveWith(w http.ResponseWriter, r *http.Request) error {
	p, err := i.provider(r)
	if err != nil {
		return err
	}
	a := attempt{Provider: p.Name, Nonce: newID("nonce"), Verifier: oauth2.GenerateVerifier(), Created: i.now().UnixMilli()}
	var page loginPage
	if r.URL.Query().Has("link") {
		session, err := i.mayLink(r, p)
		if err != nil {
			return err
		}
		a.Link, page.fresh = sessionTag(session), true // they choose there who they are
	} else {
		var done bool
		if page, done, err = i.needsLogin(w, r); err != nil || done {
			return err
		}
		a.For = page.query().Encode()
	}
	a.Browser = DigestOf(i.cookies.ensureBrowser(w, r))
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	state := i.keys.seal(sealedAttempt, b)
	if len(state) > maxState {
		return &shown{status: http.StatusRequestURITooLong, title: "This request is too long", text: "The program that sent you here asks for more than fits into a sign-in with " + p.Label + "."}
	}
	to, err := p.Start(r.Context(), upstream.Attempt{State: state, Nonce: a.Nonce, Verifier: a.Verifier, Fresh: page.fresh})
	if err != nil && a.Link != "" {
		return &shown{status: http.StatusServiceUnavailable, title: p.Label + " does not answer at this moment", text: "Try again in a minute.", cause: err}
	}
	if err != nil {
		page.Problem = i.unreachable(p, err)
		return i.pages.login.show(w, http.StatusServiceUnavailable, page)
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// needsLogin prepares the sign-in page; who needs none is sent on, and then done is true.
func (i *Issuer) needsLogin(w http.ResponseWriter, r *http.Request) (page loginPage, done bool, err error) {
	if page, _, err = i.loginPage(w, r); err == nil && page.done { // signed in meanwhile, in another tab or by a link
		http.Redirect(w, r, page.after(), http.StatusSeeOther)
	}
	return page, page.done, err
}

// serveFrom is where a provider sends people back to, each provider to a path of its own.
func (i *Issuer) serveFrom(w http.ResponseWriter, r *http.Request) error {
	p, err := i.provider(r)
	if err != nil {
		return err
	}
	a, err := i.openAttempt(r, p, r.URL.Query().Get("state"))
	if err != nil {
		return err
	}
	if a.Link != "" {
		return i.serveJoining(w, r, p, a)
	}
	if r.Form, err = url.ParseQuery(a.For); err != nil { // what the sign-in page was shown for
		return err
	}
	page, done, err := i.needsLogin(w, r)
	if err != nil || done {
		return err
	}
	id, status, problem, err := i.finish(r, p, a)
	if err != nil {
		return err
	}
	if page.Problem = problem; problem != "" {
		return i.pages.login.show(w, status, page)
	}
	return i.arrive(w, r, page, p, id)
}

// finish asks the provider who came back. A problem is what the person is told, if that cannot be said.
func (i *Issuer) finish(r *http.Request, p *upstream.Provider, a attempt) (id upstream.Identity, status int, problem string, err error) {
	if !i.visitors.take(addressOf(r.RemoteAddr), i.now()) {
		return id, http.StatusTooManyRequests, "There were too many tries. Wait a minute.", nil
	}
	q := r.URL.Query()
	code := q.Get("code")
	if code == "" {
		i.counts.signIns[providerRefused].Add(1)
		i.log.Info("sign-in refused", zap.String("provider", p.Name), zap.String("error", clip(q.Get("error"), 100)))
		return id, http.StatusForbidden, fmt.Sprintf("%s did not let you in. Try again, or sign in another way.", p.Label), nil
	}
	id, err = p.Finish(r.Context(), upstream.Attempt{Nonce: a.Nonce, Verifier: a.Verifier}, code, q.Get("iss"))
	var refused *upstream.Refused
	switch {
	case errors.As(err, &refused):
		i.counts.signIns[providerRefused].Add(1)
		i.log.Warn("sign-in refused", zap.String("provider", p.Name), zap.Error(err))
		return id, http.StatusForbidden, fmt.Sprintf("%s did not let you in. %s", p.Label, refused.Text), nil
	case err != nil:
		return id, http.StatusServiceUnavailable, i.unreachable(p, err), nil
	}
	return id, http.StatusOK, "", nil
}

func (i *Issuer) unreachable(p *upstream.Provider, err error) string {
	i.counts.signIns[providerAway].Add(1)
	i.log.Warn("provider does not answer", zap.String("provider", p.Name), zap.Error(err))
	return fmt.Sprintf("%s does not answer at this moment. Try again in a minute, or sign in another way.", p.Label)
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
	if u.Provider == "" { // they linked it
		return i.proceed(w, r, u, p.Name, page)
	}
	return i.admit(w, r, u, p.Name, page.after())
}

// vouchedUser finds or makes the user, or finds who has linked the identity. It goes by the provider's subject: an e-mail address can change hands, so
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
		if err = i.store.Users().Create(ctx, Account{User: u}); err == nil {
			err = i.keepVoucher(ctx, p, u, id.Token)
		}
	case err == nil && !(u.Provider == p.Name && u.Subject == id.Subject): // they linked it: it is a way in, and says nothing of them
		if !p.Link {
			return User{}, &shown{status: http.StatusForbidden, title: "Linked identities of " + p.Label + " do not count here", text: "You are " + u.Name + " here. Sign in as you did before you linked it."}
		}
		if !i.vouched(u) {
			return User{}, &shown{status: http.StatusForbidden, title: "Sign in another way first", text: "You are " + u.Name + " here, whom another service must vouch for again. Sign in with that one."}
		}
	case err == nil:
		changed := u.Name != id.Email || !slices.Equal(u.Groups, id.Groups)
		u.Name, u.Groups, u.Seen = id.Email, id.Groups, i.now()
		if err = i.store.Users().Update(ctx, u); err == nil {
			err = i.keepVoucher(ctx, p, u, id.Token)
		}
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
