package idp

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Grant is what an access token stands for. It is shared: Scopes and Tools must not be changed.
type Grant struct {
	ID         string // of the authorization that it came from: its tokens end together
	UserID     string
	UserName   string
	ClientID   string // "" for a personal token
	ClientName string // of a personal token, its label
	Scopes     []string
	Tools      []string // globs of the tools that it may call; none: all
	Expires    time.Time
}

// ErrInvalidToken is what Verify's error wraps when the token is not good: unknown,
// expired, revoked, for another server, or of a person who may not use this one (any more).
var ErrInvalidToken = errors.New("invalid token")

// The ways in which a token is not good, made once: bad tokens can come fast.
var (
	errNoToken    = fmt.Errorf("%w: not known", ErrInvalidToken)
	errExpired    = fmt.Errorf("%w: expired", ErrInvalidToken)
	errAudience   = fmt.Errorf("%w: for another server", ErrInvalidToken)
	errNotAllowed = fmt.Errorf("%w: its user may not use this server", ErrInvalidToken)
)

// Verify says whom an access token stands for, if it is good for exactly this resource
// now. It is called for every request: a token seen before costs a hash and a lookup in memory.
func (i *Issuer) Verify(ctx context.Context, token, resource string) (Grant, error) {
	h, err := i.holder(ctx, token)
	if err != nil {
		return Grant{}, err
	}
	if h.resource != resource {
		return Grant{}, errAudience
	}
	if !i.allowed(h.server, h.user) {
		return Grant{}, errNotAllowed
	}
	return h.grant, nil
}

// holder finds a live token, in memory first.
func (i *Issuer) holder(ctx context.Context, token string) (*held, error) {
	if !looksLike(token, prefixAccess) {
		return nil, errNoToken
	}
	hash, now := DigestOf(token), i.clock()
	h := i.cache.get(&hash)
	if h != nil && i.store.Shared() && now.Sub(h.read) > sharedFor {
		h = nil
	}
	if h == nil {
		var err error
		if h, err = i.load(ctx, hash); err != nil {
			return nil, err
		}
	}
	if !now.Before(h.expires) {
		return nil, errExpired
	}
	return h, nil
}

// sharedFor is how long a token is believed that was read from a store to which others write: they may have revoked it.
const sharedFor = time.Second

// load fetches a token from the store. If something is revoked meanwhile, it is answered once but not kept.
func (i *Issuer) load(ctx context.Context, hash Digest) (*held, error) {
	epoch := i.cache.epoch()
	t, err := i.store.Tokens().Access(ctx, hash)
	if errors.Is(err, ErrNotFound) {
		return nil, errNoToken
	}
	if err != nil {
		return nil, fmt.Errorf("cannot look up token: %w", err)
	}
	h := &held{
		hash: hash, family: t.Family.ID, server: t.Family.Server, resource: t.Family.Resource, user: t.User, expires: t.Access.Expires, read: i.clock(),
		grant: Grant{
			ID: t.Family.grant(), UserID: t.User.ID, UserName: t.User.Name, ClientID: t.Family.ClientID, ClientName: t.ClientName, Scopes: t.Scopes, Tools: t.Family.Tools, Expires: t.Access.Expires,
		},
	}
	if h.grant.ClientID == "" {
		h.grant.ClientName = t.Family.Label
	}
	i.cache.put(h, epoch)
	return h, nil
}
