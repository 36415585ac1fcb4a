// Package dns proves to a certificate authority that a domain is ours by a TXT
// record (RFC 8555 §8.4, DNS-01), which is the only way to a wildcard certificate.
//
//	challenge for mcp.example.com
//	  │  _acme-challenge.mcp.example.com ──CNAME──▶ the name that is written (lookup.go)
//	  ▼
//	Present   add ONE value next to others       ── rfc2136.go, ours: a DNS update signed with TSIG
//	  │                                          ── lego.go: the APIs of DNS hosts, one challenge at a time per name,
//	  ▼                                             for some replace the whole record set
//	Wait      until EVERY resolver, or every     ── says who does not see it, and what it answers instead
//	  │       authoritative server, has it
//	  ▼
//	the authority looks
//	  ▼
//	CleanUp   remove that one value
//
// Apex and wildcard share one name, so two values may be there at the same time.
//
// What this package does not do: it speaks to no certificate authority, keeps nothing
// on disk, and shows no setting that is a secret in an error.
package dns
