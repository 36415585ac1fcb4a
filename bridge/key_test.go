package bridge

import "testing"

// keysOf lists every key that a principal's workers can have.
func keysOf(who string) []string {
	keys := []string{profile{}.keyOf(who)}
	for a := range asks(len(keyDigits)) {
		keys = append(keys, profile{legacy: true, asks: a}.keyOf(who))
	}
	return keys
}

// TestKeys: a key says whom it belongs to and nothing about anybody else.
func TestKeys(t *testing.T) {
	seen := map[string]string{}
	for _, who := range []string{"", "usr_1", "asks=7:usr_1", "asks=-:x", "asks=", "asks=7", "a:b"} {
		for i, key := range keysOf(who) {
			if Owner(key) != who {
				t.Errorf("%q belongs to %q, want %q", key, Owner(key), who)
			}
			if other, ok := seen[key]; ok {
				t.Errorf("%q is a key of %q and %q", key, other, who)
			}
			if FitsSpare(key) != (i == 0) {
				t.Errorf("FitsSpare(%q) = %v", key, i != 0)
			}
			seen[key] = who
		}
	}
	own := profile{legacy: true, asks: askForm, session: sid{1, 2, 255}}
	if got, who := splitKey(own.keyOf("asks=7:usr_1")); got != own || who != "asks=7:usr_1" {
		t.Errorf("%q reads %+v of %q", own.keyOf("asks=7:usr_1"), got, who)
	}
	if own.asks, own.legacy = 0, false; !FitsSpare(own.keyOf("usr_1")) {
		t.Error("a session that is asked nothing cannot have a spare worker")
	}
	for _, p := range []profile{
		{legacy: true, extensions: `"a/b":{"c":"+.:"}`}, {legacy: true, asks: askURL, extensions: `"a/b":{}`, session: sid{7}},
	} {
		if got, who := splitKey(p.keyOf("a:+b")); got != p || who != "a:+b" {
			t.Errorf("%q reads %+v of %q", p.keyOf("a:+b"), got, who)
		}
	}
	for _, key := range []string{"asks=", "asks=:x", "asks=77:x", "asks=7+:x", "asks=7+!:x", "asks=7.00:x", "asks=7.:x", "asks= :x"} {
		if got, who := splitKey(key); got != (profile{}) || who != key {
			t.Errorf("%q reads %+v of %q", key, got, who)
		}
	}
	p := profile{legacy: true, asks: askForm | askRoots}
	if got, _ := splitKey(p.keyOf("usr_1")); got != p {
		t.Errorf("%q reads %+v", p.keyOf("usr_1"), got)
	}
}
