package storetest

import (
	"fmt"
	"time"

	"github.com/mcpd/mcpd/idp"
)

func users(w *world) {
	alice := w.user("Alice")
	a, err := w.Users().ByName(w.Context(), "aLICE")
	w.no(err)
	same(w, a, idp.Account{User: alice, Password: "hash of Alice"})
	a, err = w.Users().ByID(w.Context(), alice.ID)
	w.no(err)
	same(w, a.User, alice)
	w.want(w.Users().Create(w.Context(), idp.Account{User: idp.User{ID: "usr_2", Name: "ALICE"}}), idp.ErrExists)
	w.want(w.Users().Create(w.Context(), idp.Account{User: idp.User{ID: alice.ID, Name: "x"}}), idp.ErrExists)
	w.user("bob")
	all, err := w.Users().List(w.Context())
	w.no(err)
	same(w, len(all), 2)
	same(w, all[0].Name+all[1].Name, "Alicebob")

	_, err = w.Users().ByName(w.Context(), "carol")
	w.want(err, idp.ErrNotFound)
	_, err = w.Users().ByID(w.Context(), "usr_carol")
	w.want(err, idp.ErrNotFound)
	w.want(w.Users().SetPassword(w.Context(), "usr_carol", "x"), idp.ErrNotFound)
	w.want(w.Users().Delete(w.Context(), "usr_carol"), idp.ErrNotFound)

	s := idp.Session{Hash: idp.DigestOf("s"), User: alice, AuthTime: w.now, Expires: w.later(time.Hour)}
	w.no(w.Sessions().Put(w.Context(), s))
	w.no(w.Users().SetPassword(w.Context(), alice.ID, "new"))
	a, err = w.Users().ByID(w.Context(), alice.ID)
	w.no(err)
	same(w, a.Password, "new")
	_, err = w.Sessions().Get(w.Context(), s.Hash, w.now)
	w.want(err, idp.ErrNotFound)
}

// signOut ends all that hangs on a person but themselves and what they agreed to.
func signOut(w *world) {
	alice, bob, client := w.user("alice"), w.user("bob"), w.client("app")
	for _, u := range []idp.User{alice, bob} {
		w.no(w.Sessions().Put(w.Context(), idp.Session{Hash: idp.DigestOf("s" + u.Name), User: u, AuthTime: w.now, Expires: w.later(time.Hour)}))
		w.no(w.Sessions().PutLink(w.Context(), idp.Link{Hash: idp.DigestOf("l" + u.Name), User: u, Expires: w.later(time.Hour)}))
		w.code(u, client, "c"+u.Name)
		w.connected(u, client, u.Name)
		w.no(w.Consents().Put(w.Context(), idp.Consent{UserID: u.ID, ClientID: client.ID, Server: "alpha", Created: w.now}))
	}
	w.want(w.Users().SignOut(w.Context(), "usr_nobody"), idp.ErrNotFound)
	w.no(w.Users().SignOut(w.Context(), alice.ID))
	left := func(u idp.User, want error) {
		w.Helper()
		_, err := w.Sessions().Get(w.Context(), idp.DigestOf("s"+u.Name), w.now)
		w.want(err, want)
		_, err = w.Sessions().Link(w.Context(), idp.DigestOf("l"+u.Name), w.now)
		w.want(err, want)
		_, err = w.Tokens().Code(w.Context(), idp.DigestOf("c"+u.Name))
		w.want(err, want)
		_, err = w.Tokens().Access(w.Context(), idp.DigestOf(u.Name+"at"))
		w.want(err, want)
		_, _, err = w.Tokens().Refresh(w.Context(), idp.DigestOf(u.Name+"rt"))
		w.want(err, want)
		_, err = w.Consents().Get(w.Context(), u.ID, client.ID, "alpha")
		w.want(err, nil)
		_, err = w.Users().ByID(w.Context(), u.ID)
		w.want(err, nil)
	}
	left(alice, idp.ErrNotFound)
	left(bob, nil)
}

