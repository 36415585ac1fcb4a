package supervisor

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
)

// Spec is one server, ready to run: a valid Config with the environment of its children worked
// out. Make one with NewSpec; treat it as a value that does not change.
type Spec struct {
	// Name is the server's name in servers.toml.
	Name string

	Config

	// Secrets are values that are masked in logs and in reasons. They do not count in Equal.
	Secrets []string

	// Environ is the whole environment of a child, sorted, as "name=value".
	Environ []string

	// Variant is whatever else, outside the process itself, its workers were opened under: when
	// it changes, new workers take over. Default: nothing.
	Variant string

	// Key keys the digest of the environment's values in Fingerprint. With a key that is kept
	// on disk the fingerprint is the same after a restart of mcpd; without one it holds for
	// the life of this process only.
	Key []byte
}

// NewSpec checks c and works out the environment of its children from mcpd's own environment as
// it is now. The error tells everything that is wrong, one line each, beginning with the key.
func NewSpec(name string, c Config, secrets []string) (Spec, error) {
	if name == "" {
		return Spec{}, errors.New("cannot use a server without a name")
	}
	if err := c.Validate(); err != nil {
		return Spec{}, err
	}
	vars := environ(c, os.Environ())
	return Spec{Name: name, Config: c, Secrets: append(slices.Clone(secrets), passwords(vars)...), Environ: vars}, nil
}

// Equal tells whether s and t describe the same server. Secrets and Key, which change how it is
// shown and not how it runs, do not count.
func (s Spec) Equal(t Spec) bool {
	return s.sameProcess(t) && s.Name == t.Name && s.Disabled == t.Disabled &&
		s.Workers == t.Workers && s.Timeouts == t.Timeouts
}

// Fingerprint names what a child of this server runs: program, arguments, directory and
// environment. It holds a keyed digest of the values, so it can be stored and shown: without the
// key nobody can test a guess at a secret against it.
func (s Spec) Fingerprint() string {
	key := s.Key
	if len(key) == 0 {
		key = processKey()
	}
	d := digest{hmac.New(sha256.New, key)}
	d.add(s.Command)
	d.add(s.Dir)
	d.add(s.Args...)
	d.add(s.Environ...)
	return base64.RawURLEncoding.EncodeToString(d.Sum(nil)[:16])
}

// String is the command as a person would type it; it shows no value of the environment and no
// secret among the arguments.
func (s Spec) String() string {
	return newMasker(s.Secrets).mask(strings.Join(append([]string{s.Command}, s.Args...), " "))
}

// GoString keeps secrets out of %#v.
func (s Spec) GoString() string { return fmt.Sprintf("supervisor.Spec(%s: %s)", s.Name, s.String()) }

// sameProcess tells whether a child of s could just as well be a child of t.
func (s Spec) sameProcess(t Spec) bool {
	return s.Command == t.Command && s.Dir == t.Dir && s.Pin == t.Pin && s.InstallScripts == t.InstallScripts && s.Variant == t.Variant && s.Exclusive == t.Exclusive && s.Limits == t.Limits && s.Sandbox.equal(t.Sandbox) &&
		slices.Equal(s.Args, t.Args) && slices.Equal(s.Environ, t.Environ)
}

// digest is a hash over lists of strings in which no two different inputs read the same.
type digest struct{ hash.Hash }

func (d digest) add(list ...string) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(list)))
	d.Write(n[:])
	for _, s := range list {
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		d.Write(n[:])
		d.Write([]byte(s))
	}
}

// processKey is drawn once per process, at its first use.
var processKey = sync.OnceValue(func() []byte {
	key := make([]byte, sha256.Size)
	rand.Read(key)
	return key
})

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
