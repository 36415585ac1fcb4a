package idp

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"
)

// CreateUser adds a person. An empty password opens nothing: such a person signs in
// by a link. The texts of the errors are for the one who asked; ErrExists is among them.
func (i *Issuer) CreateUser(ctx context.Context, name, password string) (User, error) {
	if err := checkName(name); err != nil {
		return User{}, err
	}
	a := Account{User: User{ID: newID("usr"), Name: name, Created: i.now()}}
	if password != "" {
		var err error
		if a.Password, err = i.hasher.hash(ctx, password); err != nil {
			return User{}, err
		}
	}
	err := i.store.Users().Create(ctx, a)
	if errors.Is(err, ErrExists) {
		return User{}, fmt.Errorf("there is a user %q already: %w", name, ErrExists)
	}
	if err != nil {
		return User{}, fmt.Errorf("cannot create user: %w", err)
	}
	return a.User, nil
}

// SetPassword gives a person a new password, and ends their browser sessions and
// sign-in links. Clients stay connected. An empty password takes the password away.
func (i *Issuer) SetPassword(ctx context.Context, name, password string) error {
	a, err := i.person(ctx, name)
	if err != nil {
		return err
	}
	encoded := ""
	if password != "" {
		if encoded, err = i.hasher.hash(ctx, password); err != nil {
			return err
		}
	}
	if err := i.store.Users().SetPassword(ctx, a.ID, encoded); err != nil {
		return fmt.Errorf("cannot set password: %w", err)
	}
	return nil
}

// Reset takes a person's passkeys, app for codes, recovery codes and linked identities away, for one who has lost them, and ends
// their browser sessions and sign-in links. The password stays.
func (i *Issuer) Reset(ctx context.Context, name string) (User, error) {
	a, err := i.person(ctx, name)
	if err != nil {
		return User{}, err
	}
	linked, err := i.store.Users().Identities(ctx, a.ID)
	for _, id := range linked { // nobody's provider vouches for them: all are linked
		err = errors.Join(err, i.store.Users().Unlink(ctx, id))
	}
	if err := errors.Join(err, i.store.Factors().DeleteOf(ctx, a.ID)); err != nil {
		return User{}, fmt.Errorf("cannot reset: %w", err)
	}
	if err := i.store.Users().SetPassword(ctx, a.ID, a.Password); err != nil { // which ends sessions and links
		return User{}, fmt.Errorf("cannot reset: %w", err)
	}
	i.log.Info("second step reset", zap.String("user", a.Name))
	return a.User, nil
}

// RemoveUser removes a person and, at once, every session, consent and token of theirs.
func (i *Issuer) RemoveUser(ctx context.Context, name string) (User, error) {
	a, err := i.account(ctx, name)
	if err != nil {
		return User{}, err
	}
	if err := i.store.Users().Delete(ctx, a.ID); err != nil {
		return User{}, fmt.Errorf("cannot remove user: %w", err)
	}
	i.endUser(a.ID)
	return a.User, nil
}

// Revoke ends, at once, every session, sign-in link and token of a person or a service. They may sign in again.
func (i *Issuer) Revoke(ctx context.Context, name string) (User, error) {
	a, err := i.account(ctx, name)
	if err != nil {
		return User{}, err
	}
	if err := i.store.Users().SignOut(ctx, a.ID); err != nil {
		return User{}, fmt.Errorf("cannot revoke: %w", err)
	}
	i.endUser(a.ID)
	i.log.Info("everything revoked", zap.String("user", a.Name))
	return a.User, nil
}

// endUser forgets what is in memory of somebody whose tokens the store has forgotten.
func (i *Issuer) endUser(id string) {
	i.cache.drop(func(h *held) bool { return h.user.ID == id })
	i.ended(Ended{UserID: id})
}

// Snapshot copies all that the issuer keeps to a new file, which OpenStore opens, while all goes on.
func (i *Issuer) Snapshot(ctx context.Context, file string) error { return i.store.Snapshot(ctx, file) }

// Everybody lists people and services, by name.
func (i *Issuer) Everybody(ctx context.Context) ([]User, error) {
	users, err := i.store.Users().List(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list users: %w", err)
	}
	return users, nil
}

// Users lists all people, by name.
func (i *Issuer) Users(ctx context.Context) ([]User, error) {
	users, err := i.Everybody(ctx)
	return slices.DeleteFunc(users, User.Service), err
}

// SignInLink makes a URL that signs a person in, once, until ttl is over.
func (i *Issuer) SignInLink(ctx context.Context, userName string, ttl time.Duration) (string, error) {
	if ttl <= 0 {
		return "", fmt.Errorf("a sign-in link must be good for some time, not %s", ttl)
	}
	a, err := i.person(ctx, userName)
	if err != nil {
		return "", err
	}
	secret := newSecret(prefixLink)
	err = i.store.Sessions().PutLink(ctx, Link{Hash: DigestOf(secret), User: a.User, Expires: i.now().Add(ttl)})
	if err != nil {
		return "", fmt.Errorf("cannot keep sign-in link: %w", err)
	}
	// In the query, not the path: the path of a request is logged.
	return i.url(pathLink) + "?" + url.Values{"link": {secret}}.Encode(), nil
}

// account finds a user for an administrator.
func (i *Issuer) account(ctx context.Context, name string) (Account, error) {
	a, err := i.store.Users().ByName(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return Account{}, fmt.Errorf("there is no user %q: %w", name, ErrNotFound)
	}
	if err != nil {
		return Account{}, fmt.Errorf("cannot look up user: %w", err)
	}
	return a, nil
}

// person is an account that somebody can sign in to by what mcpd itself has of them.
func (i *Issuer) person(ctx context.Context, name string) (Account, error) {
	a, err := i.account(ctx, name)
	if err == nil && a.Service() {
		return a, fmt.Errorf("%q is a service: nobody signs in as it", name)
	}
	if err == nil && a.Provider != "" {
		return a, fmt.Errorf("%q signs in with the provider %q, and not by password or link", name, a.Provider)
	}
	return a, err
}

// checkName keeps names readable in logs, on pages and in an allow list, where "*" and a "group:" prefix mean something.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("a user needs a name")
	case len(name) > 200 || !utf8.ValidString(name):
		return errors.New("a user's name must be text of at most 200 bytes")
	case strings.ContainsAny(name, "*:/\\\"'<>"):
		return fmt.Errorf("a user's name must not have any of *:/\\\"'<> in it, as %q has", name)
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) }):
		return fmt.Errorf("a user's name must not have spaces or control characters in it, as %q has", name)
	}
	return nil
}
