// Package upstream asks another service who somebody is: any OpenID Connect provider, Google among them, or GitHub.
//
//	browser ──▶ Start ──▶ where to send the browser: state, nonce, PKCE challenge, this provider's own redirect URI
//	             │          discovery, on the first use: a provider that is down is found out then, and no earlier
//	browser ◀── provider: the person signs in there
//	browser ──▶ Finish: iss (RFC 9207), code and verifier ──▶ ID token: signature, issuer, audience, expiry, nonce
//	                                                       └─▶ GitHub: /user, /user/emails, /user/orgs, /user/teams
//	             ▼
//	         Identity: subject, e-mail address that the provider has checked, groups
//
//	program ──▶ assertions.go: Keys, Said: what an assertion of the provider's that somebody brings is signed with, and says of whom
//
// What this package does not do: it keeps nothing between Start and Finish, sets no cookie, and decides nothing
// about what somebody may do here.
package upstream
