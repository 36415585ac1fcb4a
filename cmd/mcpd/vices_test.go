package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// vices are what a peer does to the machine it runs on, by the name that -vice gives. What it starts has its -tag
// among its arguments, so that a test finds what is left.
var vices = map[string]func(tag string){
	"forks":   forkOn,
	"memory":  hoard,
	"mute":    func(string) { after(300*time.Millisecond, func() { _ = os.Stdout.Close() }) },
	"flood":   func(string) { after(0, floodStderr) },
	"daemons": daemonise,
}

// after runs f beside the server, until the process ends.
func after(d time.Duration, f func()) {
	go func() {
		<-time.After(d)
		f()
	}()
}

// idler is a small process that does nothing and is found by the tag.
func idler(tag string) *exec.Cmd {
	return &exec.Cmd{Path: "/bin/sleep", Args: []string{"-tag=" + tag, "86400"}}
}

// forkOn starts processes as fast as it can. That it has an end is for the machine's other users.
func forkOn(tag string) {
	after(0, func() {
		for range 300 {
			_ = idler(tag).Start() // a limit says no, which is what it is for
		}
	})
}

// hoard takes memory until it is stopped, or has taken half a gigabyte.
func hoard(string) {
	after(0, func() {
		var all [][]byte
		for range 64 {
			b := make([]byte, 8<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			all = append(all, b)
			<-time.After(20 * time.Millisecond)
		}
		<-time.After(time.Hour)
		fmt.Fprintln(os.Stderr, len(all))
	})
}

// floodStderr writes some ten megabytes a second.
func floodStderr() {
	block := strings.Repeat("all work and no play makes a dull server\n", 1000)
	for {
		if _, err := os.Stderr.WriteString(block); err != nil {
			return
		}
		<-time.After(4 * time.Millisecond)
	}
}

// daemonise starts what leaves the process group and the session, and takes no environment along or all of it.
func daemonise(tag string) {
	for i := range 2 {
		c := idler(tag)
		if i == 0 {
			c.Env = []string{}
		}
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := c.Start(); err != nil {
			fmt.Fprintln(os.Stderr, "cannot start a daemon:", err)
		}
	}
}
