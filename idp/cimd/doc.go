// Package cimd fetches and reads Client ID Metadata Documents
// (draft-ietf-oauth-client-id-metadata-document): a client whose client_id is
// the https URL of a JSON document about itself.
//
//	client_id ──CheckID──▶ Fetcher.Document ──▶ resolve ──▶ guard, for each address at the moment of
//	                            │                           connecting: public, or of a network that
//	                            │                           the operator named ──▶ TLS ──▶ GET
//	                            ▼
//	                 200, JSON, 5 KB at most, no redirect, 5 s in all
//	                            ▼
//	                 Parse ──▶ Document, fresh until Cache-Control says, within 5 min … 24 h
//
// The address that is checked is the one that is connected to, so that a name
// whose answer changes between a check and its use gains nothing. Keys that a
// document names (jwks_uri) come through the same guard.
//
// What this package does not do: it keeps nothing, fetches no picture, follows no
// redirect, uses no proxy, and does not judge redirect URIs: which are good is
// the issuer's rule for all clients.
package cimd
