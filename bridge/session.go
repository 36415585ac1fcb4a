package bridge

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"iter"
	"sync"
	"time"

	"go.uber.org/zap"
)

// sid names a session within its server.
type sid [16]byte

// session is everything an Mcp-Session-Id stands for. It is kept in the id
// itself, sealed: an idle session costs nothing and outlives the process.
type session struct {
	id         sid
	created    time.Time
	version    string
	asks       asks
	who        string // the principal; the id alone never authenticates
	info       []byte // clientInfo, raw
	name       string // in clientInfo
	caps       []byte // capabilities, raw
	extensions string // in caps; see extensionsOf
}

// sessionAge is how long an id can be used. A client that gets 404 afterwards
// opens a new session (MCP 2025-11-25, transports).
const sessionAge = 7 * 24 * time.Hour

// What a client says of itself is kept up to these lengths: it travels in a
// header of every request.
const (
	maxInfo = 512
	maxCaps = 1024
)

var errSession = errors.New("no such session")

const sessionFormat = 1

// bound leaves out what a client has no reason to say at such length.
func (v *session) bound() {
	if len(v.info) > maxInfo {
		v.info = []byte(`{"name":"unknown","version":"0"}`)
	}
	if len(v.caps) > maxCaps {
		v.caps = []byte(v.asks.capabilities())
	}
}

// sealSession returns the id for the client: visible ASCII.
func (s *Server) sealSession(v *session) string {
	v.bound()
	b := append(make([]byte, 0, 256), sessionFormat)
	b = append(b, v.id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(v.created.Unix()))
	b = append(b, byte(v.asks))
	for _, part := range [][]byte{[]byte(v.version), []byte(v.who), v.info, v.caps} {
		b = binary.BigEndian.AppendUint16(b, uint16(len(part)))
		b = append(b, part...)
	}
	return base64.RawURLEncoding.EncodeToString(s.o.Sealer.Seal(nil, b, s.bound))
}

// openSession reads an id. Every failure is the same 404: of another server,
// another person, expired, ended, or made up.
func (s *Server) openSession(id, who string, v *session) error {
	place := s.unsealed.place(id)
	o := place.Load()
	if o == nil || o.id != id {
		o = &opened{id: id}
		if err := s.unseal(id, &o.session); err != nil {
			return err
		}
		place.Store(o)
	}
	*v = o.session
	if v.who != who || s.denied.has(v.id) || time.Since(v.created) > sessionAge {
		return errSession
	}
	return nil
}

// unseal decrypts an id.
func (s *Server) unseal(id string, v *session) error {
	if len(id) > 8<<10 {
		return errSession
	}
	raw, err := base64.RawURLEncoding.AppendDecode(make([]byte, 0, 512), []byte(id))
	if err != nil {
		return errSession
	}
	b, err := s.o.Sealer.Open(nil, raw, s.bound)
	if err != nil || !v.parse(b) {
		return errSession
	}
	return nil
}

func (v *session) parse(b []byte) bool {
	if len(b) < 26 || b[0] != sessionFormat {
		return false
	}
	copy(v.id[:], b[1:17])
	v.created = time.Unix(int64(binary.BigEndian.Uint64(b[17:25])), 0)
	v.asks = asks(b[25])
	b = b[26:]
	var parts [4][]byte
	for i := range parts {
		if len(b) < 2 {
			return false
		}
		n := int(binary.BigEndian.Uint16(b))
		if len(b) < 2+n {
			return false
		}
		parts[i], b = b[2:2+n], b[2+n:]
	}
	if len(b) != 0 {
		return false
	}
	v.version, v.who, v.info, v.caps = knownLegacy(parts[0]), string(parts[1]), parts[2], parts[3]
	v.name, v.extensions = nameOf(v.info), extensionsOf(v.caps)
	return v.version != ""
}

// knownLegacy returns the revision without allocating, "" if it is not one.
func knownLegacy(b []byte) string {
	switch string(b) {
	case "2025-11-25":
		return "2025-11-25"
	case "2025-06-18":
		return "2025-06-18"
	case "2025-03-26":
		return "2025-03-26"
	}
	return ""
}

func newSID() (id sid) {
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	return id
}

// Ended remembers between two lives of the daemon which sessions their clients
// have ended. It need not keep any beyond the time given.
type Ended interface {
	Add(id [16]byte, until time.Time) error
	All() iter.Seq2[[16]byte, time.Time]
}

// denyList are ended sessions, until their ids expire by themselves. It is
// bounded: the oldest are forgotten first, which revives an id only for the
// person it belongs to.
type denyList struct {
	mu    sync.RWMutex
	until map[sid]time.Time
	order []sid
}

// deny ends a session, for this life of the daemon and the next.
func (s *Server) deny(v *session) {
	until := v.created.Add(sessionAge + time.Minute)
	s.denied.add(v.id, until)
	if s.o.Ended == nil {
		return
	}
	if err := s.o.Ended.Add(v.id, until); err != nil {
		s.log.Warn("an ended session could be used again after a restart", zap.Error(err))
	}
}

const maxDenied = 1 << 16

func (d *denyList) add(id sid, until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.until == nil {
		d.until = map[sid]time.Time{}
	}
	if _, ok := d.until[id]; ok {
		return
	}
	for now := time.Now(); len(d.order) > 0; d.order = d.order[1:] {
		oldest := d.order[0]
		if len(d.order) < maxDenied && now.Before(d.until[oldest]) {
			break
		}
		delete(d.until, oldest)
	}
	d.until[id] = until
	d.order = append(d.order, id)
}

func (d *denyList) has(id sid) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	_, ok := d.until[id]
	return ok
}
