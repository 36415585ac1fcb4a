// Package upstreamtest has services to sign in with, for tests: an OpenID Connect provider and a GitHub, on loopback listeners.
//
//	upstreamtest.OpenID(t) ─┐                 ┌─▶ Person: who signs in there, without any page
//	upstreamtest.GitHub(t) ─┴─▶ *Service ─────┼─▶ Change: what the next ID token says
//	                                          └─▶ Down: does not answer
//
// They hold the client to the protocol: redirect URI, client secret and PKCE verifier are checked. They are
// not providers to rely on: they ask nobody for a password.
package upstreamtest
