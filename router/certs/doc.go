// Package certs keeps the certificates of mcpd's names: it has them when the
// first handshake comes, renews them while all goes on, and tells how they are.
//
//	ClientHello ──SNI──▶ Keeper ──ours?──▶ source ──▶ *tls.Certificate
//	                       │                 │
//	                       │                 ├── acme     (acme.go)      a public authority by certmagic: domain and wildcard
//	                       │                 │                           by DNS-01 (dns), else each host by TLS-ALPN-01, HTTP-01;
//	                       │                 │                           kept on disk, or in a database (postgres.go) by several daemons
//	                       │ no              ├── files    (files.go)     pairs on disk, read again when they change
//	                       ▼                 └── internal (internal.go)  our own root, leaves of days, for development
//	           alert unrecognized_name
//
//	Manage(ctx)   after a reload: the hosts that are routed may have changed
//	Status()      names, issuer, expiry, next renewal, last error in plain words
//
// Mode "off" is a nil *Keeper: its methods do nothing, so that callers need no
// case for it.
//
// What this package does not do: it opens no port and routes no request, it never
// gets a certificate because of what a stranger asks for, and it imports nothing
// else of mcpd.
package certs
