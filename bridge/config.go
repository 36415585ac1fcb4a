package bridge

import (
	"errors"
	"fmt"
	"time"
)

// Config is what a server entry says about its bridge. The keys are TOML keys.
// A reload applies a change to new requests; workers are replaced because they
// were introduced under the old one.
type Config struct {
	// Isolation says who may share a worker. "user" (default): a worker serves
	// one signed-in person. "shared": any worker serves anyone, many calls at
	// once; it is told of no client capability, so it can ask nothing.
	// "session": a session has a worker of its own, for servers that keep state, and is told once
	// when that state is lost; callers without sessions share their person's worker.
	Isolation string `koanf:"isolation"`
	// Era is the protocol generation the server speaks on stdio: "modern"
	// (2026-07-28), "legacy" (initialize), or "auto" (default): a disposable
	// child is asked once.
	Era string `koanf:"era"`
	// SSE also serves clients of 2024-11-05, which know only HTTP+SSE: their URL
	// ends in /sse instead of /mcp. Default false.
	SSE bool `koanf:"sse"`
	// Limits bound one call.
	Limits LimitsConfig `koanf:"limits"`
}

// LimitsConfig bounds one call.
type LimitsConfig struct {
	// Call is how long a worker may take to answer one call, not counting the
	// time it waits for a person's answer. Default 5m.
	Call time.Duration `koanf:"call"`
	// Park is how long a call waits for the client's answer to a question of
	// its server; then the call is cancelled. Default 10m.
	Park time.Duration `koanf:"park"`
	// Body is the largest request body in bytes. Default 4 MiB.
	Body int `koanf:"body"`
	// Line is the longest line a worker may write, in bytes. Default 16 MiB.
	Line int `koanf:"line"`
	// Abreast is how many calls of this server are worked on at once while other
	// servers have calls too; more wait their turn. A call that has waited 2 ms for
	// the server's answer counts no more. Default 0: twice the processors.
	Abreast int `koanf:"abreast"`
}

// DefaultConfig returns the defaults named above.
func DefaultConfig() Config {
	return Config{
		Isolation: "user",
		Era:       "auto",
		Limits:    LimitsConfig{Call: 5 * time.Minute, Park: 10 * time.Minute, Body: 4 << 20, Line: 16 << 20},
	}
}

// Validate reports every problem, each naming its key.
func (c Config) Validate() error {
	var errs []error
	switch c.Isolation {
	case "user", "shared", "session":
	default:
		errs = append(errs, fmt.Errorf(`isolation: %q is not one of "user", "shared", "session"`, c.Isolation))
	}
	switch c.Era {
	case "auto", "modern", "legacy":
	default:
		errs = append(errs, fmt.Errorf(`era: %q is not one of "auto", "modern", "legacy"`, c.Era))
	}
	if c.Limits.Call <= 0 {
		errs = append(errs, fmt.Errorf("limits.call: %v is not positive", c.Limits.Call))
	}
	if c.Limits.Park <= 0 {
		errs = append(errs, fmt.Errorf("limits.park: %v is not positive", c.Limits.Park))
	}
	if c.Limits.Body < 1<<10 {
		errs = append(errs, fmt.Errorf("limits.body: %d bytes is less than 1 KiB", c.Limits.Body))
	}
	if c.Limits.Line < 4<<10 {
		errs = append(errs, fmt.Errorf("limits.line: %d bytes is less than 4 KiB", c.Limits.Line))
	}
	if c.Limits.Abreast < 0 {
		errs = append(errs, fmt.Errorf("limits.abreast: %d is negative", c.Limits.Abreast))
	}
	return errors.Join(errs...)
}
