package bridge

import (
	"slices"
	"testing"
)

// TestKeys: a key says whom it belongs to and nothing about anybody else.
func TestKeys(t *testing.T) {
	seen := map[string]string{}
	for _, who := range []string{"", "usr_1", "asks=7:usr_1", "asks=-:x", "asks=", "asks=7", "a:b"} {
		for _, key := range Keys(who) {
			if Owner(key) != who {
				t.Errorf("%q belongs to %q, want %q", key, Owner(key), who)
			}
			if other, ok := seen[key]; ok {
				t.Errorf("%q is a key of %q and %q", key, other, who)
			}
			seen[key] = who
		}
	}
	p := profile{legacy: true, asks: askForm | askRoots}
	key := p.keyOf("usr_1")
	if got, _ := splitKey(key); got != p || !slices.Contains(Keys("usr_1"), key) {
		t.Errorf("%q reads %+v", key, got)
	}
}
