package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress is a line on a terminal that says what is being done and for how long. Elsewhere it says nothing.
type progress struct {
	out  io.Writer
	on   bool
	stop chan struct{} // ends the clock of the present line; nil: there is none
	done sync.WaitGroup
}

// show replaces the line; "" takes it away.
func (p *progress) show(who, what string) {
	p.end()
	if !p.on || what == "" {
		return
	}
	stop, began := make(chan struct{}), time.Now()
	p.stop = stop
	p.done.Go(func() { // ends with end
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			fmt.Fprintf(p.out, "\r\x1b[K%s: %s, %d s", who, what, int(time.Since(began).Seconds()))
			select {
			case <-tick.C:
			case <-stop:
				fmt.Fprint(p.out, "\r\x1b[K")
				return
			}
		}
	})
}

func (p *progress) end() {
	if p.stop != nil {
		close(p.stop)
		p.stop = nil
		p.done.Wait()
	}
}
