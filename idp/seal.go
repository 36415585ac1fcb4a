package idp

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"

	"golang.org/x/crypto/chacha20poly1305"
)

// sealer makes text that only this issuer can have made and read, so that a sign-in
// in progress travels through the browser instead of filling the store before
// anybody is known. The purpose is authenticated: what was sealed for one cannot be opened for another.
type sealer struct {
	aead cipher.AEAD
	mac  []byte
}

func newSealer(key []byte) (sealer, error) {
	box, err := hkdf.Key(sha256.New, key, nil, "mcpd issuer seal", chacha20poly1305.KeySize)
	if err != nil {
		return sealer{}, err
	}
	mac, err := hkdf.Key(sha256.New, key, nil, "mcpd issuer form token", sha256.Size)
	if err != nil {
		return sealer{}, err
	}
	aead, err := chacha20poly1305.NewX(box)
	if err != nil {
		return sealer{}, err
	}
	return sealer{aead: aead, mac: mac}, nil
}

func (s sealer) seal(purpose string, plain []byte) string {
	nonce := randomBytes(s.aead.NonceSize())
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nonce, nonce, plain, []byte(purpose)))
}

func (s sealer) open(purpose, text string) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < s.aead.NonceSize() {
		return nil, errSeal
	}
	n := s.aead.NonceSize()
	return s.aead.Open(nil, b[:n], b[n:], []byte(purpose))
}

// tag derives a form token from what it is bound to.
func (s sealer) tag(parts ...string) string {
	h := hmac.New(sha256.New, s.mac)
	for _, p := range parts {
		sum := sha256.Sum256([]byte(p))
		h.Write(sum[:])
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}