func subjects(w *world) {
	local := w.user("alice")
	carol := idp.User{
		ID: "usr_carol", Name: "carol@corp.example", Provider: "corp", Subject: "17", Groups: []string{"admins", "All People"}, Seen: w.later(time.Second), Created: w.now,
	}
	w.no(w.Users().Create(w.Context(), idp.Account{User: carol}))
	a, err := w.Users().BySubject(w.Context(), "corp", "17")
	w.no(err)
	same(w, a, idp.Account{User: carol})
	for _, other := range [][2]string{{"corp", "18"}, {"other", "17"}, {"", ""}} {
		_, err := w.Users().BySubject(w.Context(), other[0], other[1])
		w.want(err, idp.ErrNotFound)
	}
	twin := carol
	twin.ID, twin.Name = "usr_twin", "twin@corp.example"
	w.want(w.Users().Create(w.Context(), idp.Account{User: twin}), idp.ErrExists)
	twin.Provider = "other"
	w.no(w.Users().Create(w.Context(), idp.Account{User: twin}))
	w.user("bob") // a second one whom no provider knows

	carol.Name, carol.Groups, carol.Seen = "Carol.New@corp.example", nil, w.later(time.Hour)
	w.no(w.Users().Update(w.Context(), carol))
	s, l := idp.Session{Hash: idp.DigestOf("s"), User: carol, Expires: w.later(time.Hour)}, idp.Link{Hash: idp.DigestOf("l"), User: carol, Expires: w.later(time.Hour)}
	w.no(w.Sessions().Put(w.Context(), s))
	w.no(w.Sessions().PutLink(w.Context(), l))
	carol.Groups = []string{"one"}
	w.no(w.Users().Update(w.Context(), carol))
	code := w.connected(carol, w.client("cli_1"), "c")
	for who, find := range map[string]func() (idp.User, error){
		"id": func() (idp.User, error) { a, err := w.Users().ByID(w.Context(), carol.ID); return a.User, err },
		"name": func() (idp.User, error) {
			a, err := w.Users().ByName(w.Context(), "carol.new@CORP.example")
			return a.User, err
		},
		"session": func() (idp.User, error) { s, err := w.Sessions().Get(w.Context(), s.Hash, w.now); return s.User, err },
		"link":    func() (idp.User, error) { l, err := w.Sessions().Link(w.Context(), l.Hash, w.now); return l.User, err },
		"token": func() (idp.User, error) {
			h, err := w.Tokens().Access(w.Context(), idp.DigestOf(code.Family.ID[4:]+"at"))
			return h.User, err
		},
	} {
		u, err := find()
		if err != nil {
			w.Fatalf("by %s: %v", who, err)
		}
		same(w, u, carol)
	}
	carol.Name = local.Name
	w.want(w.Users().Update(w.Context(), carol), idp.ErrExists)
	w.want(w.Users().Update(w.Context(), idp.User{ID: "usr_none", Name: "none"}), idp.ErrNotFound)
}

func sessions(w *world) {
	alice := w.user("alice")
	s := idp.Session{Hash: idp.DigestOf("s"), User: alice, AuthTime: w.later(-time.Minute), Expires: w.later(time.Hour), Method: "password", Agent: "Browser/1"}
	w.no(w.Sessions().Put(w.Context(), s))
	bob := w.user("bob")
	old, other := s, s
	old.Hash, old.AuthTime = idp.DigestOf("old"), w.later(-time.Hour)
	other.Hash, other.User = idp.DigestOf("bob's"), bob
	w.no(w.Sessions().Put(w.Context(), old))
	w.no(w.Sessions().Put(w.Context(), other))
	mine, err := w.Sessions().Of(w.Context(), alice.ID, w.now)
	w.no(err)
	same(w, mine, []idp.Session{s, old})
	mine, err = w.Sessions().Of(w.Context(), alice.ID, w.later(time.Hour))
	w.no(err)
	same(w, len(mine), 0)
	w.no(w.Sessions().DeleteOf(w.Context(), bob.ID))
	_, err = w.Sessions().Get(w.Context(), other.Hash, w.now)
	w.want(err, idp.ErrNotFound)
	got, err := w.Sessions().Get(w.Context(), s.Hash, w.now)
	w.no(err)
	same(w, got, s)
	_, err = w.Sessions().Get(w.Context(), s.Hash, w.later(time.Hour))
	w.want(err, idp.ErrNotFound)
	_, err = w.Sessions().Get(w.Context(), idp.DigestOf("other"), w.now)
	w.want(err, idp.ErrNotFound)
	w.no(w.Sessions().Delete(w.Context(), s.Hash))
	w.no(w.Sessions().Delete(w.Context(), s.Hash))
	_, err = w.Sessions().Get(w.Context(), s.Hash, w.now)
	w.want(err, idp.ErrNotFound)
	w.want(w.Sessions().Put(w.Context(), idp.Session{Hash: s.Hash, User: idp.User{ID: "usr_none"}, Expires: s.Expires}), idp.ErrNotFound)
}

