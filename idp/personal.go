package idp

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"go.uber.org/zap"
)

// MintRequest says what a personal token is to be good for.
type MintRequest struct {
	User     string // whom it acts for; "service:NAME" is made where there is none
	Resource string // URL of the one server
	TTL      time.Duration
	Label    string   // to know it by
	Tools    []string // globs of the tools that it may call; none: all
	ReadOnly bool     // only what changes nothing
}

// Mint makes a personal access token for a program that cannot sign in by itself. It has
// no refresh token, and is told only now. The texts of the errors are for the one who asked.
func (i *Issuer) Mint(ctx context.Context, m MintRequest) (string, error) {
	if m.TTL <= 0 {
		return "", fmt.Errorf("a token must be good for some time, not %s", m.TTL)
	}
	for _, t := range m.Tools {
		if t == "" || len(t) > 200 || strings.ContainsFunc(t, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
			return "", fmt.Errorf("%q is not the name of a tool, nor a pattern of one", t)
		}
	}
	bound, server, ok := i.findResource(m.Resource)
	if !ok {
		return "", fmt.Errorf("%q is not the URL of a server here", m.Resource)
	}
	u, err := i.bearer(ctx, m.User, server)
	if err != nil {
		return "", err
	}
	// All scopes there are, whether or not the server splits them today: nobody is there to ask for more tomorrow.
	scopes := []string{ScopeMCP, ScopeRead, ScopeWrite}
	if m.ReadOnly {
		scopes = scopes[:2]
	}
	now := i.now()
	f := Family{
		ID: newID("fam"), UserID: u.ID, Server: server, Resource: bound, Scopes: scopes, Label: clip(m.Label, 100), Tools: m.Tools, AuthTime: now, Created: now,
	}
	access, secret := i.newAccess(f.ID, f.Scopes, now, m.TTL)
	if err := i.store.Tokens().PutFamily(ctx, f, access); err != nil {
		return "", fmt.Errorf("cannot keep token: %w", err)
	}
	i.counts.tokens[byMint].Add(1)
	return secret, nil
}

// bearer is whom a personal token acts for.
func (i *Issuer) bearer(ctx context.Context, name, server string) (User, error) {
	a, err := i.account(ctx, name)
	if service, ok := strings.CutPrefix(strings.ToLower(name), servicePrefix); ok && errors.Is(err, ErrNotFound) {
		if a.User = (User{ID: "svc_", Name: servicePrefix + service}); i.allowed(server, a.User) { // else nothing is made
			a.User, err = i.service(ctx, service)
		} else {
			err = nil
		}
	}
	if err != nil {
		return User{}, err
	}
	if !i.allowed(server, a.User) {
		return User{}, fmt.Errorf("%s may not use %s: add the name to the server's allow", a.Name, server)
	}
	return a.User, nil
}

// PersonalToken is a personal token as its administrator knows it.
type PersonalToken struct {
	ID      string // the beginning of its SHA-256
	User    string
	Server  string
	Label   string
	Tools   []string
	Scopes  []string
	Created time.Time
	Expires time.Time
}

const tokenIDSize = 12 // of 64 hexadecimal digits

// PersonalTokens lists the personal tokens that are good, newest first.
func (i *Issuer) PersonalTokens(ctx context.Context) ([]PersonalToken, error) {
	known, err := i.store.Tokens().Personal(ctx, i.now())
	if err != nil {
		return nil, fmt.Errorf("cannot list tokens: %w", err)
	}
	all := make([]PersonalToken, len(known))
	for n, p := range known {
		all[n] = seen(p)
	}
	return all, nil
}

func seen(p Personal) PersonalToken {
	return PersonalToken{
		ID: hex.EncodeToString(p.Hash[:])[:tokenIDSize], User: p.User.Name, Server: p.Server, Label: p.Label, Tools: p.Tools, Scopes: p.Scopes,
		Created: p.Created, Expires: p.Expires,
	}
}

// RevokePersonal ends a personal token at once. It is named by the beginning of its hash, or by itself.
func (i *Issuer) RevokePersonal(ctx context.Context, name string) (PersonalToken, error) {
	known, err := i.store.Tokens().Personal(ctx, i.now())
	if err != nil {
		return PersonalToken{}, fmt.Errorf("cannot list tokens: %w", err)
	}
	id := strings.ToLower(name)
	if looksLike(name, prefixAccess) {
		hash := DigestOf(name)
		id = hex.EncodeToString(hash[:])
	}
	if len(id) < 6 {
		return PersonalToken{}, fmt.Errorf("%q is too short to name a token: give at least 6 digits of its ID", name)
	}
	var found []Personal
	for _, p := range known {
		if strings.HasPrefix(hex.EncodeToString(p.Hash[:]), id) {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 0:
		return PersonalToken{}, fmt.Errorf("there is no token with that ID: %w", ErrNotFound)
	case 1:
	default:
		return PersonalToken{}, fmt.Errorf("%d tokens begin with %q: give more of the ID", len(found), id)
	}
	if err := i.endFamily(ctx, found[0].Family); err != nil {
		return PersonalToken{}, fmt.Errorf("cannot revoke token: %w", err)
	}
	i.log.Info("personal token revoked", zap.String("user", found[0].User.Name), zap.String("server", found[0].Server))
	return seen(found[0]), nil
}
