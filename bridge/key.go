package bridge

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// profile is what a worker is started for: the part of its key that the bridge
// reads. The zero profile serves every client that is asked nothing.
type profile struct {
	legacy     bool // initialised with what its client can be asked and has
	asks       asks
	extensions string // of the client's capabilities, the inside of the object
	session    sid    // whose own it is, zero where a person's sessions share
	since      int64  // when that session was opened, Unix seconds; not part of the key
}

const (
	keyPrefix = "asks="
	keyDigits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_~" // one for each set of asks
)

// keyOf composes the pool's key: the principal alone, or "asks=", what the worker is for and ":" before it. What it is for
// is a digit for the asks, then, where there are such, "." and the session, "+" and the extensions.
func (p profile) keyOf(who string) string {
	if p.since = 0; p == (profile{}) {
		if strings.HasPrefix(who, keyPrefix) {
			return keyPrefix + "-:" + who // a principal that looks like a key is not one
		}
		return who
	}
	key := keyPrefix + keyDigits[p.asks&63:p.asks&63+1]
	if p.session != (sid{}) {
		key += "." + hex.EncodeToString(p.session[:])
	}
	if p.extensions != "" {
		key += "+" + base64.RawURLEncoding.EncodeToString([]byte(p.extensions))
	}
	return key + ":" + who
}

func splitKey(key string) (profile, string) {
	rest, ok := strings.CutPrefix(key, keyPrefix)
	purpose, who, found := strings.Cut(rest, ":")
	switch {
	case !ok || !found:
		return profile{}, key
	case purpose == "-":
		return profile{}, who
	}
	if p, ok := readPurpose(purpose); ok {
		return p, who
	}
	return profile{}, key
}

// readPurpose reads what keyOf wrote between prefix and colon.
func readPurpose(s string) (p profile, ok bool) {
	s, encoded, extended := strings.Cut(s, "+")
	s, session, own := strings.Cut(s, ".")
	at := strings.Index(keyDigits, s)
	if len(s) != 1 || at < 0 {
		return p, false
	}
	if own {
		if n, err := hex.Decode(p.session[:], []byte(session[:min(len(session), 2*len(p.session))])); err != nil || n != len(p.session) || len(session) != 2*n {
			return p, false
		}
	}
	extensions, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || extended == (encoded == "") {
		return p, false
	}
	p.asks, p.extensions = asks(at), string(extensions)
	p.legacy = !own || at > 0 || extended
	return p, true
}

// Owner returns the principal a worker's key belongs to, for people to read.
func Owner(key string) string {
	_, who := splitKey(key)
	return who
}

// FitsSpare tells whether a worker that was opened for nobody in particular can serve key: not where
// it had to be told what its client can be asked.
func FitsSpare(key string) bool {
	p, _ := splitKey(key)
	return !p.legacy
}
