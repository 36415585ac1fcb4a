package supervisor

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"

	"golang.org/x/sys/unix"
)

// The brand is a number that this process and everything that descends from it carry in the kernel: the soft
// RLIMIT_RTTIME, so high that it limits nothing, and of use to real-time threads only (getrlimit(2)). A new
// process has it from its first moment, and keeps it through execve(2), setsid(2) and whatever it does to its
// environment, so that after our end the guardian misses nobody: what has it is ours. Its parts:
//
//	bit 62 │ 30 bits: this process │ 10 bits: this host │ 22 bits: the worker, 0 in whoever has none
const (
	brandBit    = 1 << 62 // 146 thousand years, in microseconds
	processBits = 30
	hostBits    = 10
	workerBits  = 22 // PID_MAX_LIMIT
)

// newBrand is that of a new host. It gives this process the part that is of the process; that part is the same
// every time, for nobody else has this number since then.
func newBrand() (uint64, error) {
	self, ok := processOf(os.Getpid())
	if !ok {
		return 0, errors.New("cannot read /proc")
	}
	mixed := self.start*0x9E3779B97F4A7C15 + uint64(self.pid)*0xC2B2AE3D27D4EB4F
	process := brandBit | mixed>>(64-processBits)<<(hostBits+workerBits)
	return process | rand.Uint64N(1<<hostBits)<<workerBits, setBrand(0, process)
}

// setBrand sets the soft limit of a process; brand 0 sets it to the hard one, as it usually is.
func setBrand(pid int, brand uint64) error {
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_RTTIME, nil, &limit); err != nil {
		return fmt.Errorf("cannot read a limit: %w", err)
	}
	if limit.Cur = brand; brand == 0 {
		limit.Cur = limit.Max
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_RTTIME, &limit, nil); err != nil {
		return fmt.Errorf("cannot set a limit: %w", err)
	}
	return nil
}

// brandOf reads the brand of a process, 0 if it has none. Unlike an environment, that of a process which is just
// being executed can be read too.
func brandOf(pid int) uint64 {
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_RTTIME, nil, &limit); err != nil || limit.Cur>>62 != 1 {
		return 0
	}
	return limit.Cur
}

// brandWorker is called at once when a worker is started. What it has started until then is nobody's while this
// process lives, and ours when it does not.
func (h *host) brandWorker(pid int) {
	if h.brand != 0 {
		_ = setBrand(pid, h.brand|uint64(pid)) // it may be dead
	}
}

// workerOf is the process id of the worker that a process was started by; false if its brand does not tell.
func (h *host) workerOf(pid int) (int, bool) {
	b := brandOf(pid)
	worker := int(b & (1<<workerBits - 1))
	return worker, worker != 0 && b>>workerBits == h.brand>>workerBits
}

// remnants finds the living processes that a guardian has to kill: those with the process's part of that brand, and
// those with the mark.
func remnants(brand uint64, mark string) (list []proc) {
	const other = hostBits + workerBits
	for _, pid := range pids() {
		if pid == os.Getpid() || (brand == 0 || brandOf(pid)>>other != brand>>other) && !carries(pid, mark) {
			continue
		}
		if p, ok := processOf(pid); ok && !p.zombie {
			list = append(list, p)
		}
	}
	return list
}
