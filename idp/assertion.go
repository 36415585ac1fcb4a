package idp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Bounds of an assertion (RFC 7523 §3).
const (
	maxAssertion = 8 << 10 // bytes
	maxAhead     = 10 * time.Minute
	clockLeeway  = 30 * time.Second
	maxKeys      = 16
)

// assertionAlgorithms are the signatures that a client may make; none of them has a shared secret.
func assertionAlgorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.EdDSA, jose.PS256, jose.RS256}
}

// assertedClient authenticates a client by a JWT that it signed (private_key_jwt, OpenID Connect Core §9). Each JWT is good once.
func (i *Issuer) assertedClient(ctx context.Context, assertion string) (Client, error) {
	if len(assertion) > maxAssertion {
		return Client{}, unknownClient("the client_assertion is too long")
	}
	token, err := jwt.ParseSigned(assertion, assertionAlgorithms())
	if err != nil || len(token.Headers) != 1 {
		return Client{}, unknownClient("the client_assertion is not a JWT with a signature that is accepted here")
	}
	var said jwt.Claims
	if err := token.UnsafeClaimsWithoutVerification(&said); err != nil {
		return Client{}, unknownClient("the client_assertion is not a JWT of claims")
	}
	c, err := i.client(ctx, said.Issuer)
	switch {
	case errors.Is(err, ErrNotFound):
		return c, unknownClient("this client is not registered (any more)")
	case err != nil:
		return c, internal(err)
	case c.AuthMethod != methodSigned:
		return c, unknownClient("this client does not authenticate by client_assertion")
	}
	keys, err := i.keysOf(ctx, c, token.Headers[0].KeyID)
	if err != nil {
		return c, err
	}
	if !slices.ContainsFunc(keys, func(k jose.JSONWebKey) bool { return token.Claims(k.Key, &said) == nil }) {
		return c, unknownClient("the signature of the client_assertion is not right")
	}
	if err := i.checkAssertion(said, c); err != nil {
		return c, err
	}
	err = i.store.Tokens().Spend(ctx, DigestOf("assertion "+c.ID+" "+said.ID), said.Expiry.Time().Add(clockLeeway))
	if errors.Is(err, ErrSpent) {
		return c, unknownClient("the client_assertion was used already")
	}
	if err != nil {
		return c, internal(err)
	}
	return c, nil
}

// claimedClient is who a client says that it is, before anything is proven.
func claimedClient(assertion string) string {
	var said jwt.Claims
	if len(assertion) > maxAssertion {
		return ""
	}
	token, err := jwt.ParseSigned(assertion, assertionAlgorithms())
	if err != nil || token.UnsafeClaimsWithoutVerification(&said) != nil {
		return ""
	}
	return said.Issuer
}

// checkAssertion checks what was signed. Every audience must be this issuer: an assertion that is also good elsewhere
// could be presented here by whoever got it there.
func (i *Issuer) checkAssertion(said jwt.Claims, c Client) error {
	now := i.now()
	foreign := func(aud string) bool {
		return aud != i.issuer && aud != i.url(pathToken)
	}
	switch {
	case said.Subject != c.ID:
		return unknownClient("sub of the client_assertion is not the client_id")
	case len(said.Audience) == 0 || slices.ContainsFunc(said.Audience, foreign):
		return unknownClient("aud of the client_assertion must be the issuer")
	case said.ID == "":
		return unknownClient("the client_assertion has no jti")
	case said.Expiry == nil || now.After(said.Expiry.Time().Add(clockLeeway)):
		return unknownClient("the client_assertion has expired, or has no exp")
	case said.Expiry.Time().After(now.Add(maxAhead)):
		return unknownClient(fmt.Sprintf("the client_assertion is good for longer than %s", maxAhead))
	case said.NotBefore != nil && said.NotBefore.Time().After(now.Add(clockLeeway)), said.IssuedAt != nil && said.IssuedAt.Time().After(now.Add(clockLeeway)):
		return unknownClient("the client_assertion is from the future")
	}
	return nil
}

// parseKeys reads a set of public keys.
func parseKeys(text []byte) ([]jose.JSONWebKey, error) {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errors.New("it is not a set of keys (RFC 7517)")
	}
	if len(set.Keys) == 0 || len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("there must be one to %d keys", maxKeys)
	}
	for _, k := range set.Keys {
		if !k.IsPublic() {
			return nil, errors.New("there is a key in it that is not public")
		}
	}
	return set.Keys, nil
}

// keysOf finds the keys that may have signed: those with this id, or all where none is named.
func (i *Issuer) keysOf(ctx context.Context, c Client, id string) ([]jose.JSONWebKey, error) {
	var all []jose.JSONWebKey
	var err error
	if c.KeysURI == "" {
		all, err = parseKeys(c.Keys)
	} else {
		all, err = i.keysets.of(ctx, c.KeysURI, id, i.now(), func(ctx context.Context) ([]byte, time.Time, error) {
			return i.documents.fetcher.Keys(ctx, c.KeysURI)
		})
	}
	if err != nil {
		return nil, unknownClient("the client's keys cannot be read: " + err.Error())
	}
	return withID(all, id), nil
}

func withID(all []jose.JSONWebKey, id string) []jose.JSONWebKey {
	if id == "" {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(k jose.JSONWebKey) bool { return k.KeyID != id })
}

// keysets remembers the keys that were fetched, by where they are from.
type keysets struct {
	tries *throttle

	mu  sync.Mutex
	all map[string]keyset
}

type keyset struct {
	keys  []jose.JSONWebKey
	fresh time.Time
}

const maxKeysets = 1000

func newKeysets() *keysets {
	return &keysets{tries: newThrottle(20*time.Second, 3), all: make(map[string]keyset)}
}

// of returns the keys from somewhere, fetched again when they are old or the one that is wanted is not among them: keys are replaced.
func (s *keysets) of(ctx context.Context, from, id string, now time.Time, fetch func(context.Context) ([]byte, time.Time, error)) ([]jose.JSONWebKey, error) {
	s.mu.Lock()
	have, ok := s.all[from]
	s.mu.Unlock()
	wanted := func(k jose.JSONWebKey) bool { return id == "" || k.KeyID == id }
	if ok && now.Before(have.fresh) && slices.ContainsFunc(have.keys, wanted) {
		return have.keys, nil
	}
	if !s.tries.take(from, now) {
		return nil, errors.New("they were fetched too often; try again later")
	}
	text, fresh, err := fetch(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := parseKeys(text)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) >= maxKeysets {
		for old := range s.all { // any: the order of a map is random
			delete(s.all, old)
			break
		}
	}
	s.all[from] = keyset{keys, fresh}
	return keys, nil
}
