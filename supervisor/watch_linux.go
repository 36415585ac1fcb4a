package supervisor

import (
	"syscall"
	"time"

	"github.com/mcpd/mcpd/supervisor/confine"
)

// Where no cgroup holds workers to their limits, somebody has to look: at the memory and the
// threads of their process groups, and kill the group that has too many. What grows fast can be over
// its limit until the next look; RLIMIT_DATA bounds each single process meanwhile.

const watchEvery = time.Second

// watch looks until the host is closed.
func (h *host) watch() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-h.stop:
			return
		case <-tick.C:
			h.judge()
		}
	}
}

// judge kills the workers that are over a limit.
func (h *host) judge() {
	limited := h.limited()
	if len(limited) == 0 {
		return
	}
	used := make(map[int]usage)
	for _, p := range processes() {
		if _, ok := limited[p.group]; ok && !p.zombie {
			used[p.group] = used[p.group].plus(p)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for group, t := range limited {
		u := used[group]
		switch {
		case h.live[group] != t: // it has ended meanwhile
			continue
		case t.want.Memory > 0 && u.memory > t.want.Memory:
			t.sentence = confine.OutOfMemory(t.want.Memory)
		case t.want.Tasks > 0 && u.tasks > t.want.Tasks:
			t.sentence = confine.TooManyTasks(t.want.Tasks)
		default:
			continue
		}
		t.signal(syscall.SIGKILL)
	}
}

// limited are the workers that have a limit, by process group.
func (h *host) limited() map[int]*tracked {
	h.mu.Lock()
	defer h.mu.Unlock()
	limited := make(map[int]*tracked)
	for group, t := range h.live {
		if t.want.Memory > 0 || t.want.Tasks > 0 {
			limited[group] = t
		}
	}
	return limited
}

func (u usage) plus(p proc) usage {
	return usage{memory: u.memory + p.resident, tasks: u.tasks + p.tasks, cpu: u.cpu + p.cpu}
}
