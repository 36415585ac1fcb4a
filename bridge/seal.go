package bridge

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
)

// Sealer seals what is handed to clients and comes back: authenticated
// encryption, so that a client can neither read nor make one. Both methods
// append to dst and are safe for concurrent use.
type Sealer interface {
	Seal(dst, plain, bound []byte) []byte
	Open(dst, sealed, bound []byte) ([]byte, error)
}

type gcm struct{ aead cipher.AEAD }

// NewSealer returns AES-256-GCM with random nonces under a 32-byte key.
func NewSealer(key []byte) (Sealer, error) {
	if len(key) != 32 {
		return nil, fmt.Errorf("cannot seal with a key of %d bytes: 32 are needed", len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("cannot use the sealing key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("cannot use the sealing key: %w", err)
	}
	return gcm{aead}, nil
}

func (g gcm) Seal(dst, plain, bound []byte) []byte { return g.aead.Seal(dst, nil, plain, bound) }

var errSeal = errors.New("not sealed by this daemon")

func (g gcm) Open(dst, sealed, bound []byte) ([]byte, error) {
	out, err := g.aead.Open(dst, nil, sealed, bound)
	if err != nil {
		return nil, errSeal
	}
	return out, nil
}
