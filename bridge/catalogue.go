package bridge

import (
	"bytes"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// catalogue are the lists of a server, whole, as its workers gave them last. A
// list belongs to a shelf, and a shelf to those who may see it: in user
// isolation to one person's workers of one profile, for nothing tells what an
// older server makes of the person it runs for; in shared isolation to
// everyone, unless the server says that a list is private.
type catalogue struct {
	mu      sync.Mutex
	shelves map[string]*shelf
	size    int                                 // bytes on all shelves
	tools   atomic.Uint64                       // moves whenever a list of tools does
	named   atomic.Pointer[map[string]struct{}] // tools of any list so far; replaced whole, under the lock
}

// shelf are the lists of those who may see them.
type shelf struct {
	lists  [listings]*stocked
	loaded bool           // what the disk has is here
	gone   [listings]bool // invalid before it was loaded
	used   time.Time
}

// stocked is one whole list. It does not change, but for who has seen it.
type stocked struct {
	items   []byte // raw array, no line breaks
	program string // the identity of the server that gave it
	at      time.Time
	live    bool        // given by a worker in this life of mcpd
	served  atomic.Bool // somebody was answered with it while no worker ran

	once  sync.Once
	tools *toolList // by tidied
}

// Bounds of what is kept in memory; the shelf unused for longest makes room.
const (
	maxShelves = 512
	maxStock   = 64 << 20
	maxList    = 4 << 20

	maxNamed = 1024 // tools known by name,
	maxName  = 128  // none longer than the specification recommends, in bytes
)

// forAll is the shelf of everyone in shared isolation.
const forAll = ""

// ownShelf is the shelf of a person in shared isolation.
func ownShelf(who string) string { return "\x00" + who }

// at returns a shelf, made if need be. Under the lock.
func (t *catalogue) at(name string) *shelf {
	h := t.shelves[name]
	if h == nil {
		if t.shelves == nil {
			t.shelves = map[string]*shelf{}
		}
		h = &shelf{}
		t.shelves[name] = h
	}
	h.used = time.Now()
	return h
}

// look returns a list; loaded is false if the disk was not asked yet.
func (t *catalogue) look(name string, l listing) (got *stocked, loaded bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.shelves[name]
	if h == nil {
		return nil, false
	}
	h.used = time.Now()
	return h.lists[l], h.loaded
}

// put stocks a list and returns what it replaces, nil if that is the same.
// current says, under the lock, whether it is still the newest.
func (t *catalogue) put(name string, l listing, s *stocked, current func() bool) (old *stocked, done bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !current() {
		return nil, false
	}
	h := t.at(name)
	old = h.lists[l]
	if old != nil {
		t.size -= len(old.items)
	}
	h.lists[l], h.gone[l] = s, false
	t.size += len(s.items)
	if l == toolListing && (old == nil || !old.live || !bytes.Equal(old.items, s.items)) {
		t.tools.Add(1)
		t.name(s.items)
	}
	t.makeRoom(h)
	return old, true
}

// Lists reports whether the server has had a tool of this name in any of its lists, in this life of mcpd
// or, as far as they were read from the disk, in an earlier one. It takes no lock.
func (s *Server) Lists(tool string) bool {
	named := s.catalogue.named.Load()
	if named == nil {
		return false
	}
	_, ok := (*named)[tool]
	return ok
}

// name adds the tools of a list to those that are known by name. Under the lock.
func (t *catalogue) name(items []byte) {
	var fresh []string
	old := map[string]struct{}{}
	if p := t.named.Load(); p != nil {
		old = *p
	}
	for v := range values(items, span{0, len(items)}) {
		if !v.isObjAt(items) || len(old)+len(fresh) >= maxNamed {
			continue
		}
		name := string(text(memberOf(items, v, "name").of(items)))
		if _, ok := old[name]; !ok && name != "" && len(name) <= maxName {
			fresh = append(fresh, name)
		}
	}
	if len(fresh) == 0 {
		return
	}
	all := maps.Clone(old)
	for _, name := range fresh {
		all[name] = struct{}{}
	}
	t.named.Store(&all)
}

// drop forgets lists of a shelf, also those that only the disk has. has
// reports whether there is anything to forget.
func (t *catalogue) drop(name string, which lists) (has bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.at(name)
	for l := toolListing; l < listings; l++ {
		if l.announcedBy()&which == 0 {
			continue
		}
		if old := h.lists[l]; old != nil {
			t.size -= len(old.items)
			h.lists[l], has = nil, true
		}
		has = has || !h.loaded
		h.gone[l] = true
	}
	if which&listTools != 0 {
		t.tools.Add(1)
	}
	t.makeRoom(h)
	return has
}

// extended are the shelves of a person's workers that know of extensions.
func (t *catalogue) extended(who string) (names []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name := range t.shelves {
		if p, owner := splitKey(name); owner == who && p.extensions != "" {
			names = append(names, name)
		}
	}
	return names
}

// own are the shelves of single persons in shared isolation.
func (t *catalogue) own() (names []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name := range t.shelves {
		if name != forAll {
			names = append(names, name)
		}
	}
	return names
}

// makeRoom takes the shelves unused for longest out of memory, never keep. Under the lock.
func (t *catalogue) makeRoom(keep *shelf) {
	for len(t.shelves) > maxShelves || t.size > maxStock {
		var oldest string
		var found *shelf
		for name, h := range t.shelves {
			if h != keep && (found == nil || h.used.Before(found.used)) {
				oldest, found = name, h
			}
		}
		if found == nil {
			return
		}
		for _, s := range found.lists {
			if s != nil {
				t.size -= len(s.items)
			}
		}
		delete(t.shelves, oldest)
		t.tools.Add(1)
	}
}
