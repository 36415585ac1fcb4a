// Package router decides who is answered by whom: it takes a request from the
// listener, finds the server it is for, and lets it through only with a token
// made for exactly that server.
//
//	accept (listen.go)
//	  │  one http.Server: header, body and idle deadlines, none on writes, so that streams live
//	  ▼
//	exchange (exchange.go)     request id, record, panic guard          ── access record at the end (access.go)
//	  ▼
//	table (table.go)           exact host, then longest prefix          ── not ours: 421    unknown path: 404
//	  │  one atomic pointer, swapped whole; no lock
//	  ├─▶ well-known (wellknown.go)   RFC 9728 and RFC 8414 documents, readable by any origin
//	  ├─▶ page (page.go)              what a person sees in a browser
//	  ├─▶ public handler              the issuer: guards itself
//	  ▼
//	origin (origin.go)         foreign web page: 403; preflight: answered (cors.go)
//	  ▼
//	gate (gate.go)             bearer token → Verify(token, this resource)  ── 401 / 403 with a challenge (challenge.go)
//	  ▼
//	handler                    sees /mcp (and the Route's Entries), a Principal in the context and no Authorization header
//
// A Route with a Resource is gated; a Route without one is public. That one field
// is the whole access policy, and the zero value of everything else refuses.
//
// What this package does not do: it does not know what a token is (Verify tells),
// what MCP is, or that processes exist. It reads no request body, trusts no
// forwarded header, and terminates no TLS yet; the listener has the place for it.
package router
