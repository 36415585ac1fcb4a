package bridge

import (
	"encoding/hex"
	"strings"
)

// profile is what a worker is started for: the part of its key that the bridge
// reads. The zero profile serves every client that is asked nothing.
type profile struct {
	legacy  bool // initialised with what its client can be asked
	asks    asks
	session sid   // whose own it is, zero where a person's sessions share
	since   int64 // when that session was opened, Unix seconds; not part of the key
}

const (
	keyPrefix = "asks="
	keyDigits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_~" // one for each set of asks
)

// keyOf composes the pool's key: the principal, or "asks=N:" and the principal, or "asks=N.SESSION:" and the principal.
func (p profile) keyOf(who string) string {
	if p.session != (sid{}) {
		return keyPrefix + keyDigits[p.asks&63:p.asks&63+1] + "." + hex.EncodeToString(p.session[:]) + ":" + who
	}
	if p != (profile{}) {
		return keyPrefix + keyDigits[p.asks&63:p.asks&63+1] + ":" + who
	}
	if strings.HasPrefix(who, keyPrefix) {
		return keyPrefix + "-:" + who // a principal that looks like a key is not one
	}
	return who
}

func splitKey(key string) (profile, string) {
	rest, ok := strings.CutPrefix(key, keyPrefix)
	if own, who, has := splitOwn(rest); ok && has {
		return own, who
	}
	if !ok || len(rest) < 2 || rest[1] != ':' {
		return profile{}, key
	}
	if at := strings.IndexByte(keyDigits, rest[0]); at >= 0 {
		return profile{legacy: true, asks: asks(at)}, rest[2:]
	}
	return profile{}, rest[2:]
}

// splitOwn reads the key of a session's own worker.
func splitOwn(rest string) (p profile, who string, ok bool) {
	const end = 2 + 2*len(p.session)
	if len(rest) <= end || rest[1] != '.' || rest[end] != ':' {
		return profile{}, "", false
	}
	at := strings.IndexByte(keyDigits, rest[0])
	if n, err := hex.Decode(p.session[:], []byte(rest[2:end])); at < 0 || err != nil || n != len(p.session) {
		return profile{}, "", false
	}
	p.legacy, p.asks = at > 0, asks(at)
	return p, rest[end+1:], true
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
