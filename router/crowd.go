package router

import (
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// crowd bounds the connections of all addresses together: file descriptors and memory are shared by everybody.
type crowd struct {
	most int64
	log  *zap.Logger
	open atomic.Int64
	told atomic.Int64 // when the log had it last, in seconds; it does not grow with those who are turned away
}

// newCrowd returns nil where nothing is limited: a nil crowd takes everybody in.
func newCrowd(most int, log *zap.Logger) *crowd {
	if most == 0 {
		return nil
	}
	return &crowd{most: int64(most), log: log}
}

// enter takes one up; after that leave must follow.
func (c *crowd) enter() bool {
	if c == nil || c.open.Add(1) <= c.most {
		return true
	}
	c.open.Add(-1)
	if now, last := time.Now().Unix(), c.told.Load(); now-last >= 60 && c.told.CompareAndSwap(last, now) {
		c.log.Warn("too many connections, new ones are closed", zap.Int64("open", c.most), zap.String("setting", "listen.limits.total"))
	}
	return false
}

func (c *crowd) leave() {
	if c != nil {
		c.open.Add(-1)
	}
}