func factors(w *world) {
	alice, bob := w.user("alice"), w.user("bob")
	key := idp.Factor{ID: "fac_1", UserID: alice.ID, Kind: idp.Passkey, Label: "Phone", Handle: "handle", Data: []byte{1}, Created: w.now}
	codes := idp.Factor{ID: "fac_2", UserID: alice.ID, Kind: idp.TOTP, Label: "App", Data: []byte("secret"), Step: 7, Created: w.later(time.Second), Used: w.later(time.Second)}
	w.no(w.Factors().Put(w.Context(), codes, 2))
	w.no(w.Factors().Put(w.Context(), key, 2))
	w.want(w.Factors().Put(w.Context(), idp.Factor{ID: "fac_3", UserID: alice.ID, Kind: idp.TOTP, Data: []byte{}}, 2), idp.ErrFull)
	twin := key
	twin.ID, twin.UserID = "fac_3", bob.ID
	w.want(w.Factors().Put(w.Context(), twin, 2), idp.ErrExists)
	w.want(w.Factors().Put(w.Context(), idp.Factor{ID: "fac_4", UserID: "usr_none", Kind: idp.TOTP, Data: []byte{}}, 2), idp.ErrNotFound)
	w.no(w.Factors().Put(w.Context(), idp.Factor{ID: "fac_5", UserID: bob.ID, Kind: idp.TOTP, Data: []byte{}}, 2))
	all, err := w.Factors().Of(w.Context(), alice.ID)
	w.no(err)
	same(w, all, []idp.Factor{key, codes})
	got, err := w.Factors().ByHandle(w.Context(), "handle")
	w.no(err)
	same(w, got, key)
	_, err = w.Factors().ByHandle(w.Context(), "")
	w.want(err, idp.ErrNotFound)

	w.want(w.Factors().Use(w.Context(), codes.ID, 7, codes.Data, w.now), idp.ErrSpent)
	same(w, w.race(func() error { return w.Factors().Use(w.Context(), codes.ID, 8, codes.Data, w.now) }, idp.ErrSpent), 1)
	w.want(w.Factors().Use(w.Context(), "fac_none", 8, nil, w.now), idp.ErrNotFound)
	w.no(w.Factors().Use(w.Context(), key.ID, 1, []byte{2}, w.later(time.Minute)))
	got, err = w.Factors().ByHandle(w.Context(), "handle")
	w.no(err)
	key.Step, key.Data, key.Used = 1, []byte{2}, w.later(time.Minute)
	same(w, got, key)

	w.want(w.Factors().Delete(w.Context(), bob.ID, key.ID), idp.ErrNotFound)
	w.no(w.Factors().Delete(w.Context(), alice.ID, key.ID))
	w.no(w.Factors().DeleteOf(w.Context(), alice.ID))
	w.no(w.Factors().DeleteOf(w.Context(), alice.ID))
	all, err = w.Factors().Of(w.Context(), alice.ID)
	w.no(err)
	same(w, len(all), 0)
	all, err = w.Factors().Of(w.Context(), bob.ID)
	w.no(err)
	same(w, len(all), 1)
	w.no(w.Users().Delete(w.Context(), bob.ID))
	all, err = w.Factors().Of(w.Context(), bob.ID)
	w.no(err)
	same(w, len(all), 0)
}

func links(w *world) {
	alice := w.user("alice")
	l := idp.Link{Hash: idp.DigestOf("l"), User: alice, Expires: w.later(time.Hour)}
	w.no(w.Sessions().PutLink(w.Context(), l))
	for range 2 {
		got, err := w.Sessions().Link(w.Context(), l.Hash, w.now)
		w.no(err)
		same(w, got, l)
	}
	_, err := w.Sessions().Link(w.Context(), l.Hash, w.later(time.Hour))
	w.want(err, idp.ErrNotFound)
	_, err = w.Sessions().TakeLink(w.Context(), l.Hash, w.later(time.Hour))
	w.want(err, idp.ErrNotFound)
	won := w.race(func() error { _, err := w.Sessions().TakeLink(w.Context(), l.Hash, w.now); return err }, idp.ErrNotFound)
	same(w, won, 1)
}

