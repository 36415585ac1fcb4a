package idp

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // what RFC 6238 apps speak; HMAC does not need more
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Codes of an app (RFC 6238): six digits of an HMAC-SHA-1 over the half minute since 1970, which is what all apps know.
const (
	totpPeriod = 30 * time.Second
	totpDigits = 6
	totpSecret = 20 // bytes: as long as the hash (RFC 4226 §4)
)

func newTOTPSecret() []byte {
	b := make([]byte, totpSecret)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}

func totpStep(now time.Time) int64 { return now.Unix() / int64(totpPeriod/time.Second) }

// totpCode is the code of one time step (RFC 4226 §5.3).
func totpCode(secret []byte, step int64) string {
	mac := hmac.New(sha1.New, secret)
	_ = binary.Write(mac, binary.BigEndian, step) // a hash takes all
	sum := mac.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[len(sum)-1]&0x0f:]) & 0x7fffffff
	return fmt.Sprintf("%0*d", totpDigits, n%1_000_000)
}

// checkTOTP finds the step that a code is of: this one, or one to either side, for clocks that differ and fingers
// that are slow (RFC 6238 §5.2). What is at or before after was used already.
func checkTOTP(secret []byte, code string, now time.Time, after int64) (step int64, ok bool) {
	code = strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' {
			return -1
		}
		return r
	}, code)
	this := totpStep(now)
	for s := this - 1; s <= this+1; s++ {
		if subtle.ConstantTimeCompare([]byte(totpCode(secret, s)), []byte(code)) == 1 && s > after {
			step, ok = s, true
		}
	}
	return step, ok
}

// totpURL is what an app reads from the picture, as all apps understand it.
func totpURL(issuer, name string, secret []byte) string {
	q := url.Values{"secret": {spellTOTP(secret)}, "issuer": {issuer}}
	return "otpauth://totp/" + url.PathEscape(issuer) + ":" + url.PathEscape(name) + "?" + strings.ReplaceAll(q.Encode(), "+", "%20")
}

func spellTOTP(secret []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
}
