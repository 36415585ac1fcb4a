// Package supervisor runs the processes behind a list of servers: it starts a worker when somebody
// needs one, hands it out, stops it when nobody does, notices when it ends, waits before it tries
// again, and leaves none behind.
//
// It is generic over what is opened on a child's pipes and knows processes only: not what they
// speak, who calls, or how a call gets here. It does not restart a worker that hangs (it cannot
// tell), does not repeat a call, reads no configuration file and listens nowhere.
//
//	Apply ── diff ──▶ one server per entry                    Acquire(key)
//	                    │  owner goroutine, one timer            │
//	                    │  door: may workers be started?         ▼
//	                    │  worker, worker, …   ◀── miss ──── Pool: key → ready worker ── hit ──▶ C, release
//	                    │     │                                  one short lock, no hop
//	                    │     │ prepare: Resolve (what is started), a turn
//	                    │     │ start            ┌─ Open(ctx, rwc) → C          (the handshake)
//	                    │     └──▶ live ─────────┤
//	                    │            │           └─ end: stdin, wait, TERM, wait, KILL
//	                    │            ▼
//	                    │     host: one thread starts all children  ── told of ──▶ guardian process
//	                    │            │                                             (kills what is left
//	                    │            ▼                                              when we are killed)
//	                    ◀── exited ─ follow: wait, kill the group, reap ──▶ sweep: what left its group
//
// What all servers may use together is the budget. It is bounded by processes, memory and starts per second;
// servers that get nothing stand in a line, and the worker that has been idle longest, whosever it is, ends for the first.
//
// # Who owns what
//
// A server's owner goroutine (server.run) owns its door, its workers' machines, the queue and the
// back-off. Others send it events or functions. After each, settle brings the rest in line. What
// callers share, which worker is ready for which key and how many calls are on it, is under the
// pool's lock and nothing else is. The owner does nothing that waits.
//
// A worker is withdrawn from the pool before anybody can read of its end, so a call that fails
// because its worker fell, and is made again, never gets the same one.
//
// # A change of what runs
//
// A server that serves and is changed goes on as it was. What replaces it is a server of its own that
// comes up beside it; once that has a worker ready for each who calls, whoever applied the change says Promote, and the
// server of before takes no more calls, finishes those it has and ends. A replacement that does not start
// goes on trying and changes nothing meanwhile.
//
//	Apply ─▶ beside[name]: starting ⇄ backoff ── ready ──▶ Promote ─▶ servers[name]; the old: leaving
//
// Everything of a key meets in one worker, unless the entry can tell of calls that wait for each other
// (Held): while calls meet on a worker the owner looks every few milliseconds, and a key whose calls wait
// gets as many workers more as it needs, within workers.max.
//
// # States
//
// The door of a server and each of its workers are machines over one table. This is the table; a
// pair that is not in it is ignored on purpose. A test keeps the picture true.
//
//	open      failed           → backoff
//	open      commandMissing   → missing
//	open      enabled          → open       look
//	open      startAsked       → open       look
//	open      stopAsked        → halted     retire
//	open      disabledBy       → disabled   retire
//	open      closeAsked       → closing    retire
//	backoff   failed           → backoff
//	backoff   delayElapsed     → open
//	backoff   enabled          → open       look
//	backoff   startAsked       → open       look
//	backoff   stopAsked        → halted     retire
//	backoff   disabledBy       → disabled   retire
//	backoff   closeAsked       → closing    retire
//	missing   commandFound     → open
//	missing   enabled          → open       look
//	missing   startAsked       → open       look
//	missing   stopAsked        → halted     retire
//	missing   disabledBy       → disabled   retire
//	missing   closeAsked       → closing    retire
//	halted    startAsked       → open       look
//	halted    disabledBy       → disabled
//	halted    closeAsked       → closing    retire
//	disabled  enabled          → open       look
//	disabled  closeAsked       → closing    retire
//
//	starting  opened           → ready      admit
//	starting  openFailed       → stopping   abort
//	starting  deadlineElapsed  → stopping   abort
//	starting  exited           → gone       crash
//	starting  broken           → stopping   abort
//	starting  retired          → stopping   stop
//	starting  stopAsked        → stopping   stop
//	ready     exited           → gone       crash
//	ready     broken           → stopping   abort
//	ready     unused           → stopping   stop
//	ready     retired          → draining   drain
//	ready     stopAsked        → stopping   stop
//	draining  drained          → stopping   stop
//	draining  deadlineElapsed  → stopping   stop
//	draining  exited           → gone       bury
//	draining  broken           → stopping   stop
//	draining  stopAsked        → stopping   stop
//	stopping  exited           → gone       bury
//
// abort and crash charge the server with a failure; enough of them in a row are the door's event
// failed. A person sees seven states, which public works out from the door and the workers.
//
// # What is started
//
// Before each start Resolve says what is started for an entry; the sub-package pin answers that for npx and uvx,
// with a version that was installed once. It may take minutes the first time, on the worker's own goroutine and
// outside its time to get ready. Of the starts themselves a few run at a time, so that many at once do
// not all miss their time; of one server no more than half of those. A worker that nobody waits for starts behind those
// that serve, where the processor is shared out by session and there is not enough of it. In a crash loop the next worker
// is on trial: those start one after the other, and at the priority of background work.
//
// A worker that falls in the middle of its work is replaced at once, as long as that is no habit.
//
// # No process outlives its worker, no worker outlives mcpd
//
// A child leads a session and a process group of its own. When it has ended, and before its number can go to
// another process, the whole group is killed. What has left the group is branded with the number of its
// worker, in a limit that the kernel hands down and nobody uses, and carries a mark in its environment. Having
// lost its parent it comes to us (we are a subreaper); the sweeper finds it there and kills it. If we are killed,
// the kernel kills the children (Pdeathsig), and the guardian, a process that holds the other end of a pipe,
// kills their groups and whatever has the brand, until there is nothing. Outside Linux there are groups and the
// guardian only.
//
// Where a cgroup is delegated to mcpd, each child is born in one of its own, which holds it to its
// limits and is killed with it. The sub-package confine has that, and the sandbox; where there is no
// cgroup, a watch looks at the memory and the number of processes of those that have a limit.
package supervisor
