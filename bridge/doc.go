// Package bridge carries MCP between HTTP clients and stdio servers, in every
// combination of protocol generations. There is one internal call, shaped like
// the modern protocol; two fronts turn HTTP into it and two backs run it on a
// worker. The fronts and the backs never meet.
//
//	POST /mcp                      handler.go: read, scan once, which generation?
//	  │
//	  ├─ 2026-07-28 ─▶ modern.go   headers agree with the body; no session
//	  └─ older ──────▶ legacy.go   sealed session (session.go); may take questions
//	          │
//	          ▼
//	        Call ──▶ hub.go        a worker from the pool (Workers.Acquire), one loop per call
//	          │         ▲
//	          ▼         │ frames: notification, question, final
//	        back.go   pending.go   id and progress token become the worker's own
//	          │         │
//	          ▼         │
//	     one line      lines       conn.go: a mutex on stdin ‖ one reader on stdout
//	          └─▶ worker ┘
//
// What a legacy server asks in the middle of a call goes to the newest call
// that can answer it. A session is asked over its response (question.go). A
// modern client is sent away with the questions and comes back with answers:
//
//	question ─▶ collect.go ─▶ park.go: the call and its worker stay ─▶ 200 input required
//	                             │                                     + sealed state (ticket.go)
//	final ◀─ hub.go ◀── retry.go ◀┘ ◀──────────────── POST with answers and that state
//
// A call is never made twice for that.
//
// Clients of 2024-11-05 come to other paths, if the configuration lets them. Their
// session is one event stream (channel.go), and the response of every exchange in it:
//
//	GET /sse        sse.go: the stream begins with an address  ◀─── answers, questions, announcements
//	POST to there   202; the message ─▶ batch.go: element ─▶ as in any session ──┘
//
// A Reply is JSON when it comes alone, an event stream when a notification
// comes before it (stream.go). What a session's streams said is kept for a while
// (replay.go), so that a client whose connection broke gets the rest (resume.go).
// Those that stay open, mostly silent, outlive the goroutine of their request (detach.go).
// Params and results stay the bytes they were:
// scan.go validates them in one pass and reports where the few members are that
// matter, and the rest is copied around the edits.
//
// What a server said of itself (identity.go, era.go) and its lists (catalogue.go)
// are kept beyond the process (memory.go, shelf.go), each for those who may see
// it. While no worker of the caller's runs they are the answer (cold.go), and a
// worker refreshes them behind it (stock.go, behind.go). Lists of tools lose what
// would make a modern client drop a tool (tools.go). A task holds the worker that
// has it, and is found there by the person whose it is (task.go); a tool
// that is a task alone is one for clients without tasks, too (tasked.go).
//
// Servers share the processors: while others have calls too, no more than a few of
// one server's are worked on at once (lanes.go), so that its flood is its own. So do
// the people of a worker that serves everyone (turns.go). What a session subscribed
// to holds a worker, but not for a session that nobody is at (nap.go).
//
// What a caller may not have, a tool by name or whatever changes something, is refused
// before anything is asked (permit.go), and is in no list of tools that they are
// given; who may is told by Options.Permit and Options.Shows.
//
// Workers that have nothing to do are asked whether they work when somebody wants to
// know (check.go); one that gives no answer is ended.
//
// Who owns what: the request's goroutine owns its Call and its response; the
// reader of a connection owns everything that arrives from that worker and
// never waits for a client (bounded queues, notifications are dropped first).
// Workers are owned by whoever implements Workers.
//
// What this package does not do: it starts and stops no process, knows no user,
// checks no token, Origin or Host, and decodes no result but lists of tools.
package bridge
