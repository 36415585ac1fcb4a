package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// CheckConfig says how a server's workers are asked whether they work. Only workers that run and have nothing else to do
// are asked, and none is started for it. One that gives no answer twice in a row is ended, for a new one.
type CheckConfig struct {
	// Tool is the tool that is called; its result must not be an error. It is called in the name of whoever the
	// worker serves. Default: "", the list of tools is asked for, which costs nothing.
	Tool string `koanf:"tool"`

	// Args are the tool's arguments, a JSON object. Default: "{}".
	Args string `koanf:"args"`

	// Every is the time between two checks; 0 is no checks. Default: 1m.
	Every time.Duration `koanf:"every"`
}

// Validate reports everything that is wrong, one error per line, each beginning with its key.
func (c CheckConfig) Validate() error {
	var errs []error
	if json.Unmarshal([]byte(c.Args), &map[string]json.RawMessage{}) != nil {
		errs = append(errs, fmt.Errorf("check.args: %q must be a JSON object", c.Args))
	}
	if c.Every < 0 || c.Every > 0 && c.Every < time.Second {
		errs = append(errs, fmt.Errorf("check.every: %v must be 0 or at least 1s", c.Every))
	}
	return errors.Join(errs...)
}

// checkPatience is how long a worker may take to answer.
const checkPatience = 10 * time.Second

// checked is what the checks of one server found.
type checked struct {
	next    time.Time // when the next is due
	running bool
	last    CheckStatus
}

// CheckStatus is the last check of a server.
type CheckStatus struct {
	Time    time.Time  `json:"time" help:"when it ended"`
	Workers int        `json:"workers" help:"how many were asked"`
	Took    float64    `json:"took_ms"`
	Error   string     `json:"error,omitempty" help:"what was wrong; absent when all answered"`
	Since   *time.Time `json:"failing_since,omitempty" help:"the first of the failures in a row"`
}

// check asks workers whether they work, until ctx is done.
func (d *daemon) check(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, t := range d.world.Load().tenants {
				if t.health.due(now, t.cfg.Check.Every) {
					d.background.Go(func() { d.checkOne(ctx, t) }) // ends with ctx, or after checkPatience
				}
			}
		}
	}
}

func (d *daemon) checkOne(ctx context.Context, t *tenant) {
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	begun := time.Now()
	asked, err := t.bridge.Check(ctx, t.cfg.Check.Tool, t.cfg.Check.Args)
	if first := t.health.checked(begun, asked, err); first {
		d.log.Warn("server does not pass its check", serverField(t.name), zap.Error(err))
	}
}

// due tells whether a check is to begin, and counts it as begun.
func (h *health) due(now time.Time, every time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if every <= 0 || h.check.running || now.Before(h.check.next) {
		return false
	}
	h.check.running, h.check.next = true, now.Add(every)
	return true
}

// checked notes how a check ended; first tells that it failed and the one before did not.
func (h *health) checked(begun time.Time, asked int, err error) (first bool) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.check.last
	h.check.running = false
	if asked == 0 { // who failed the last check has ended, or is at work
		h.check.last.Error, h.check.last.Since = "", nil
		return false
	}
	h.check.last = CheckStatus{Time: now, Workers: asked, Took: float64(now.Sub(begun)) / float64(time.Millisecond)}
	if err == nil {
		return false
	}
	h.check.last.Error, h.check.last.Since = err.Error(), was.Since
	if was.Since == nil {
		h.check.last.Since = &now
	}
	return was.Since == nil
}

// lastCheck is the last check, nil if there was none.
func (h *health) lastCheck() *CheckStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.check.last.Time.IsZero() {
		return nil
	}
	last := h.check.last
	return &last
}

// text is the check for a person.
func (c *CheckStatus) text(now time.Time) string {
	if c.Error == "" {
		return fmt.Sprintf("fine %s ago, %s", since(now, c.Time), milliseconds(c.Took))
	}
	return fmt.Sprintf("fails since %s: %s", c.Since.Local().Format(time.TimeOnly), c.Error)
}
