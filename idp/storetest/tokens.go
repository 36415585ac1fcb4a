package storetest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/mcpd/mcpd/idp"
)

func codes(w *world) {
	code := w.code(w.user("alice"), w.client("cli_1"), "c")
	got, err := w.Tokens().Code(w.Context(), code.Hash)
	w.no(err)
	same(w, fmt.Sprint(got), fmt.Sprint(code))
	_, err = w.Tokens().Code(w.Context(), idp.DigestOf("other"))
	w.want(err, idp.ErrNotFound)
	w.want(w.Tokens().Redeem(w.Context(), idp.DigestOf("other"), w.now, w.access("f", "a"), w.refresh("f", "r")), idp.ErrNotFound)
	w.no(w.Tokens().BurnCode(w.Context(), code.Hash, w.later(time.Second)))
	w.want(w.Tokens().BurnCode(w.Context(), code.Hash, w.now), idp.ErrSpent)
	got, err = w.Tokens().Code(w.Context(), code.Hash)
	w.no(err)
	same(w, got.Used, w.later(time.Second))
	w.want(w.Tokens().Redeem(w.Context(), code.Hash, w.now, w.access(code.Family.ID, "a"), w.refresh(code.Family.ID, "r")), idp.ErrSpent)
	_, err = w.Tokens().Access(w.Context(), idp.DigestOf("a"))
	w.want(err, idp.ErrNotFound)
}

func spend(w *world) {
	hash := idp.DigestOf("once")
	same(w, w.race(func() error { return w.Tokens().Spend(w.Context(), hash, w.later(time.Minute)) }, idp.ErrSpent), 1)
	_, err := w.Sweep(w.Context(), idp.Sweep{Now: w.now, Limit: 10})
	w.no(err)
	w.want(w.Tokens().Spend(w.Context(), hash, w.later(time.Minute)), idp.ErrSpent)
	n, err := w.Sweep(w.Context(), idp.Sweep{Now: w.later(time.Hour), Limit: 10})
	w.no(err)
	same(w, n, 1)
}

func redeemOnce(w *world) {
	alice, c := w.user("alice"), w.client("cli_1")
	code := w.code(alice, c, "c")
	a, r := w.access(code.Family.ID, "a"), w.refresh(code.Family.ID, "r")
	same(w, w.race(func() error { return w.Tokens().Redeem(w.Context(), code.Hash, w.now, a, r) }, idp.ErrSpent), 1)

	h, err := w.Tokens().Access(w.Context(), a.Hash)
	w.no(err)
	same(w, fmt.Sprint(h.Access), fmt.Sprint(a))
	same(w, h.User, alice)
	same(w, h.ClientName, c.Name)
	family := code.Family
	family.Expires = r.Expires
	same(w, fmt.Sprint(h.Family), fmt.Sprint(family))
	gotR, gotF, err := w.Tokens().Refresh(w.Context(), r.Hash)
	w.no(err)
	same(w, fmt.Sprint(gotR), fmt.Sprint(r))
	same(w, fmt.Sprint(gotF), fmt.Sprint(family))
}

func rotate(w *world) {
	code := w.connected(w.user("alice"), w.client("cli_1"), "c")
	f := code.Family.ID
	next := w.refresh(f, "rt2")
	next.Expires = w.later(48 * time.Hour)
	w.no(w.Tokens().Rotate(w.Context(), idp.DigestOf("crt"), w.later(time.Second), []byte("salt"), next, w.access(f, "at2")))
	old, family, err := w.Tokens().Refresh(w.Context(), idp.DigestOf("crt"))
	w.no(err)
	same(w, old.Used, w.later(time.Second))
	same(w, string(old.Salt), "salt")
	same(w, family.Expires, next.Expires)
	w.want(w.Tokens().Rotate(w.Context(), idp.DigestOf("crt"), w.now, nil, w.refresh(f, "rt3"), w.access(f, "at3")), idp.ErrSpent)
	_, _, err = w.Tokens().Refresh(w.Context(), idp.DigestOf("rt3"))
	w.want(err, idp.ErrNotFound)
	w.want(w.Tokens().Rotate(w.Context(), idp.DigestOf("none"), w.now, nil, w.refresh(f, "rt3"), w.access(f, "at3")), idp.ErrNotFound)
	w.no(w.Tokens().PutAccess(w.Context(), w.access(f, "at4")))
	w.want(w.Tokens().PutAccess(w.Context(), w.access("fam_none", "at5")), idp.ErrNotFound)
	w.no(w.Tokens().DeleteAccess(w.Context(), idp.DigestOf("at4")))
	_, err = w.Tokens().Access(w.Context(), idp.DigestOf("at4"))
	w.want(err, idp.ErrNotFound)
	_, err = w.Tokens().Access(w.Context(), idp.DigestOf("at2"))
	w.no(err)
}

