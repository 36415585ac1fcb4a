package bridge

import "sync"

// owners are the sessions that have, or had, a worker of their own
// (isolation = "session"), with the worker each is at. That one is gone is said
// once, in the answer to the session's next call: a server that keeps a browser
// or a shell must not seem to go on where it left off.
type owners struct {
	started int64 // Unix seconds; what sessions from before had is lost

	mu    sync.Mutex
	at    map[sid]owned
	order []sid
}

type owned struct {
	serial uint64 // of the connection
	since  int64  // when the session was opened, Unix seconds
}

// maxOwners bounds what is remembered. A session that falls out of it, like one
// from before a restart, is told of a loss at its next call.
const maxOwners = 8192

var errLostState = internal("the server's state for this session was lost: its process ended and a fresh one has been started; the next call will work, from the beginning")

// lost notes at which worker a session is and tells whether it is another than before.
func (o *owners) lost(id sid, since int64, serial uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	before, known := o.at[id]
	if known && before.serial == serial {
		return false
	}
	if o.at == nil {
		o.at = map[sid]owned{}
	}
	o.at[id] = owned{serial, since}
	if known {
		return true
	}
	o.order = append(o.order, id)
	for len(o.order) > maxOwners {
		if v, ok := o.at[o.order[0]]; ok {
			o.started = max(o.started, v.since+1)
			delete(o.at, o.order[0])
		}
		o.order = o.order[1:]
	}
	return since < o.started
}

func (o *owners) forget(id sid) {
	o.mu.Lock()
	delete(o.at, id)
	o.mu.Unlock()
}

// ownWorker makes a profile that of one session's own worker, if that is how
// this server is isolated. A modern caller has no session and shares its
// person's worker.
func (s *Server) ownWorker(p profile, c *Client) profile {
	if s.o.Config.Isolation == "session" && c.session != (sid{}) {
		p.session, p.since = c.session, c.opened.Unix()
	}
	return p
}

// settled refuses the first call after a session's worker was replaced.
func (s *Server) settled(p profile, c *Conn) error {
	if p.session != (sid{}) && s.owners.lost(p.session, p.since, c.serial) {
		return errLostState
	}
	return nil
}

// releaseOwn ends the worker of a session that is over.
func (s *Server) releaseOwn(call *Call) {
	p := call.profile(s)
	if p.session == (sid{}) {
		return
	}
	s.owners.forget(p.session)
	if c := s.running(p.keyOf(call.Principal)); c != nil {
		_ = c.Close() // that was the point
	}
}
