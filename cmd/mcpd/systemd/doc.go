// Package systemd makes mcpd a service that systemd runs, without root in it.
//
//	mcpd service print|install          mcpd run
//	  │                                   │
//	  ▼                                   ├─ Sockets  ◀── file descriptors 3…   mcpd.socket: the ports stay open over a restart
//	Service ── Files ──▶ mcpd.service     ├─ Ready, Reloading, Stopping ──▶ $NOTIFY_SOCKET
//	  │  units/*         mcpd.socket      └─ Watch ──▶ $NOTIFY_SOCKET, until it hangs: then systemd starts it anew
//	  ▼                  mcpd.service.d/
//	Installer ── Ask: which systemd, which namespaces ── plan: what differs ── apply, systemctl
//
// There are two variants. The user's unit runs as the person who installs it, with
// that person's programs and files. The system's unit runs as a user that exists only
// while it runs; systemd opens the ports, so that it needs no capability for :443.
//
// The first line of each file tells that it was written here and, by a sum, that nobody
// has changed it since: only such a file is replaced or removed.
//
// What this package does not do: it knows nothing of servers, people or tokens, and
// it does not replace a service manager; on other systems nothing here has an effect.
package systemd