func rotateOnce(w *world) {
	f := w.connected(w.user("alice"), w.client("cli_1"), "c").Family.ID
	var mu sync.Mutex
	n := 0
	won := w.race(func() error {
		mu.Lock()
		n++
		name := fmt.Sprint(n)
		mu.Unlock()
		return w.Tokens().Rotate(w.Context(), idp.DigestOf("crt"), w.now, []byte(name), w.refresh(f, "r"+name), w.access(f, "a"+name))
	}, idp.ErrSpent)
	same(w, won, 1)
}

// rotateTogether: among many rotations at once, those that fail and those whose callers go away take nothing from the others.
func rotateTogether(w *world) {
	alice, c := w.user("alice"), w.client("cli_1")
	const many = 60
	errs, families, start := make([]error, many), make([]string, many), make(chan struct{})
	for n := range many {
		families[n] = w.connected(alice, c, fmt.Sprint("n", n)).Family.ID
	}
	gone, leave := context.WithCancel(w.Context())
	var all sync.WaitGroup
	for n, owner := range families {
		name, ctx := fmt.Sprint("n", n), w.Context()
		old := idp.DigestOf(name + "rt")
		switch n % 6 {
		case 1:
			old = idp.DigestOf("none")
		case 3:
			owner = "fam_none"
		case 5:
			ctx = gone
		}
		all.Go(func() { // ends with the rotation
			<-start
			errs[n] = w.Tokens().Rotate(ctx, old, w.now, []byte("salt"), w.refresh(owner, name+"r2"), w.access(owner, name+"a2"))
		})
	}
	close(start)
	leave()
	all.Wait()
	for n, err := range errs {
		_, _, missing := w.Tokens().Refresh(w.Context(), idp.DigestOf(fmt.Sprint("n", n, "r2")))
		was, _, there := w.Tokens().Refresh(w.Context(), idp.DigestOf(fmt.Sprint("n", n, "rt")))
		w.no(there)
		switch n % 6 {
		case 1, 3:
			w.want(err, idp.ErrNotFound)
		case 5: // made or not, but all of it, and what was answered is true
			if err == nil && missing != nil {
				w.Fatalf("rotation %d: %v, %v", n, err, missing)
			}
		default:
			w.no(err)
		}
		if made := missing == nil; made == was.Used.IsZero() || err == nil && !made || made && n%6 != 5 && err != nil {
			w.Errorf("rotation %d: made %v, used %v, %v", n, made, was.Used, err)
		}
	}
}

func personalTokens(w *world) {
	alice := w.user("alice")
	f := idp.Family{ID: "fam_p", UserID: alice.ID, Server: "alpha", Resource: "r", Scopes: []string{"mcp"}, Label: "backup", Tools: []string{"get_*", "list"}, AuthTime: w.now, Created: w.now}
	a := w.access(f.ID, "p")
	w.no(w.Tokens().PutFamily(w.Context(), f, a))
	h, err := w.Tokens().Access(w.Context(), a.Hash)
	w.no(err)
	f.Expires = a.Expires
	same(w, fmt.Sprint(h.Family), fmt.Sprint(f))
	same(w, h.ClientName, "")
	w.connected(alice, w.client("cli_1"), "c") // no personal one
	all, err := w.Tokens().Personal(w.Context(), w.now)
	w.no(err)
	same(w, fmt.Sprint(all), fmt.Sprint([]idp.Personal{{Family: f, Hash: a.Hash, User: alice}}))
	all, err = w.Tokens().Personal(w.Context(), a.Expires)
	w.no(err)
	same(w, len(all), 0)
	f.UserID, f.ID = "usr_none", "fam_q"
	w.want(w.Tokens().PutFamily(w.Context(), f, w.access(f.ID, "q")), idp.ErrNotFound)
}

// exchanged: what was had for a token ends with it.
func exchanged(w *world) {
	alice := w.user("alice")
	parent := w.connected(alice, w.client("cli_1"), "c").Family
	w.client("cli_2")
	f := idp.Family{ID: "fam_x", Parent: parent.ID, UserID: alice.ID, ClientID: "cli_2", Server: "beta", Resource: "r", Scopes: []string{"mcp"}, AuthTime: w.now, Created: w.now}
	a := w.access(f.ID, "x")
	w.no(w.Tokens().PutFamily(w.Context(), f, a))
	h, err := w.Tokens().Access(w.Context(), a.Hash)
	w.no(err)
	f.Expires = a.Expires
	same(w, fmt.Sprint(h.Family), fmt.Sprint(f))
	w.no(w.Tokens().DeleteFamily(w.Context(), parent.ID))
	_, err = w.Tokens().Access(w.Context(), a.Hash)
	w.want(err, idp.ErrNotFound)
	f.ID = "fam_y"
	w.want(w.Tokens().PutFamily(w.Context(), f, w.access(f.ID, "y")), idp.ErrNotFound) // the parent is gone
}

func connections(w *world) {
	alice, c := w.user("alice"), w.client("cli_1")
	w.connected(alice, c, "one")
	w.connected(w.user("bob"), c, "two")
	all, err := w.Tokens().Connections(w.Context(), alice.ID, w.now)
	w.no(err)
	same(w, len(all), 1)
	same(w, all[0].ID, "fam_one")
	same(w, all[0].ClientName, c.Name)
	all, err = w.Tokens().Connections(w.Context(), alice.ID, w.later(25*time.Hour))
	w.no(err)
	same(w, len(all), 0)
}

