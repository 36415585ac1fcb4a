// Package idp is the issuer: one strict OAuth 2.1 and OpenID Connect server for
// every MCP server behind mcpd. It knows people, clients and tokens.
//
// A sign-in, drawn as the states a browser walks through. Every step returns to
// the dispatcher, which alone decides what comes next:
//
//	client ─ GET /.well-known/oauth-authorization-server ──▶ discovery.go   RFC 8414, OpenID Connect Discovery
//	client ─ POST /par ─────────────────────────────────────▶ pushed.go      RFC 9126: checked, sealed, and nothing stored
//	client ─ POST /register ───────────────────────────────▶ register.go    RFC 7591, RFC 7592
//	browser ─ GET /authorize ──▶ documents.go   a client_id that is a URL: its document, fetched and guarded by package cimd
//	              │              authorize.go   client and redirect_uri wrong: a page, never a redirect
//	              │                             the rest wrong: back to the client with error, state, iss (RFC 9207)
//	              ▼                             right: sealed, bound to this browser's cookie, nothing stored
//	         GET /authorize/continue  dispatch.go
//	              ├─ nobody signed in ─────▶ /login    login.go     throttled, constant-time, session rotated
//	              │                                    provider.go  or: there and back, to a provider, by package upstream
//	              │                                    second.go    then a code (setup.go) or a passkey (passkeys.go), who has one
//	              ├─ not allowed, or asked ▶ /consent  consent.go   names client, destination, server
//	              └─ signed in, allowed, agreed ──▶ code ──▶ redirect_uri?code&state&iss
//	client ─ POST /token ──▶ server.go   client authenticated first: by nothing, a secret, or a signature (assertion.go); then
//	                         code.go      verifier, redirect_uri, resource; code spent and tokens made in one transaction
//	                         service.go   a configured client in its own name (RFC 6749 §4.4): the user service:NAME
//	                         idjag.go     the word of a provider instead of a sign-in, signed for this client and server (ID-JAG)
//	                         exchange.go  a person's token for one server, for one that is no more for another (RFC 8693)
//	                         device.go    a device that showed a code, which device_page.go asked its person about (RFC 8628)
//	                         recheck.go   before a refresh: does the provider still vouch for the person?
//	                         refresh.go   rotation; the same successor within the grace, else the family ends
//	browser ─ /account ──▶ account.go   what they use, how they sign in: apps and passkeys, recovery.go, and identities elsewhere (identities.go)
//	browser ─ GET /end_session ──▶ logout.go   the person is asked; back only to what the client registered
//	script ─ a token of mcpd token create: personal.go, one server, perhaps some tools only
//	client ─ bearer ──▶ Verify (verify.go)   SHA-256, one map; the audience is exactly this resource, the person is still allowed
//
// Browser pages and client endpoints are two groups with different defences, and
// the table in routes.go says which is which: pages get cookies, a content
// security policy and CSRF checks; endpoints get CORS for everyone and no cookies.
//
// Under it is github.com/zitadel/oidc's op package: its server parses and routes
// the protocol requests, its LegacyServer is embedded and what was too lenient is
// overridden (server.go). State is behind the small Store interface (store.go);
// OpenStore is the SQLite one, where changes that come at once share a
// transaction (sqlite_writer.go), OpenPostgres (postgres.go) the other, and package storetest has the suite for any other.
//
// Keys are replaced while all goes on (keys.go): a new one is published, signs when every client can
// know it, and the old one stays as long as what it signed is looked at.
//
// What this package does not do: it does not terminate TLS, route hosts, start
// processes or read configuration files. It never issues a token that is good
// at two servers, never stores a secret that it could hand out again (but those of apps for
// codes, which both sides must know, and the refresh tokens of providers that are to be asked again), and knows nothing of MCP beyond the resource URL. An access token is opaque; JWTs are ID tokens only.
package idp
