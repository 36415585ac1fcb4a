// Package passkey is WebAuthn as the issuer needs it: a browser makes a key pair for a person, and later proves that it has it.
//
//	Create ─▶ options for the browser ─▶ Created ─▶ Credential, to be kept     its secret never leaves the person's device
//	   └────▶ ceremony, kept sealed ─────┘
//	Ask ───▶ options for the browser ──▶ Answered ─▶ Credential, to be kept anew: its counter has moved
//	   └────▶ ceremony, kept sealed ─────┘
//
// The protocol is github.com/go-webauthn/webauthn's. No attestation is asked for: which make a person's key is, is their own affair.
//
// What this package does not do: it stores nothing, and does not see to it that a ceremony is used once.
package passkey
