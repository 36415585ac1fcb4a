package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"go.uber.org/zap"
)

// Memory outlives the process. What is stored under a name belongs to this
// server as it is configured now: whoever implements it forgets everything when
// the command, its arguments or its environment change. Names hold principals
// and are not to be shown. Both methods are called from several goroutines.
type Memory interface {
	// Load returns what was stored last, false if there is nothing.
	Load(name string) ([]byte, bool)
	// Store replaces what is there; nil removes it.
	Store(name string, data []byte) error
}

const (
	memoryFormat = 1
	memoryServer = "server"
	// memoryAge is how old an answer may be that is given before the server
	// itself was asked again. It is always asked behind such an answer.
	memoryAge = 30 * 24 * time.Hour
)

// remembered is the server itself: its protocol generation and its identity.
type remembered struct {
	Format int `json:"format"`

	Modern bool      `json:"modern"`
	Only   bool      `json:"only"`
	Until  time.Time `json:"until"` // of the verdict

	At           time.Time       `json:"at"`
	Spoken       bool            `json:"spoken"` // in the modern generation
	Version      string          `json:"version"`
	Info         json.RawMessage `json:"info"`
	Caps         json.RawMessage `json:"caps"`
	Instructions json.RawMessage `json:"instructions,omitempty"`
}

// recall takes up what an earlier life of mcpd knew.
func (s *Server) recall() {
	if s.o.Memory == nil {
		return
	}
	raw, ok := s.o.Memory.Load(memoryServer)
	if !ok {
		return
	}
	var r remembered
	if err := json.Unmarshal(raw, &r); err != nil || r.Format != memoryFormat {
		s.log.Debug("what was remembered of the server cannot be read", zap.Error(err))
		return
	}
	s.era.restore(r.Modern, r.Only, r.Until)
	id, err := r.identity(s.private())
	switch {
	case err != nil:
		s.log.Debug("the remembered identity cannot be used", zap.Error(err))
	case r.age() > memoryAge, s.o.Config.Era == "modern" && !r.Spoken, s.o.Config.Era == "legacy" && r.Spoken:
	default:
		s.ident.Store(id)
	}
}

func (r *remembered) age() time.Duration { return time.Since(r.At) }

// identity checks the record like the answer of a worker: files rot.
func (r *remembered) identity(private bool) (*identity, error) {
	isObj := func(b []byte) bool { return len(b) > 0 && b[0] == '{' }
	switch {
	case !isObj(r.Info), !isObj(r.Caps), len(r.Instructions) > 0 && r.Instructions[0] != '"':
		return nil, errors.New("the record is damaged")
	case r.Version == "", r.Spoken != (r.Version == modernVersion):
		return nil, errors.New("the record names no version")
	}
	id := &identity{at: r.At, modern: r.Spoken, version: r.Version, info: compact(r.Info), raw: compact(r.Caps)}
	if len(r.Instructions) > 0 {
		id.instructions = r.Instructions
	}
	return id, id.publish(id.raw, private)
}

// remember stores the verdict and the identity, behind.
func (s *Server) remember() {
	if s.o.Memory != nil {
		s.behind.run("remember", s.storeServer)
	}
}

func (s *Server) storeServer() {
	r := remembered{Format: memoryFormat}
	r.Modern, r.Only, r.Until = s.era.verdict()
	if id := s.ident.Load(); id != nil {
		r.At, r.Spoken, r.Version = id.at, id.modern, id.version
		r.Info, r.Caps, r.Instructions = id.info, id.raw, id.instructions
	}
	s.store(memoryServer, r)
}

// store keeps a record as JSON. A disk that is full costs a slow first answer
// after the next start, so it is logged and no more.
func (s *Server) store(name string, record any) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // what a server said stays what it was
	if err := enc.Encode(record); err != nil {
		s.log.Debug("cannot encode what is to be remembered", zap.Error(err))
		return
	}
	if err := s.o.Memory.Store(name, out.Bytes()); err != nil {
		s.log.Warn("cannot store what is known of the server", zap.Error(err))
	}
}

// compact is valid JSON without line breaks, which would end an event's line.
func compact(raw []byte) []byte {
	var out bytes.Buffer
	if json.Compact(&out, raw) != nil {
		return nil
	}
	return out.Bytes()
}
