package idp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Kinds of keys in the store.
const (
	kindSign = "es256" // ID tokens; PKCS #8
	kindSeal = "seal"  // what travels through the browser, and form tokens; 32 bytes
)

// sealKeys is how many keys are tried on what comes back from a browser: the newest, and the one before it.
const sealKeys = 2

// keyring holds the issuer's keys, newest first. A second key in the store is all
// that a rotation takes: the newest signs, all are published and verify.
type keyring struct {
	sign []signKey
	seal []sealer
}

// loadKeys reads the keys and makes those that are missing: the first start.
func loadKeys(ctx context.Context, s KeyStore, now time.Time) (*keyring, error) {
	k := &keyring{}
	signing, err := keysOf(ctx, s, kindSign, now, newSignSecret)
	if err != nil {
		return nil, err
	}
	for _, key := range signing {
		parsed, err := x509.ParsePKCS8PrivateKey(key.Secret)
		if err != nil {
			return nil, fmt.Errorf("cannot parse key %q: %w", key.ID, err)
		}
		private, ok := parsed.(*ecdsa.PrivateKey)
		if !ok {
			return nil, fmt.Errorf("cannot use key %q: it is not for ECDSA", key.ID)
		}
		k.sign = append(k.sign, signKey{id: key.ID, private: private})
	}
	sealing, err := keysOf(ctx, s, kindSeal, now, func() ([]byte, error) { return randomBytes(32), nil })
	if err != nil {
		return nil, err
	}
	for _, key := range sealing[:min(len(sealing), sealKeys)] {
		s, err := newSealer(key.Secret)
		if err != nil {
			return nil, fmt.Errorf("cannot use key %q: %w", key.ID, err)
		}
		k.seal = append(k.seal, s)
	}
	return k, nil
}

func keysOf(ctx context.Context, s KeyStore, kind string, now time.Time, secret func() ([]byte, error)) ([]Key, error) {
	keys, err := s.List(ctx, kind)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s keys: %w", kind, err)
	}
	if len(keys) > 0 {
		return keys, nil
	}
	key := Key{ID: newID("key"), Kind: kind, Created: now}
	if key.Secret, err = secret(); err != nil {
		return nil, fmt.Errorf("cannot make %s key: %w", kind, err)
	}
	if err := s.Put(ctx, key); err != nil {
		return nil, fmt.Errorf("cannot keep %s key: %w", kind, err)
	}
	return []Key{key}, nil
}

func newSignSecret() ([]byte, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKCS8PrivateKey(private)
}

var errSeal = errors.New("cannot open what was sealed: altered, or from another issuer")

// open finds the key that text was sealed with.
func (k *keyring) open(purpose, text string) ([]byte, error) {
	for _, s := range k.seal {
		if plain, err := s.open(purpose, text); err == nil {
			return plain, nil
		}
	}
	return nil, errSeal
}

func (k *keyring) published() []op.Key {
	keys := make([]op.Key, len(k.sign))
	for n, key := range k.sign {
		keys[n] = publicKey{key}
	}
	return keys
}

// signKey is an op.SigningKey.
type signKey struct {
	id      string
	private *ecdsa.PrivateKey
}

func (k signKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (k signKey) Key() any                                    { return k.private }
func (k signKey) ID() string                                  { return k.id }

// publicKey is the op.Key of a signKey.
type publicKey struct{ sign signKey }

func (k publicKey) ID() string                         { return k.sign.id }
func (k publicKey) Algorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (k publicKey) Use() string                        { return "sig" }
func (k publicKey) Key() any                           { return &k.sign.private.PublicKey }

// newID makes an identifier of 130 random bits: kind_…, lower case, without a colon
// (zitadel/oidc splits token and subject there).
func newID(kind string) string { return kind + "_" + strings.ToLower(rand.Text()) }

// newSecret makes a secret of 130 random bits that says what it is, so that secret scanners find it.
func newSecret(prefix string) string { return prefix + rand.Text() }

// Prefixes of the secrets, by what they are.
const (
	prefixAccess  = "mcpd_at_"
	prefixRefresh = "mcpd_rt_"
	prefixCode    = "mcpd_ac_"
	prefixClient  = "mcpd_cs_"
	prefixManage  = "mcpd_rm_"
	prefixLink    = "mcpd_li_"
	prefixDevice  = "mcpd_dc_"
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return slices.Clip(b)
}
