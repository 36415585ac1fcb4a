package idp

import "sync/atomic"

// Count is how often something has happened since the issuer was made.
type Count struct {
	By     string // of a token, the grant it was for; of a sign-in, how the person proved who they are
	Result string // of a sign-in: ok, refused, throttled, unavailable
	N      uint64
}

// grant is what a token was issued for.
type grant int

const (
	byCode grant = iota
	byRefresh
	byService
	byDevice
	byMint
	byAssertion
	byExchange
	grants
)

// entry is one way in which a sign-in can end.
type entry int

const (
	byPassword entry = iota
	passwordWrong
	passwordLater // too many tries, or too many people at once
	byLink
	linkUsedUp
	byProvider
	providerRefused
	providerAway // it does not answer
	byPasskey
	passkeyWrong
	bySecond
	codeWrong
	codeLater
	byRecovery
	recoveryWrong
	entries
)

// counts is part of the issuer. It names nobody.
type counts struct {
	tokens  [grants]atomic.Uint64
	signIns [entries]atomic.Uint64
}

// Tokens tells how many access tokens were issued, for each grant.
func (i *Issuer) Tokens() []Count {
	all := make([]Count, grants)
	for g, by := range [grants]string{"authorization_code", "refresh_token", "client_credentials", "device_code", "personal", "jwt-bearer", "token-exchange"} {
		all[g] = Count{By: by, N: i.counts.tokens[g].Load()}
	}
	return all
}

// SignIns tells how sign-ins ended.
func (i *Issuer) SignIns() []Count {
	all := []Count{{"password", "ok", 0}, {"password", "refused", 0}, {"password", "throttled", 0}, {"link", "ok", 0}, {"link", "refused", 0},
		{"provider", "ok", 0}, {"provider", "refused", 0}, {"provider", "unavailable", 0},
		{"passkey", "ok", 0}, {"passkey", "refused", 0}, {"code", "ok", 0}, {"code", "refused", 0}, {"code", "throttled", 0},
		{"recovery", "ok", 0}, {"recovery", "refused", 0}}
	for e := range all {
		all[e].N = i.counts.signIns[e].Load()
	}
	return all
}