func clients(w *world) {
	c := w.client("cli_1")
	got, err := w.Clients().Get(w.Context(), "cli_1")
	w.no(err)
	same(w, fmt.Sprint(got), fmt.Sprint(c))
	w.want(w.Clients().Create(w.Context(), c, 1000), idp.ErrExists)
	w.no(w.Clients().Use(w.Context(), "cli_1", w.later(time.Second)))
	w.no(w.Clients().Use(w.Context(), "cli_1", w.later(time.Hour)))
	got, err = w.Clients().Get(w.Context(), "cli_1")
	w.no(err)
	same(w, got.Used, w.later(time.Second))
	_, err = w.Clients().Get(w.Context(), "cli_2")
	w.want(err, idp.ErrNotFound)
	more := c
	more.Name, more.RedirectURIs, more.KeysURI, more.Fresh, more.Created = "other name", []string{"https://b.example/"}, "", w.later(2*time.Hour), w.later(time.Hour)
	w.no(w.Clients().Update(w.Context(), more))
	more.Created, more.Used = c.Created, got.Used
	got, err = w.Clients().Get(w.Context(), "cli_1")
	w.no(err)
	same(w, fmt.Sprint(got), fmt.Sprint(more))
	w.want(w.Clients().Update(w.Context(), idp.Client{ID: "cli_2"}), idp.ErrNotFound)
	w.no(w.Clients().Create(w.Context(), idp.Client{ID: "ci", Kind: idp.Configured, AuthMethod: "none", Service: true, Introspects: true, Created: w.now}, 1000))
	all, err := w.Clients().List(w.Context(), idp.Configured)
	w.no(err)
	same(w, len(all), 1)
	same(w, fmt.Sprintf("%s %v %v", all[0].ID, all[0].Service, all[0].Introspects), "ci true true")
	w.want(w.Clients().Delete(w.Context(), "cli_2"), idp.ErrNotFound)
	w.no(w.Clients().Delete(w.Context(), "cli_1"))
	_, err = w.Clients().Get(w.Context(), "cli_1")
	w.want(err, idp.ErrNotFound)
}

func clientLimit(w *world) {
	add := func(id string, age time.Duration) error {
		return w.Clients().Create(w.Context(), idp.Client{ID: id, Name: id, AuthMethod: "none", Created: w.later(-age)}, 3)
	}
	w.no(add("used", time.Hour))
	w.no(w.Clients().Use(w.Context(), "used", w.now))
	w.no(add("old", 30*time.Minute))
	w.no(add("young", 20*time.Minute))
	w.no(add("next", 0))
	_, err := w.Clients().Get(w.Context(), "old")
	w.want(err, idp.ErrNotFound)
	for _, id := range []string{"used", "young", "next"} {
		_, err := w.Clients().Get(w.Context(), id)
		w.no(err)
		w.no(w.Clients().Use(w.Context(), id, w.now))
	}
	w.want(add("more", 0), idp.ErrFull)
}

func consents(w *world) {
	alice, c := w.user("alice"), w.client("cli_1")
	k := idp.Consent{UserID: alice.ID, ClientID: c.ID, Server: "alpha", Scopes: []string{"mcp"}, Digest: idp.DigestOf("d"), Created: w.now}
	w.no(w.Consents().Put(w.Context(), k))
	k.Scopes = []string{"mcp", "openid"}
	w.no(w.Consents().Put(w.Context(), k))
	got, err := w.Consents().Get(w.Context(), alice.ID, c.ID, "alpha")
	w.no(err)
	same(w, fmt.Sprint(got), fmt.Sprint(k))
	for _, other := range [][3]string{{"usr_x", c.ID, "alpha"}, {alice.ID, "cli_x", "alpha"}, {alice.ID, c.ID, "beta"}} {
		_, err := w.Consents().Get(w.Context(), other[0], other[1], other[2])
		w.want(err, idp.ErrNotFound)
	}
	w.no(w.Consents().Delete(w.Context(), alice.ID, c.ID, "alpha"))
	_, err = w.Consents().Get(w.Context(), alice.ID, c.ID, "alpha")
	w.want(err, idp.ErrNotFound)
}

