package storetest

import (
	"fmt"
	"time"

	"github.com/mcpd/mcpd/idp"
)

func devices(w *world) {
	alice, c := w.user("alice"), w.client("cli_1")
	device := func(name string) idp.Device {
		return idp.Device{
			Hash: idp.DigestOf(name), UserCode: "CODE" + name, Expires: w.later(time.Minute),
			Family: idp.Family{
				ID: "fam_" + name, ClientID: c.ID, Server: "alpha", Resource: "https://alpha.example/mcp", Scopes: []string{"mcp"}, Created: w.now,
			},
		}
	}
	one, two := device("one"), device("two")
	w.no(w.Devices().Put(w.Context(), one, 2))
	twin := device("twin")
	twin.UserCode = one.UserCode
	w.want(w.Devices().Put(w.Context(), twin, 2), idp.ErrExists)
	w.no(w.Devices().Put(w.Context(), two, 2))
	w.want(w.Devices().Put(w.Context(), device("three"), 2), idp.ErrFull)
	got, err := w.Devices().ByUserCode(w.Context(), "CODEone")
	w.no(err)
	same(w, fmt.Sprint(got), fmt.Sprint(one))
	_, err = w.Devices().ByUserCode(w.Context(), "CODE")
	w.want(err, idp.ErrNotFound)
	_, err = w.Devices().Get(w.Context(), idp.DigestOf("none"))
	w.want(err, idp.ErrNotFound)

	redeem := func(name string) func() error {
		return func() error {
			return w.Devices().Redeem(w.Context(), idp.DigestOf(name), w.access("fam_"+name, name+"at"), w.refresh("fam_"+name, name+"rt"))
		}
	}
	w.want(redeem("one")(), idp.ErrSpent) // nobody has agreed
	w.want(redeem("none")(), idp.ErrNotFound)
	w.no(w.Devices().Decide(w.Context(), one.Hash, idp.DeviceAgreed, alice.ID, w.later(-time.Hour)))
	w.want(w.Devices().Decide(w.Context(), one.Hash, idp.DeviceDenied, alice.ID, w.now), idp.ErrSpent)
	w.no(w.Devices().Decide(w.Context(), two.Hash, idp.DeviceDenied, alice.ID, w.now))
	w.want(redeem("two")(), idp.ErrSpent)
	same(w, w.race(redeem("one"), idp.ErrSpent), 1)
	h, err := w.Tokens().Access(w.Context(), idp.DigestOf("oneat"))
	w.no(err)
	same(w, h.User, alice)
	same(w, h.Family.AuthTime, w.later(-time.Hour))
	got, err = w.Devices().Get(w.Context(), one.Hash)
	w.no(err)
	same(w, got.State, idp.DeviceRedeemed)

	_, err = w.Sweep(w.Context(), idp.Sweep{Now: w.later(2 * time.Minute), Limit: 10})
	w.no(err)
	_, err = w.Devices().Get(w.Context(), one.Hash)
	w.want(err, idp.ErrNotFound)
	_, err = w.Tokens().Access(w.Context(), idp.DigestOf("oneat"))
	w.no(err)
}
