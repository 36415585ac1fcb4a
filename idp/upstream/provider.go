package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Identity is somebody as a provider vouches for them.
type Identity struct {
	Subject string   // who they are there, for ever
	Email   string   // which the provider has checked to be theirs
	Groups  []string // sorted
	Token   string   // to ask about them again with; "" where the provider gave none. A secret
}

// Attempt is one sign-in under way. Its parts are random, known to this sign-in only, and kept by the caller.
type Attempt struct {
	State, Nonce, Verifier string

	// Fresh asks for a new sign-in of somebody who is signed in at the provider.
	Fresh bool
}

// Refused is the error when a provider has answered, and the answer is no good. Text is for the person.
type Refused struct {
	Text  string
	cause error
}

// Error implements error.
func (e *Refused) Error() string {
	if e.cause != nil {
		return e.Text + ": " + e.cause.Error()
	}
	return e.Text
}

// Unwrap returns the cause, which is for the log.
func (e *Refused) Unwrap() error { return e.cause }

// Provider is a service that people can sign in with. It is safe for concurrent use.
type Provider struct {
	Name   string
	Label  string
	MaxAge time.Duration
	Link   bool // people may link an identity there

	// Recheck says whether the provider is to be asked again.
	Recheck bool

	// Issuer is the identifier of an OpenID Connect provider, and "" for others.
	Issuer string

	// Assertions has what holds where the configuration says nothing.
	Assertions Assertions

	prefix string
	way    way
}

// way is how a kind of provider is asked. What it fails with is either a *Refused, or that it could not be asked.
type way interface {
	start(ctx context.Context, a Attempt) (string, error)
	finish(ctx context.Context, a Attempt, code, iss string) (Identity, error)
}

// New makes a provider that returns people to redirect. It asks nobody anything yet. Roots are the authorities
// that the provider must be certified by; nil for the system's.
func New(name string, c Config, redirect string, roots *x509.CertPool) *Provider {
	c = c.resolved(name)
	p := &Provider{Name: name, Label: c.Label, MaxAge: c.MaxAge, Link: c.Link, Recheck: c.Recheck, Assertions: c.Assertions, prefix: c.Prefix}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		MaxResponseHeaderBytes: 64 << 10, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
	}
	client := &http.Client{Transport: t, Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // an endpoint is where the provider says; a detour is none of ours
	}}
	if c.Type == typeGitHub {
		p.way = newGitHub(c, redirect, client)
	} else {
		p.Issuer = c.URL
		p.way = &openID{config: c, redirect: redirect, client: client}
	}
	return p
}

// Start returns where to send the browser.
func (p *Provider) Start(ctx context.Context, a Attempt) (string, error) {
	to, err := p.way.start(ctx, a)
	if err != nil {
		return "", fmt.Errorf("cannot begin a sign-in with %s: %w", p.Name, err)
	}
	return to, nil
}

// Finish says who came back. Code and iss are from the browser's address; iss is "" where there was none.
func (p *Provider) Finish(ctx context.Context, a Attempt, code, iss string) (Identity, error) {
	id, err := p.way.finish(ctx, a, code, iss)
	if err == nil {
		err = id.check()
	}
	if err != nil {
		return Identity{}, fmt.Errorf("cannot finish a sign-in with %s: %w", p.Name, err)
	}
	id.Groups = tidy(p.prefix, id.Groups)
	return id, nil
}

// Again asks about somebody who signed in before, with what the provider gave then. A *Refused says that it vouches for them no
// more; groups, whether their groups are all there. The Token is the next one with an error, too.
func (p *Provider) Again(ctx context.Context, subject, token string) (id Identity, groups bool, err error) {
	o, ok := p.way.(*openID)
	if !ok {
		return id, false, fmt.Errorf("cannot ask %s again: it is no OpenID Connect provider", p.Name)
	}
	id, groups, err = o.again(ctx, subject, token)
	if err == nil && id.Email == "" {
		err = errors.New("it says nothing of the e-mail address")
	}
	if err != nil {
		return Identity{Token: id.Token}, false, fmt.Errorf("cannot ask %s again: %w", p.Name, err)
	}
	id.Groups = tidy(p.prefix, id.Groups)
	return id, groups, nil
}

const maxSubject = 255 // OpenID Connect Core §2

func (id Identity) check() error {
	if id.Subject == "" || len(id.Subject) > maxSubject {
		return errors.New("the provider names no subject")
	}
	if id.Email == "" {
		return &Refused{Text: "It gave no e-mail address of yours, without which nobody can be let in."}
	}
	return nil
}

// Bounds of what is kept of a person's groups.
const (
	maxGroups = 500
	maxGroup  = 200 // bytes of a name
)

// tidy sorts groups, and leaves out what cannot be one.
func tidy(prefix string, groups []string) []string {
	groups = slices.DeleteFunc(slices.Clone(groups), func(g string) bool {
		return g == "" || len(g) > maxGroup || !utf8.ValidString(g) || strings.ContainsAny(g, "\x00\n\r")
	})
	for n := range groups {
		groups[n] = prefix + groups[n]
	}
	slices.Sort(groups)
	groups = slices.Compact(groups)
	return groups[:min(len(groups), maxGroups)]
}
