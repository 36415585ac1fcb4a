//go:build !linux

package supervisor

import (
	"context"
	"errors"
	"os"
	"syscall"

	"go.uber.org/zap"
)

// Outside Linux a child is the leader of its own session, and that is all: there is no Pdeathsig, so
// only the guardian ends children when mcpd is killed, and no subreaper, so a process that leaves
// its group is lost from sight.

func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func adopt(*zap.Logger) {}

// awaitExit reaps the child, having no way to wait without that. The group is killed a moment
// later, in which its number could in theory become somebody else's.
func awaitExit(p *process) { p.reap() }

func hasExited(*process) bool { return false }

func (order) lower(int) {}

func (p *process) favour(context.Context) {}

func widen(*os.File) {}

func (h *host) sweep() { <-h.stop }

func (h *host) watch() { <-h.stop }

// measure cannot tell here what was left behind.
func (h *host) measure() measurement { return measurement{orphans: -1} }

// Proportional cannot tell here.
func Proportional(int) int64 { return 0 }

// proc is a process, of which only the numbers are known here.
type proc struct{ pid, group, session int }

// newBrand is of Linux.
func newBrand() (uint64, error) {
	return 0, errors.New("no process can be marked for good outside Linux")
}

func setBrand(int, uint64) error { return nil }

func (h *host) brandWorker(int) {}

// remnants finds nothing here: what has left its group is lost.
func remnants(uint64, string) []proc { return nil }
