package supervisor

import (
	"syscall"
	"time"
)

// end stops a child in five steps and returns when it is gone. It must not be called twice for
// one child at the same time.
func end(c child, t TimeoutsConfig) {
	// "First, closing the input stream to the child process (the server)"
	// (MCP 2025-11-25, lifecycle, shutdown over stdio). It is also what reaches every process
	// behind npx, which share the pipe.
	c.closeInput()
	// "Waiting for the server to exit, or sending SIGTERM if the server does not exit within a
	// reasonable time"
	if gone := within(c, t.Stdin); gone {
		return
	}
	// To the group: npx ends at SIGTERM and leaves the node it started behind.
	c.signal(syscall.SIGTERM)
	// "Sending SIGKILL if the server does not exit within a reasonable time after SIGTERM"
	if gone := within(c, t.Term); gone {
		return
	}
	c.signal(syscall.SIGKILL)
	<-c.ended()
}

// within waits for the end of the child, at most d.
func within(c child, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.ended():
		return true
	case <-t.C:
		return false
	}
}
