package systemd

import (
	"context"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
)

// Manager is the service manager that started this program, told how it goes by
// sd_notify(3). Where there is none, telling does nothing.
type Manager struct {
	Log *zap.Logger
}

// Ready says that requests are answered: after the start, and after every reload.
// The status is a line for a person who looks at the service.
func (m Manager) Ready(status string) { m.tell(daemon.SdNotifyReady, "STATUS="+oneLine(status)) }

// Reloading says that the configuration is being loaded. The time lets the manager
// know which of its signals is meant (Type=notify-reload in systemd.service(5)).
func (m Manager) Reloading() {
	m.tell(daemon.SdNotifyReloading, strings.TrimSpace(daemon.SdNotifyMonotonicUsec()))
}

// Stopping says that nothing new is accepted.
func (m Manager) Stopping() { m.tell(daemon.SdNotifyStopping) }

// Watch tells the manager again and again, until ctx is done, that this program
// lives: once alive has returned, so that one that hangs is found out and started
// anew. It does nothing unless the unit has WatchdogSec=.
func (m Manager) Watch(ctx context.Context, alive func()) {
	within, err := daemon.SdWatchdogEnabled(false)
	if err != nil || within == 0 {
		return
	}
	tick := time.NewTicker(within / 3)
	defer tick.Stop()
	for {
		alive()
		m.tell(daemon.SdNotifyWatchdog)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (m Manager) tell(lines ...string) {
	if _, err := daemon.SdNotify(false, strings.Join(lines, "\n")); err != nil {
		m.Log.Warn("cannot tell the service manager", zap.String("message", lines[0]), zap.Error(err))
	}
}

// oneLine keeps a text from becoming a second message.
func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "; ") }
