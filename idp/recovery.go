package idp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"
)

// Recovery codes are for who has lost their app or passkey. They are one Factor of a kind of its own, of digests that lose one
// with each use; it is no second step by itself, and goes with the last one that is. 80 random bits need no slow hash.
const (
	recoveryCodes  = 10
	recoveryLength = 16
	recoveryDigest = len(Digest{})
)

// factors are what somebody has for the second step, and apart from that their recovery codes; nil where they have none.
func (i *Issuer) factors(ctx context.Context, userID string) (steps []Factor, recovery *Factor, err error) {
	all, err := i.store.Factors().Of(ctx, userID)
	for n, f := range all {
		if f.Kind == Recovery {
			recovery = &all[n]
		} else {
			steps = append(steps, f)
		}
	}
	return steps, recovery, err
}

// left is how many codes are left.
func (f *Factor) left() int {
	if f == nil {
		return 0
	}
	return len(f.Data) / recoveryDigest
}

func recoveryHash(userID, code string) []byte {
	d := DigestOf("recovery code " + userID + " " + code)
	return d[:]
}

// cleanRecovery takes what a person typed: any case, dashes and spaces, and digits that no code has for the letters they look like.
func cleanRecovery(typed string) string {
	if len(typed) > 4*recoveryLength {
		return ""
	}
	return strings.NewReplacer("-", "", " ", "", "0", "O", "1", "I").Replace(strings.ToUpper(typed))
}

// useRecovery uses a code up.
func (i *Issuer) useRecovery(ctx context.Context, u User, typed string) (bool, error) {
	_, f, err := i.factors(ctx, u.ID)
	if err != nil || f == nil {
		return false, err
	}
	code := cleanRecovery(typed)
	want := recoveryHash(u.ID, code)
	at := -1
	for n := range f.left() {
		if string(f.Data[n*recoveryDigest:(n+1)*recoveryDigest]) == string(want) {
			at = n * recoveryDigest
		}
	}
	if at < 0 {
		return false, nil
	}
	// The step counts uses: of two at once, one finds another step than it read, and is refused.
	err = i.store.Factors().Use(ctx, f.ID, f.Step+1, slices.Delete(slices.Clone(f.Data), at, at+recoveryDigest), i.now())
	if errors.Is(err, ErrSpent) || errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err == nil {
		i.log.Info("recovery code used", zap.String("user", u.Name), zap.Int("left", f.left()-1))
	}
	return err == nil, err
}

// recoveryPage shows new codes, once.
type recoveryPage struct{ Codes []string }

// serveRecovery makes new codes in the place of old ones.
func (i *Issuer) serveRecovery(w http.ResponseWriter, r *http.Request, session *Session) error {
	ctx, u := r.Context(), session.User
	steps, old, err := i.factors(ctx, u.ID)
	if err != nil {
		return err
	}
	if len(steps) == 0 {
		return &shown{status: http.StatusConflict, title: "There is nothing to recover", text: "Recovery codes stand in for an app for codes or a passkey. Add one first."}
	}
	page := recoveryPage{}
	f := Factor{ID: newID("fac"), UserID: u.ID, Kind: Recovery, Label: "Recovery codes", Created: i.now()}
	for range recoveryCodes {
		code := rand.Text()[:recoveryLength]
		f.Data = append(f.Data, recoveryHash(u.ID, code)...)
		page.Codes = append(page.Codes, fmt.Sprintf("%s-%s-%s-%s", code[:4], code[4:8], code[8:12], code[12:])) // as capitals: l looks like 1
	}
	if old != nil {
		if err := i.store.Factors().Delete(ctx, u.ID, old.ID); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	if err := i.store.Factors().Put(ctx, f, maxFactors+1); err != nil {
		return err
	}
	i.log.Info("recovery codes made", zap.String("user", u.Name))
	return i.pages.recovery.show(w, http.StatusOK, page)
}
