// Package systemd makes mcpd a service that systemd runs, without root in it.
//
//	mcpd service print|install          mcpd run
//	  │                                   │
//	  ▼                                   ├─ Sockets  ◀── file descriptors 3…   .socket: the ports stay open over a restart
//	Service ── Files ──▶ mcpd.service     ├─ Ready, Reloading, Stopping ──▶ $NOTIFY_SOCKET
//	                     mcpd.socket      └─ Watch ──▶ $NOTIFY_SOCKET, until it hangs: then systemd starts it anew
//
// There are two variants. The user's unit runs as the person who installs it, with
// that person's programs and files. The system's unit runs as a user that exists only
// while it runs; systemd opens the ports, so that it needs no capability for :443.
//
// What this package does not do: it knows nothing of servers, people or tokens, and
// it does not replace a service manager; on other systems nothing here has an effect.
package systemd
