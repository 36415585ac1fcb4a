package idp

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/mcpd/mcpd/idp/upstream"
)

// recheckEvery is how often a provider is asked about one person at most, whether or not it answers.
const recheckEvery = 5 * time.Minute

const sealedVoucher = "refresh token of a provider"

// recheck asks the provider about somebody whose program refreshes: whether they are still there, and what their groups are. Without
// it, that is found out when they sign in again, at the latest after the provider's max_age. A provider that does not answer has
// not said no; whom it does not vouch for any more has everything ended at once. Of several requests at once, one asks.
func (i *Issuer) recheck(ctx context.Context, userID string) error {
	a, err := i.store.Users().ByID(ctx, userID)
	if err != nil {
		return err
	}
	p := i.providers[a.Provider]
	if p == nil || !p.Recheck || i.now().Before(a.Seen.Add(recheckEvery)) || !i.rechecks.take(userID, i.now()) {
		return nil
	}
	ctx = context.WithoutCancel(ctx) // what the provider gives next must be kept
	sealed, err := i.store.Users().Voucher(ctx, userID)
	if err != nil || sealed == "" {
		return err
	}
	token, err := i.keys.open(sealedVoucher, sealed)
	if err != nil {
		return nil // sealed with a key that is gone
	}
	id, groups, err := p.Again(ctx, a.Subject, string(token))
	var refused *upstream.Refused
	if errors.As(err, &refused) {
		i.log.Warn("provider does not vouch for user any more; everything is ended", zap.String("user", a.Name), zap.String("provider", p.Name), zap.Error(err))
		if err := errors.Join(i.store.Users().SetVoucher(ctx, userID, ""), i.store.Users().SignOut(ctx, userID)); err != nil {
			return err
		}
		i.endUser(userID)
		return invalidGrant("the person's provider does not vouch for them any more: they must sign in again")
	}
	if err != nil {
		i.log.Warn("provider does not answer", zap.String("provider", p.Name), zap.Error(err))
		return i.keepVoucher(ctx, p, a.User, id.Token)
	}
	if !groups {
		id.Groups = a.Groups
	}
	_, err = i.vouchedUser(ctx, p, id)
	var page *shown
	if errors.As(err, &page) {
		return invalidGrant(page.title)
	}
	return err
}

// keepVoucher keeps what the provider gave to ask it with, in the place of what it gave before.
func (i *Issuer) keepVoucher(ctx context.Context, p *upstream.Provider, u User, token string) error {
	if !p.Recheck || token == "" {
		return nil
	}
	return i.store.Users().SetVoucher(ctx, u.ID, i.keys.seal(sealedVoucher, []byte(token)))
}
