package storetest

import (
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/mcpd/mcpd/idp"
)

// Run runs the suite. Open returns an empty store each time; the suite closes it.
func Run(t *testing.T, open func(t *testing.T) idp.Store) {
	for _, c := range []struct {
		name string
		test func(*world)
	}{
		{"Users", users},
		{"Subjects", subjects},
		{"SignOut", signOut},
		{"Sessions", sessions},
		{"Links", links},
		{"Clients", clients},
		{"ClientLimit", clientLimit},
		{"Consents", consents},
		{"Spend", spend},
		{"Codes", codes},
		{"RedeemOnce", redeemOnce},
		{"Rotate", rotate},
		{"RotateOnce", rotateOnce},
		{"RotateTogether", rotateTogether},
		{"PersonalTokens", personalTokens},
		{"Identities", identities},
		{"Exchanged", exchanged},
		{"Connections", connections},
		{"DeleteFamily", deleteFamily},
		{"DeleteUser", deleteUser},
		{"DeleteClient", deleteClient},
		{"Devices", devices},
		{"Factors", factors},
		{"Keys", keys},
		{"Sweep", sweep},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &world{T: t, Store: open(t), now: time.UnixMilli(1_800_000_000_123).UTC()}
			defer func() { w.no(w.Close()) }()
			c.test(w)
		})
	}
}

// world is one store under test, with a time that stands still.
type world struct {
	*testing.T
	idp.Store
	now time.Time
}

func (w *world) no(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) want(err, want error) {
	w.Helper()
	if !errors.Is(err, want) {
		w.Fatalf("error %v, want %v", err, want)
	}
}

func same[T any](w *world, got, want T) {
	w.Helper()
	if !reflect.DeepEqual(got, want) {
		w.Fatalf("got %v, want %v", got, want)
	}
}

func (w *world) later(d time.Duration) time.Time { return w.now.Add(d) }

func (w *world) user(name string) idp.User {
	w.Helper()
	u := idp.User{ID: "usr_" + name, Name: name, Created: w.now}
	w.no(w.Users().Create(w.Context(), idp.Account{User: u, Password: "hash of " + name}))
	return u
}

func (w *world) client(id string) idp.Client {
	w.Helper()
	c := idp.Client{
		ID: id, Kind: idp.Registered, Name: "name of " + id, RedirectURIs: []string{"https://a.example/cb", "cursor://x/y"}, AuthMethod: "none", URI: "https://a.example",
		LogoutURIs: []string{"https://a.example/out"}, Keys: []byte(`{"keys":[]}`), KeysURI: "https://a.example/keys", Fresh: w.later(time.Hour),
		SoftwareID: "soft", AppType: "native", Secret: idp.DigestOf("secret"), Manage: idp.DigestOf("manage"), Created: w.now,
	}
	w.no(w.Clients().Create(w.Context(), c, 1000))
	return c
}

func (w *world) code(u idp.User, c idp.Client, name string) idp.Code {
	w.Helper()
	code := idp.Code{
		Hash: idp.DigestOf(name), RedirectURI: "https://a.example/cb", Challenge: "challenge", Nonce: "nonce", Expires: w.later(time.Minute),
		Family: idp.Family{
			ID: "fam_" + name, UserID: u.ID, ClientID: c.ID, Server: "alpha", Resource: "https://alpha.example/mcp",
			Scopes: []string{"mcp", "openid"}, AuthTime: w.later(-time.Hour), Created: w.now,
		},
	}
	w.no(w.Tokens().PutCode(w.Context(), code))
	return code
}

func (w *world) access(family, name string) idp.Access {
	return idp.Access{Hash: idp.DigestOf(name), Family: family, Scopes: []string{"mcp"}, Created: w.now, Expires: w.later(time.Hour)}
}

func (w *world) refresh(family, name string) idp.Refresh {
	return idp.Refresh{Hash: idp.DigestOf(name), Family: family, Expires: w.later(24 * time.Hour)}
}

// connected is a redeemed code: a family with the access token "at" and the refresh token "rt", prefixed by its name.
func (w *world) connected(u idp.User, c idp.Client, name string) idp.Code {
	w.Helper()
	code := w.code(u, c, name)
	w.no(w.Tokens().Redeem(w.Context(), code.Hash, w.now, w.access(code.Family.ID, name+"at"), w.refresh(code.Family.ID, name+"rt")))
	return code
}

// race runs f many times at once, and returns how often it succeeded; otherwise it must fail as stated.
func (w *world) race(f func() error, otherwise error) int {
	const n = 16
	errs := make([]error, n)
	var all sync.WaitGroup
	for k := range n {
		all.Go(func() { errs[k] = f() })
	}
	all.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			w.want(err, otherwise)
		}
	}
	return won
}
