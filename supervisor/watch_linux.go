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
	h.mu.Lock()
	defer h.mu.Unlock()
	limited := make(map[int]usage)
	for group, t := range h.live {
		if t.want.Memory > 0 || t.want.Tasks > 0 {
			limited[group] = usage{}
		}
	}
	if len(limited) == 0 {
		return
	}
	for _, p := range processes() {
		if u, ok := limited[p.group]; ok && !p.zombie {
			limited[p.group] = u.plus(p)
		}
	}
	for group, u := range limited {
		t := h.live[group]
		switch {
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

func (u usage) plus(p proc) usage {
	return usage{memory: u.memory + p.resident, tasks: u.tasks + p.tasks, cpu: u.cpu + p.cpu}
}