func keys(w *world) {
	old := idp.Key{ID: "key_1", Kind: "a", Secret: []byte{1, 2}, Created: w.now}
	young := idp.Key{ID: "key_2", Kind: "a", Secret: []byte{3}, Created: w.later(time.Hour)}
	other := idp.Key{ID: "key_3", Kind: "b", Secret: []byte{4}, Created: w.now}
	for _, k := range []idp.Key{old, young, other} {
		w.no(w.Keys().Put(w.Context(), k))
	}
	got, err := w.Keys().List(w.Context(), "a")
	w.no(err)
	same(w, fmt.Sprint(got), fmt.Sprint([]idp.Key{young, old}))
	w.want(w.Keys().Put(w.Context(), old), idp.ErrExists)
	w.no(w.Keys().Delete(w.Context(), old.ID))
	w.no(w.Keys().Delete(w.Context(), "none"))
	got, err = w.Keys().List(w.Context(), "a")
	w.no(err)
	same(w, fmt.Sprint(got), fmt.Sprint([]idp.Key{young}))
}

// identities: each is of one user, whether they came with it or linked it.
func identities(w *world) {
	alice := w.user("alice")
	vouched := idp.User{ID: "usr_v", Name: "v@corp.example", Provider: "corp", Subject: "17", Created: w.now}
	w.no(w.Users().Create(w.Context(), idp.Account{User: vouched}))
	own := idp.Identity{Provider: "corp", Subject: "17", UserID: vouched.ID, Name: vouched.Name, Created: w.now}
	all, err := w.Users().Identities(w.Context(), vouched.ID)
	w.no(err)
	same(w, fmt.Sprint(all), fmt.Sprint([]idp.Identity{own}))

	more := idp.Identity{Provider: "hub", Subject: "17", UserID: alice.ID, Name: "alice@hub.example", Created: w.now}
	w.no(w.Users().Link(w.Context(), more, 1))
	w.want(w.Users().Link(w.Context(), more, 5), idp.ErrExists)
	second := more
	second.Subject = "18"
	w.want(w.Users().Link(w.Context(), second, 1), idp.ErrFull)
	taken := own
	taken.UserID = alice.ID
	w.want(w.Users().Link(w.Context(), taken, 5), idp.ErrExists)
	second.UserID = "usr_none"
	w.want(w.Users().Link(w.Context(), second, 5), idp.ErrNotFound)
	a, err := w.Users().BySubject(w.Context(), "hub", "17")
	w.no(err)
	same(w, a.User, alice)

	// A user for an identity that is linked is not made, and neither is half of one.
	w.want(w.Users().Create(w.Context(), idp.Account{User: idp.User{ID: "usr_x", Name: "x", Provider: "hub", Subject: "17", Created: w.now}}), idp.ErrExists)
	_, err = w.Users().ByID(w.Context(), "usr_x")
	w.want(err, idp.ErrNotFound)

	other := more
	other.UserID = vouched.ID
	w.want(w.Users().Unlink(w.Context(), other), idp.ErrNotFound)
	w.no(w.Users().Unlink(w.Context(), more))
	w.want(w.Users().Unlink(w.Context(), more), idp.ErrNotFound)
	_, err = w.Users().BySubject(w.Context(), "hub", "17")
	w.want(err, idp.ErrNotFound)
	same(w, w.race(func() error { return w.Users().Link(w.Context(), more, 5) }, idp.ErrExists), 1)
	w.no(w.Users().SetVoucher(w.Context(), alice.ID, "sealed"))
	sealed, err := w.Users().Voucher(w.Context(), alice.ID)
	w.no(err)
	same(w, sealed, "sealed")
	w.no(w.Users().Delete(w.Context(), alice.ID))
	_, err = w.Users().Voucher(w.Context(), alice.ID)
	w.want(err, idp.ErrNotFound)
	w.want(w.Users().SetVoucher(w.Context(), alice.ID, ""), idp.ErrNotFound)
	_, err = w.Users().BySubject(w.Context(), "hub", "17")
	w.want(err, idp.ErrNotFound)
}
