package bridge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"
)

// features are the capabilities the bridge decides by.
type features uint16

const (
	hasTools features = 1 << iota
	hasPrompts
	hasResources
	hasCompletions
	hasLogging
	hasSubscribe
	hasToolsChanged
	hasPromptsChanged
	hasResourcesChanged
	hasTasks         // of 2025-11-25
	hasTaskExtension // of 2026-07-28
	hasExtensions    // any other
)

// identity is what a server said of itself at its first handshake. It is
// immutable; initialize and server/discover are answered from it.
type identity struct {
	at           time.Time
	modern       bool
	version      string
	has          features
	info         []byte // raw
	instructions []byte // raw, nil when there are none
	program      string // digest of info: another one is another version
	raw          []byte // capabilities as the server has them
	forLegacy    []byte // capabilities as published to sessions
	forModern    []byte
}

// newIdentity reads the result of initialize or server/discover.
func newIdentity(b []byte, e *envelope, modern, private bool) (*identity, error) {
	id := &identity{at: time.Now(), modern: modern, version: modernVersion}
	if !modern {
		id.version = string(text(e.rVersion.of(b)))
		if id.version == "" || id.version >= modernVersion {
			return nil, errors.New("the server answered initialize without a version it could mean")
		}
	}
	info := e.rInfo
	if modern && e.rServer.ok() {
		info = e.rServer
	}
	id.info = append([]byte(nil), info.of(b)...)
	if !info.isObj(b) {
		id.info = []byte(`{"name":"unknown","version":"0"}`)
	}
	if e.rInstructions.isStr(b) {
		id.instructions = append([]byte(nil), e.rInstructions.of(b)...)
	}
	caps := []byte("{}")
	if e.rCaps.isObj(b) {
		caps = e.rCaps.of(b)
	}
	id.raw = append([]byte(nil), caps...)
	return id, id.publish(id.raw, private)
}

// publish computes the capabilities each kind of client is shown: the server's
// own minus what cannot be honoured. Unknown ones are passed on.
func (id *identity) publish(raw []byte, private bool) error {
	id.program = id.digest()
	var caps map[string]json.RawMessage
	if err := json.Unmarshal(raw, &caps); err != nil {
		return fmt.Errorf("cannot read the server's capabilities: %w", err)
	}
	id.note(caps)
	if !private {
		delete(caps, "logging") // a log line could be anyone's
	}
	if id.modern || !private {
		delete(caps, "tasks") // one worker has every person's, and lists them all
	}
	// The two designs of tasks are each for clients of their own generation.
	var errs [2]error
	id.forModern, errs[0] = json.Marshal(without(caps, "tasks"))
	if ext, ok := caps["extensions"]; ok {
		var all map[string]json.RawMessage
		if json.Unmarshal(ext, &all) == nil {
			if !id.modern {
				caps["extensions"], _ = json.Marshal(without(all, taskExtension))
				id.forModern, errs[0] = json.Marshal(without(caps, "tasks"))
			}
			caps["extensions"], _ = json.Marshal(without(all, taskExtension))
			id.noteExtensions(all)
		}
	}
	id.forLegacy, errs[1] = json.Marshal(caps)
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("cannot publish the server's capabilities: %w", err)
	}
	return nil
}

// without is a copy of m without one key.
func without(m map[string]json.RawMessage, key string) map[string]json.RawMessage {
	m = maps.Clone(m)
	delete(m, key)
	return m
}

func (id *identity) noteExtensions(all map[string]json.RawMessage) {
	if !id.modern {
		return
	}
	if _, ok := all[taskExtension]; ok {
		id.has |= hasTaskExtension
	}
	if len(without(all, taskExtension)) > 0 {
		id.has |= hasExtensions
	}
}

func (id *identity) note(caps map[string]json.RawMessage) {
	sub := func(name string, base, changed features) {
		raw, ok := caps[name]
		if !ok {
			return
		}
		id.has |= base
		var s struct {
			ListChanged bool `json:"listChanged"`
			Subscribe   bool `json:"subscribe"`
		}
		_ = json.Unmarshal(raw, &s)
		if s.ListChanged {
			id.has |= changed
		}
		if s.Subscribe {
			id.has |= hasSubscribe
		}
	}
	sub("tools", hasTools, hasToolsChanged)
	sub("prompts", hasPrompts, hasPromptsChanged)
	sub("resources", hasResources, hasResourcesChanged)
	sub("completions", hasCompletions, 0)
	sub("logging", hasLogging, 0)
	if !id.modern {
		sub("tasks", hasTasks, 0)
	}
	if !id.modern && id.version < "2025-03-26" {
		id.has |= hasCompletions // the capability did not exist yet
	}
}

// initializeResult appends the inside of the result for a session client.
func (id *identity) initializeResult(dst []byte, version string) []byte {
	dst = append(dst, `{"protocolVersion":"`...)
	dst = append(dst, version...)
	dst = append(dst, `","capabilities":`...)
	dst = append(dst, id.forLegacy...)
	dst = append(dst, `,"serverInfo":`...)
	dst = append(dst, id.info...)
	if id.instructions != nil {
		dst = append(dst, `,"instructions":`...)
		dst = append(dst, id.instructions...)
	}
	return append(dst, '}')
}

// discoverResult appends the result of server/discover. Only modern versions
// are listed: a legacy one is reached by initialize, not by choosing it here.
func (id *identity) discoverResult(dst []byte) []byte {
	dst = append(dst, `{"resultType":"complete","supportedVersions":["`+modernVersion+`"],"capabilities":`...)
	dst = append(dst, id.forModern...)
	if id.instructions != nil {
		dst = append(dst, `,"instructions":`...)
		dst = append(dst, id.instructions...)
	}
	dst = append(dst, `,"ttlMs":0,"cacheScope":"private","_meta":{"`+metaServer+`":`...)
	dst = append(dst, id.info...)
	return append(dst, "}}"...)
}

// digest names the program and its version: what one lists, another need not.
func (id *identity) digest() string {
	sum := sha256.Sum256(id.info)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// same tells whether two handshakes were told the same.
func (id *identity) same(o *identity) bool {
	return id.modern == o.modern && id.version == o.version && bytes.Equal(id.info, o.info) &&
		bytes.Equal(id.raw, o.raw) && bytes.Equal(id.instructions, o.instructions)
}

// learn keeps the identity for initialize and server/discover.
func (s *Server) learn(id *identity) {
	old := s.ident.Swap(id)
	if old == nil || !old.same(id) || id.at.Sub(old.at) >= s.identityAge/2 {
		s.remember()
	}
}

// relearn notes that a worker that runs is who it was.
func (s *Server) relearn(c *Conn) {
	fresh := *c.ident
	fresh.at = time.Now()
	s.learn(&fresh)
}

// identity returns who the server is, as it said last: at once where it ever
// did, and asked again behind the answer when that is long ago.
func (s *Server) identity(ctx context.Context, p profile, who string) (*identity, error) {
	if id := s.ident.Load(); id != nil {
		if time.Since(id.at) >= s.identityAge {
			s.refresh(p, who)
		}
		return id, nil
	}
	c, release, err := s.acquire(ctx, p, who)
	if err != nil {
		return nil, err
	}
	defer release()
	s.relearn(c)
	return s.ident.Load(), nil
}
