package supervisor

import (
	"errors"
	"fmt"
	"time"
)

// What Acquire's errors are, for errors.Is. Their texts are made for the person whose call it was.
var (
	// ErrBusy means that every worker is taken and no place to wait is left, or that waiting
	// took too long. It comes as a *Busy.
	ErrBusy = errors.New("server is busy")

	// ErrUnavailable means that the server cannot run now. It comes as an *Unavailable.
	ErrUnavailable = errors.New("server is unavailable")
)

// Unavailable says why a server cannot take a call. Its text is a sentence for a person:
// "server is crash-looping: 5 exits in 2m; last: exited with code 1: …; next start in 12s".
type Unavailable struct {
	Reason     string        // "server is crash-looping: …"
	RetryAfter time.Duration // until the next start; 0 when no time is set for one
}

func (e *Unavailable) Error() string {
	if e.RetryAfter <= 0 {
		return e.Reason
	}
	return fmt.Sprintf("%s; next start in %s", e.Reason, short(e.RetryAfter))
}

// Unwrap makes errors.Is(e, ErrUnavailable) true.
func (e *Unavailable) Unwrap() error { return ErrUnavailable }

// Busy says that a server has more to do than it may take on.
type Busy struct {
	Reason     string        // "all 4 workers are busy and 256 calls wait"
	RetryAfter time.Duration // a guess at when it is worth trying again
}

func (e *Busy) Error() string {
	return fmt.Sprintf("server is busy: %s; try again in %s", e.Reason, short(e.RetryAfter))
}

// Unwrap makes errors.Is(e, ErrBusy) true.
func (e *Busy) Unwrap() error { return ErrBusy }

// short writes a duration as a person says it: whole seconds up, "2m" and not "2m0s".
func short(d time.Duration) string {
	s := int64((d + time.Second - 1) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600 && s%60 == 0:
		return fmt.Sprintf("%dm", s/60)
	case s < 3600:
		return fmt.Sprintf("%dm%ds", s/60, s%60)
	}
	return fmt.Sprintf("%dh%dm", s/3600, s%3600/60)
}
