package idp

import (
	"testing"
	"time"
)

// RFC 6238, appendix B: SHA-1, the last six of the eight digits.
func TestTOTPVectors(t *testing.T) {
	secret := []byte("12345678901234567890")
	for at, want := range map[int64]string{
		59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130",
	} {
		now := time.Unix(at, 0)
		if got := totpCode(secret, totpStep(now)); got != want {
			t.Errorf("at %d: %s, want %s", at, got, want)
		}
		for _, c := range []struct {
			code  string
			off   time.Duration
			after int64
			ok    bool
		}{
			{want, 0, 0, true},
			{want[:3] + " " + want[3:], 0, 0, true},
			{want, totpPeriod, 0, true},
			{want, -totpPeriod, 0, true},
			{want, 2 * totpPeriod, 0, false},
			{want, 3 * totpPeriod, 0, false},
			{want, 0, totpStep(now), false}, // used already
			{want, 0, totpStep(now) - 1, true},
			{"", 0, 0, false},
			{want + "0", 0, 0, false},
		} {
			if _, ok := checkTOTP(secret, c.code, now.Add(c.off), c.after); ok != c.ok {
				t.Errorf("at %d: %+v: %v", at, c, ok)
			}
		}
	}
	if got := totpURL("auth.example.com", "a b@example.com", secret); got != "otpauth://totp/auth.example.com:a%20b@example.com?issuer=auth.example.com&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" {
		t.Error(got)
	}
}
