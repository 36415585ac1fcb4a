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
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/op"
	"go.uber.org/zap"
)

// Kinds of keys in the store.
const (
	kindSign = "es256" // ID tokens; PKCS #8
	kindSeal = "seal"  // what travels through the browser, and form tokens; 32 bytes
)

// sealKeys is how many keys are tried on what comes back from a browser: the newest, and the one before it.
const sealKeys = 2

// Overlap of signing keys. A new one is published, and signs when every client that keeps the published set has it; an old one
// stays published as long as what it signed may be shown here as a hint.
const (
	publishedFor = 5 * time.Minute // how long clients may keep the set: its max-age
	keyLead      = 2 * publishedFor
	keyOverlap   = 24 * time.Hour
)

// keyring holds the issuer's keys. They are replaced as a whole, while requests go on.
type keyring struct {
	store   KeyStore
	turning sync.Mutex // one rotation at a time
	current atomic.Pointer[keys]
}

// keys are what a keyring holds at one time, newest first.
type keys struct {
	sign []signKey
	seal []sealer
	all  []Key
}

// loadKeys reads the keys and makes those that are missing: the first start.
func loadKeys(ctx context.Context, s KeyStore, now time.Time) (*keyring, error) {
	r := &keyring{store: s}
	for _, kind := range []string{kindSign, kindSeal} {
		have, err := s.List(ctx, kind)
		if err == nil && len(have) == 0 {
			err = r.add(ctx, kind, now)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read %s keys: %w", kind, err)
		}
	}
	return r, r.load(ctx)
}

func (r *keyring) load(ctx context.Context) error {
	signing, err := r.store.List(ctx, kindSign)
	if err != nil {
		return fmt.Errorf("cannot read %s keys: %w", kindSign, err)
	}
	sealing, err := r.store.List(ctx, kindSeal)
	if err != nil {
		return fmt.Errorf("cannot read %s keys: %w", kindSeal, err)
	}
	k := &keys{all: slices.Concat(signing, sealing)}
	for _, key := range signing {
		parsed, err := x509.ParsePKCS8PrivateKey(key.Secret)
		if err != nil {
			return fmt.Errorf("cannot parse key %q: %w", key.ID, err)
		}
		private, ok := parsed.(*ecdsa.PrivateKey)
		if !ok {
			return fmt.Errorf("cannot use key %q: it is not for ECDSA", key.ID)
		}
		k.sign = append(k.sign, signKey{id: key.ID, private: private, created: key.Created})
	}
	for _, key := range sealing[:min(len(sealing), sealKeys)] {
		s, err := newSealer(key.Secret)
		if err != nil {
			return fmt.Errorf("cannot use key %q: %w", key.ID, err)
		}
		k.seal = append(k.seal, s)
	}
	r.current.Store(k)
	return nil
}

// add makes a key of a kind and keeps it.
func (r *keyring) add(ctx context.Context, kind string, now time.Time) error {
	key := Key{ID: newID("key"), Kind: kind, Created: now, Secret: randomBytes(32)}
	if kind == kindSign {
		var err error
		if key.Secret, err = newSignSecret(); err != nil {
			return err
		}
	}
	return r.store.Put(ctx, key)
}

// rotate makes new keys. With drop, the old ones are good for nothing from now on.
func (r *keyring) rotate(ctx context.Context, now time.Time, drop bool) error {
	r.turning.Lock()
	defer r.turning.Unlock()
	old := r.current.Load().all
	for _, kind := range []string{kindSign, kindSeal} {
		if err := r.add(ctx, kind, now); err != nil {
			return fmt.Errorf("cannot make %s key: %w", kind, err)
		}
	}
	if drop {
		if err := r.remove(ctx, old); err != nil {
			return err
		}
	}
	return r.load(ctx)
}

// renew reads the keys again, which another process may have replaced.
func (r *keyring) renew(ctx context.Context) error {
	r.turning.Lock()
	defer r.turning.Unlock()
	return r.load(ctx)
}

// retire removes the keys that nobody needs any more.
func (r *keyring) retire(ctx context.Context, now time.Time) error {
	r.turning.Lock()
	defer r.turning.Unlock()
	k := r.current.Load()
	var gone []Key
	for n, key := range k.all {
		switch newer := n - 1; {
		case key.Kind == kindSign && newer >= 0 && now.After(k.all[newer].Created.Add(keyLead+keyOverlap)):
			gone = append(gone, key)
		case key.Kind == kindSeal && n >= len(k.sign)+sealKeys:
			gone = append(gone, key)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return errors.Join(r.remove(ctx, gone), r.load(ctx))
}

func (r *keyring) remove(ctx context.Context, gone []Key) error {
	for _, key := range gone {
		if err := r.store.Delete(ctx, key.ID); err != nil {
			return fmt.Errorf("cannot remove key %q: %w", key.ID, err)
		}
	}
	return nil
}

// signing is the key that signs now: the newest that clients had time to learn of, or the oldest, when there is no such.
func (r *keyring) signing(now time.Time) signKey {
	sign := r.current.Load().sign
	for _, key := range sign {
		if !now.Before(key.created.Add(keyLead)) {
			return key
		}
	}
	return sign[len(sign)-1]
}

// seal seals what travels through a browser.
func (r *keyring) seal(purpose string, plain []byte) string {
	return r.current.Load().seal[0].seal(purpose, plain)
}

// tags derives a form token by every key: the first is for new forms, all are good for those that come back.
func (r *keyring) tags(parts ...string) []string {
	var all []string
	for _, s := range r.current.Load().seal {
		all = append(all, s.tag(parts...))
	}
	return all
}

// KeyInfo says of a key what may be known.
type KeyInfo struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"`
	Created time.Time `json:"created"`
	Signs   bool      `json:"in_use"` // the others verify, or will be in use
}

// Keys lists the issuer's keys, newest first.
func (i *Issuer) Keys() []KeyInfo {
	k, signing := i.keys.current.Load(), i.keys.signing(i.now())
	all := make([]KeyInfo, len(k.all))
	for n, key := range k.all {
		all[n] = KeyInfo{key.ID, key.Kind, key.Created, key.ID == signing.id || n == len(k.sign)}
	}
	return all
}

// RotateKeys makes new keys, which clients learn of by themselves; nobody is signed out. With drop, for when a key was
// stolen, ID tokens signed before are void and sign-ins under way begin anew.
func (i *Issuer) RotateKeys(ctx context.Context, drop bool) error {
	if err := i.keys.rotate(ctx, i.now(), drop); err != nil {
		return err
	}
	i.log.Info("keys rotated", zap.Bool("drop", drop))
	return nil
}

// follow keeps up with the keys in a store to which others write.
func (i *Issuer) follow(ctx context.Context) {
	tick := time.NewTicker(sharedFor)
	defer tick.Stop()
	for failed := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := i.keys.renew(ctx)
		if err != nil && !failed && ctx.Err() == nil {
			i.log.Warn("cannot keep up with the keys in the store", zap.Error(err))
		}
		failed = err != nil
	}
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
func (r *keyring) open(purpose, text string) ([]byte, error) {
	for _, s := range r.current.Load().seal {
		if plain, err := s.open(purpose, text); err == nil {
			return plain, nil
		}
	}
	return nil, errSeal
}

func (r *keyring) published() []op.Key {
	sign := r.current.Load().sign
	public := make([]op.Key, len(sign))
	for n, key := range sign {
		public[n] = publicKey{key}
	}
	return public
}

// signKey is an op.SigningKey.
type signKey struct {
	id      string
	private *ecdsa.PrivateKey
	created time.Time
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
