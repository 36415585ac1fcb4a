package idp

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// Bounds of a password: NIST SP 800-63B §3.1.1.2 for the least; the most only keeps the work finite.
const (
	minPassword = 8
	maxPassword = 512
)

// argon2id with the first recommended setting of the OWASP cheat sheet: t=2, 19 MiB, p=1.
const (
	argonTime    = 2
	argonMemory  = 19 * 1024 // KiB
	argonThreads = 1
	argonKey     = 32
	argonSalt    = 16
)

// hasher hashes passwords, a few at a time: each takes 19 MiB and some 25 ms of a processor.
type hasher struct {
	slots chan struct{}
	wait  time.Duration
	dummy string // compared against where there is no account, so that it takes as long
}

// errBusy means that too many passwords are being checked at this moment.
var errBusy = errors.New("too many sign-ins at once")

func newHasher(parallel int) *hasher {
	h := &hasher{slots: make(chan struct{}, parallel), wait: 10 * time.Second}
	h.dummy = encode(randomBytes(argonSalt), randomBytes(argonKey))
	return h
}

// hash encodes a password in the usual $argon2id$ form.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	if n := utf8.RuneCountInString(password); n < minPassword || len(password) > maxPassword {
		return "", fmt.Errorf("a password must have at least %d characters and at most %d bytes", minPassword, maxPassword)
	}
	if err := h.acquire(ctx); err != nil {
		return "", err
	}
	defer h.release()
	salt := randomBytes(argonSalt)
	return encode(salt, argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonThreads, argonKey)), nil
}

// check compares a password with an encoded hash. An empty hash is never right, but takes the same time to refuse.
func (h *hasher) check(ctx context.Context, encoded, password string) (bool, error) {
	if len(password) > maxPassword {
		password = password[:maxPassword]
		encoded = ""
	}
	none := encoded == ""
	if none {
		encoded = h.dummy
	}
	if err := h.acquire(ctx); err != nil {
		return false, err
	}
	defer h.release()
	salt, key, p, err := decode(encoded)
	if err != nil {
		return false, err
	}
	got := argon2.IDKey([]byte(password), salt, p.time, p.memory, p.threads, uint32(len(key)))
	return subtle.ConstantTimeCompare(got, key) == 1 && !none, nil
}

func (h *hasher) acquire(ctx context.Context) error {
	timer := time.NewTimer(h.wait)
	defer timer.Stop()
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return errBusy
	}
}

// release ends a hash. A heap that was measured with one in it would be allowed to grow to several times that: the last one out
// has it measured without.
func (h *hasher) release() {
	if <-h.slots; len(h.slots) == 0 {
		runtime.GC()
	}
}

func encode(salt, key []byte) string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads, b64(salt), b64(key))
}

type argonParams struct {
	time, memory uint32
	threads      uint8
}

// decode accepts other parameters than today's, so that they can grow without a reset, within reason.
func decode(encoded string) (salt, key []byte, p argonParams, err error) {
	bad := errors.New("cannot read password hash: not argon2id")
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return nil, nil, p, bad
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memory, &p.time, &p.threads); err != nil {
		return nil, nil, p, bad
	}
	if p.memory < 8 || p.memory > 1<<20 || p.time < 1 || p.time > 64 || p.threads < 1 {
		return nil, nil, p, bad
	}
	salt, errSalt := base64.RawStdEncoding.DecodeString(parts[4])
	key, errKey := base64.RawStdEncoding.DecodeString(parts[5])
	if errSalt != nil || errKey != nil || len(key) < 16 || len(key) > 64 {
		return nil, nil, p, bad
	}
	return salt, key, p, nil
}
