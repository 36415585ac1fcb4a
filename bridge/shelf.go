package bridge

import (
	"encoding/json"
	"time"
)

// keptShelf is a shelf on disk.
type keptShelf struct {
	Format int                 `json:"format"`
	Lists  map[string]keptList `json:"lists"` // by method
}

type keptList struct {
	At      time.Time       `json:"at"`
	Program string          `json:"program"`
	Items   json.RawMessage `json:"items"`
}

// recordOf names a shelf's record. Isolation is part of it: under another one
// the same shelf is seen by others.
func (s *Server) recordOf(name string) string {
	return "lists\x00" + s.o.Config.Isolation + "\x00" + name
}

// stock returns a list, from the disk if need be.
func (s *Server) stock(name string, l listing) *stocked {
	got, loaded := s.catalogue.look(name, l)
	if got != nil || loaded || s.o.Memory == nil {
		return got
	}
	s.loadShelf(name)
	got, _ = s.catalogue.look(name, l)
	return got
}

// loadShelf adds what the disk has to what is known better by now.
func (s *Server) loadShelf(name string) {
	var k keptShelf
	if raw, ok := s.o.Memory.Load(s.recordOf(name)); ok {
		if json.Unmarshal(raw, &k) != nil || k.Format != memoryFormat {
			k = keptShelf{}
		}
	}
	t := &s.catalogue
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.at(name)
	if h.loaded {
		return
	}
	h.loaded = true
	for l := toolListing; l < listings; l++ {
		v, ok := k.Lists[l.method()]
		if !ok || h.lists[l] != nil || h.gone[l] || len(v.Items) > maxList || len(v.Items) == 0 || v.Items[0] != '[' {
			continue
		}
		h.lists[l] = &stocked{items: compact(v.Items), program: v.Program, at: v.At}
		t.size += len(h.lists[l].items)
		if l == toolListing {
			t.name(h.lists[l].items)
		}
	}
	t.makeRoom(h)
}

// keepShelf writes a shelf to the disk, behind.
func (s *Server) keepShelf(name string) {
	if p, _ := splitKey(name); p.extensions != "" {
		return // one of any number that a client may make up: for this life only
	}
	if s.o.Memory != nil {
		s.behind.run("keep\x00"+name, func() { s.storeShelf(name) })
	}
}

func (s *Server) storeShelf(name string) {
	s.loadShelf(name)
	k := keptShelf{Format: memoryFormat, Lists: map[string]keptList{}}
	t := &s.catalogue
	t.mu.Lock()
	if h := t.shelves[name]; h != nil {
		for l, v := range h.lists {
			if v != nil {
				k.Lists[listing(l).method()] = keptList{v.at, v.program, v.items}
			}
		}
	}
	t.mu.Unlock()
	if len(k.Lists) == 0 {
		_ = s.o.Memory.Store(s.recordOf(name), nil)
		return
	}
	s.store(s.recordOf(name), k)
}

// Forget removes what is kept for a person, whose workers have ended.
func (s *Server) Forget(who string) {
	names := []string{ownShelf(who), profile{}.keyOf(who)}
	for a := range asks(len(keyDigits)) {
		names = append(names, profile{legacy: true, asks: a}.keyOf(who))
	}
	names = append(names, s.catalogue.extended(who)...)
	for _, name := range names {
		if name != forAll && s.catalogue.drop(name, listTools|listPrompts|listResources) {
			s.keepShelf(name)
		}
	}
}
