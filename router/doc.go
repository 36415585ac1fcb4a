// Package router decides who is answered by whom: it takes a request from the
// listener, finds the server it is for, and lets it through only with a token
// made for exactly that server.
//
//	accept (doorman.go)        connections per address and in all, PROXY protocol  ── too many, no proxy of ours: closed
//	  │                        what is sent besides calls (chatter.go) ── too much: read later
//	  │  TLS where there is any, HTTP/2 and HTTP/1.1
//	  │  one http.Server (listen.go): header, body and idle deadlines, none on writes, so that streams live
//	  │  ── plain, beside TLS: 308 to https (redirect.go)
//	  ▼
//	exchange (exchange.go)     request id, record, panic guard          ── access record at the end (access.go)
//	  ▼
//	client (client.go)         which address, by a trusted proxy's word ── too much at once, too often: 429 (tally.go)
//	  ▼
//	table (table.go)           exact host, then longest prefix          ── not ours: 421    unknown path: 404
//	  │                        a connection for another host: 421
//	  │  one atomic pointer, swapped whole; no lock
//	  ├─▶ well-known (wellknown.go)   RFC 9728 and RFC 8414 documents, readable by any origin
//	  ├─▶ page (page.go)              what a person sees in a browser
//	  ├─▶ public handler              the issuer: guards itself
//	  ▼
//	origin (origin.go)         foreign web page: 403; preflight: answered (cors.go)
//	  ▼
//	gate (gate.go)             bearer token → Verify(token, this resource)  ── 401 / 403 with a challenge (challenge.go)
//	  ▼
//	handler                    within the person's rate, else 429; sees /mcp (and the Route's Entries), a Principal in the context and no Authorization header
//
// A handler whose answer lasts for hours may leave without it: over HTTP/1.1 the answer then has the
// connection to itself and none of the memory that requests need (detach.go).
//
// Requests behind the gate can be ended while they are under way (present.go), when
// what let them in holds no more.
//
// Connections are lazy (lazyconn.go): what net/http asks of one with every request is
// done when it matters, which for a short request is never.
//
// A Route with a Resource is gated; a Route without one is public. That one field
// is the whole access policy, and the zero value of everything else refuses.
//
// There is no HTTP/3. quic-go is cheap (2 MB of program, 1 MB of memory at rest), but
// what keeps order here belongs to TCP connections and would have to be made twice:
// the doorman, chatter, the PROXY protocol, the sockets that systemd passes, the
// hand-over.
//
// What this package does not do: it does not know what a token is (Verify tells),
// what MCP is, or that processes exist. It reads no request body, believes no
// forwarded header but of proxies that it was told of, and has no certificates: the
// listener is given a tls.Config.
package router