func (w *world) gone(names ...string) {
	w.Helper()
	for _, n := range names {
		_, err := w.Tokens().Access(w.Context(), idp.DigestOf(n+"at"))
		w.want(err, idp.ErrNotFound)
		_, _, err = w.Tokens().Refresh(w.Context(), idp.DigestOf(n+"rt"))
		w.want(err, idp.ErrNotFound)
	}
}

func (w *world) there(names ...string) {
	w.Helper()
	for _, n := range names {
		_, err := w.Tokens().Access(w.Context(), idp.DigestOf(n+"at"))
		w.no(err)
	}
}

func deleteFamily(w *world) {
	alice, c := w.user("alice"), w.client("cli_1")
	w.connected(alice, c, "one")
	w.connected(alice, c, "two")
	w.no(w.Tokens().DeleteFamily(w.Context(), "fam_one"))
	w.no(w.Tokens().DeleteFamily(w.Context(), "fam_one"))
	w.gone("one")
	w.there("two")
	code, err := w.Tokens().Code(w.Context(), idp.DigestOf("one"))
	w.no(err)
	same(w, code.Used.IsZero(), false)
	w.want(w.Tokens().PutAccess(w.Context(), w.access("fam_one", "late")), idp.ErrNotFound)
}

func deleteUser(w *world) {
	alice, bob, c := w.user("alice"), w.user("bob"), w.client("cli_1")
	w.connected(alice, c, "one")
	w.connected(bob, c, "two")
	open := w.code(alice, c, "open")
	s := idp.Session{Hash: idp.DigestOf("s"), User: alice, AuthTime: w.now, Expires: w.later(time.Hour)}
	w.no(w.Sessions().Put(w.Context(), s))
	w.no(w.Consents().Put(w.Context(), idp.Consent{UserID: alice.ID, ClientID: c.ID, Server: "alpha", Created: w.now}))
	w.no(w.Users().Delete(w.Context(), alice.ID))
	w.gone("one")
	w.there("two")
	_, err := w.Sessions().Get(w.Context(), s.Hash, w.now)
	w.want(err, idp.ErrNotFound)
	_, err = w.Consents().Get(w.Context(), alice.ID, c.ID, "alpha")
	w.want(err, idp.ErrNotFound)
	w.want(w.Tokens().Redeem(w.Context(), open.Hash, w.now, w.access(open.Family.ID, "a"), w.refresh(open.Family.ID, "r")), idp.ErrNotFound)
}

func deleteClient(w *world) {
	alice := w.user("alice")
	w.connected(alice, w.client("cli_1"), "one")
	w.connected(alice, w.client("cli_2"), "two")
	w.no(w.Clients().Delete(w.Context(), "cli_1"))
	w.gone("one")
	w.there("two")
}

func sweep(w *world) {
	alice, c := w.user("alice"), w.client("cli_1")
	w.no(w.Clients().Use(w.Context(), c.ID, w.now))
	w.client("cli_unused")
	w.connected(alice, c, "one")
	f := "fam_one"
	w.no(w.Tokens().Rotate(w.Context(), idp.DigestOf("onert"), w.now, []byte("salt"), w.refresh(f, "rt2"), w.access(f, "at2")))
	s := idp.Session{Hash: idp.DigestOf("s"), User: alice, AuthTime: w.now, Expires: w.later(time.Hour)}
	w.no(w.Sessions().Put(w.Context(), s))

	run := func(after time.Duration) int {
		w.Helper()
		total := 0
		for {
			n, err := w.Store.Sweep(w.Context(), idp.Sweep{Now: w.later(after), UnusedBefore: w.later(after - 2*time.Hour), SaltBefore: w.later(after - time.Minute), Limit: 1})
			w.no(err)
			if n == 0 {
				return total
			}
			total += n
		}
	}
	same(w, run(0), 0)
	w.there("one")
	old, _, err := w.Tokens().Refresh(w.Context(), idp.DigestOf("onert"))
	w.no(err)
	same(w, string(old.Salt), "salt")

	same(w, run(2*time.Minute), 1) // the code
	old, _, err = w.Tokens().Refresh(w.Context(), idp.DigestOf("onert"))
	w.no(err)
	same(w, len(old.Salt), 0)
	same(w, old.Used.IsZero(), false)

	same(w, run(3*time.Hour), 4) // the session, two access tokens, the unused client
	_, err = w.Clients().Get(w.Context(), "cli_unused")
	w.want(err, idp.ErrNotFound)
	_, err = w.Clients().Get(w.Context(), c.ID)
	w.no(err)
	if n := run(25 * time.Hour); n == 0 {
		w.Fatal("nothing swept of a family that has expired")
	}
	all, err := w.Tokens().Connections(w.Context(), alice.ID, w.now)
	w.no(err)
	same(w, len(all), 0)
}
