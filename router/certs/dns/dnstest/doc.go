// Package dnstest is a DNS server for tests: authoritative for some zones, and a
// resolver for nothing else.
//
//	query (UDP, TCP) ──▶ zone ──▶ records, CNAMEs followed inside
//	update (TCP) ──TSIG──▶ may this name be written? ──▶ one value added or deleted
//
// What this package does not do: it is no real server; tests that need one run BIND.
package dnstest
