package idp

import (
	"context"
	"crypto/rand"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	"go.uber.org/zap"
)

// Bounds of a sign-in on another device (RFC 8628).
const (
	deviceTTL    = 10 * time.Minute
	pollInterval = 5 * time.Second
	maxDevices   = 10_000 // sign-ins under way
)

// codeLetters are those of a user code: no vowels, so that it is no word (RFC 8628 §6.1). Eight of them are 34 bits.
const codeLetters = "BCDFGHJKLMNPQRSTVWXZ"

const codeLength = 8

func newUserCode() (string, error) {
	var b strings.Builder
	for range codeLength {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(codeLetters))))
		if err != nil {
			return "", err
		}
		b.WriteByte(codeLetters[n.Int64()])
	}
	return b.String(), nil
}

// cleanUserCode takes what a person typed: any case, any dashes and spaces. "" is no code.
func cleanUserCode(typed string) string {
	if len(typed) > 4*codeLength {
		return ""
	}
	typed = strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToUpper(typed))
	if len(typed) != codeLength || strings.Trim(typed, codeLetters) != "" {
		return ""
	}
	return typed
}

// spelled is a user code as it is shown.
func spelled(code string) string { return code[:codeLength/2] + "-" + code[codeLength/2:] }

// serveDeviceAuthorization lets the library parse a device authorization request. They are counted
// as registrations are: each takes a row before anybody is known.
func (i *Issuer) serveDeviceAuthorization(w http.ResponseWriter, r *http.Request) error {
	if !i.comers.take(addressOf(r.RemoteAddr), i.now()) {
		w.Header().Set("Retry-After", "60")
		return &apiError{status: http.StatusTooManyRequests, Code: codeUnavailable, Text: "too many requests from this address; try again later"}
	}
	next, err := formOf(r)
	if err != nil {
		return err
	}
	if err := i.acquaint(next); err != nil {
		return err
	}
	return i.serveForm(w, next)
}

// DeviceAuthorization begins a sign-in on another device (RFC 8628 §3.1). The client is authenticated (VerifyClient).
func (s *server) DeviceAuthorization(ctx context.Context, r *op.ClientRequest[oidc.DeviceAuthorizationRequest]) (*op.Response, error) {
	i, now := s.issuer, s.issuer.now()
	var req request
	if err := i.parseResource(r.Form["resource"], &req); err != nil {
		return nil, backFrom(err)
	}
	userCode, err := newUserCode()
	if err != nil {
		return nil, internal(err)
	}
	secret := newSecret(prefixDevice)
	d := Device{
		Hash: DigestOf(secret), UserCode: userCode, Expires: now.Add(deviceTTL),
		Family: Family{
			ID: newID("fam"), ClientID: r.Client.GetID(), Server: req.Server, Resource: req.Resource,
			Scopes: i.parseScopes(sentence(r.Data.Scopes), req.Server), Created: now,
		},
	}
	switch err := i.store.Devices().Put(ctx, d, maxDevices); {
	case errors.Is(err, ErrFull):
		return nil, op.NewStatusError(oidc.ErrSlowDown().WithDescription("too many sign-ins are under way; try again later"), http.StatusServiceUnavailable)
	case err != nil: // a code that is taken too: it happens once in millions of years
		return nil, internal(err)
	}
	at := i.url(pathDevice)
	return op.NewResponse(&oidc.DeviceAuthorizationResponse{
		DeviceCode: secret, UserCode: spelled(userCode), VerificationURI: at, VerificationURIComplete: at + "?user_code=" + spelled(userCode),
		ExpiresIn: int(deviceTTL / time.Second), Interval: int(pollInterval / time.Second),
	}), nil
}

// DeviceToken answers a device that asks whether its person has agreed (RFC 8628 §3.4), and when they have, once, with tokens.
func (s *server) DeviceToken(ctx context.Context, r *op.ClientRequest[oidc.DeviceAccessTokenRequest]) (*op.Response, error) {
	i, hash, now := s.issuer, DigestOf(r.Data.DeviceCode), s.issuer.now()
	d, err := i.store.Devices().Get(ctx, hash)
	if errors.Is(err, ErrNotFound) || err == nil && d.Family.ClientID != r.Client.GetID() {
		return nil, invalidGrant("the device_code is not valid")
	}
	if err != nil {
		return nil, internal(err)
	}
	if err := i.sameResource(r.Form["resource"], d.Family.Resource); err != nil {
		return nil, err
	}
	switch {
	case d.State == DeviceRedeemed:
		return nil, invalidGrant("the device_code was used already")
	case !now.Before(d.Expires):
		return nil, oidc.ErrExpiredDeviceCode()
	case d.State == DeviceDenied:
		return nil, oidc.ErrAccessDenied().WithDescription("the person did not agree")
	case d.State == DeviceWaiting && !i.polls.take(string(hash[:]), now):
		return nil, oidc.ErrSlowDown()
	case d.State == DeviceWaiting:
		return nil, oidc.ErrAuthorizationPending()
	}
	if err := s.mayStill(ctx, d.Family); err != nil {
		return nil, grantError(err)
	}
	access, accessSecret := i.newAccess(d.Family.ID, d.Family.Scopes, now, i.config.AccessTTL)
	refreshSecret := newSecret(prefixRefresh)
	refresh := Refresh{Hash: DigestOf(refreshSecret), Family: d.Family.ID, Expires: now.Add(i.config.RefreshTTL)}
	switch err := i.store.Devices().Redeem(ctx, hash, access, refresh); {
	case errors.Is(err, ErrSpent):
		return nil, invalidGrant("the device_code was used already")
	case err != nil:
		return nil, grantError(err)
	}
	i.counts.tokens[byDevice].Add(1)
	i.log.Info("token issued", zap.String("client", d.Family.ClientID), zap.String("server", d.Family.Server), zap.String("user", d.Family.UserID))
	return s.respond(ctx, r.Client, &granted{family: d.Family, scopes: d.Family.Scopes}, accessSecret, refreshSecret, "")
}
