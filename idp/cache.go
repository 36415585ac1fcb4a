package idp

import (
	"sync"
	"sync/atomic"
	"time"
)

// held is a token in memory. It is never changed once it is in the cache.
type held struct {
	hash     Digest
	family   string
	server   string
	resource string
	user     User
	expires  time.Time
	read     time.Time // from the store
	grant    Grant
}

// cache holds the tokens in use, so that checking one again asks no database. It is
// split so that callers on many processors do not meet at one lock, and bounded: what does not fit is read again.
type cache struct {
	epochs atomic.Uint64 // counts revocations
	shards [cacheShards]shard
}

const (
	cacheShards = 64
	shardSize   = 1024 // tokens in each; 65536 in all, some 40 MB at the most
)

type shard struct {
	mu     sync.RWMutex
	tokens map[Digest]*held
	_      [64]byte // keeps neighbours off this lock's cache line
}

func newCache() *cache {
	c := &cache{}
	for n := range c.shards {
		c.shards[n].tokens = make(map[Digest]*held)
	}
	return c
}

func (c *cache) shard(hash *Digest) *shard { return &c.shards[hash[0]%cacheShards] }

func (c *cache) get(hash *Digest) *held {
	s := c.shard(hash)
	s.mu.RLock()
	h := s.tokens[*hash]
	s.mu.RUnlock()
	return h
}

// epoch is taken before the store is read, and given to put.
func (c *cache) epoch() uint64 { return c.epochs.Load() }

// put keeps a token that was read from the store, unless something was dropped since: it could have been this one.
func (c *cache) put(h *held, epoch uint64) {
	s := c.shard(&h.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.epochs.Load() != epoch {
		return
	}
	if len(s.tokens) >= shardSize {
		for old := range s.tokens { // any: the order of a map is random
			delete(s.tokens, old)
			break
		}
	}
	s.tokens[h.hash] = h
}

// drop forgets every token that is meant. It is called after the store has forgotten it.
func (c *cache) drop(meant func(*held) bool) {
	c.epochs.Add(1)
	for n := range c.shards {
		s := &c.shards[n]
		s.mu.Lock()
		for hash, h := range s.tokens {
			if meant(h) {
				delete(s.tokens, hash)
			}
		}
		s.mu.Unlock()
	}
}
