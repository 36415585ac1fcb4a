package bridge

import (
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Protocol versions. They are dates, so the order of strings is their order.
const (
	modernVersion = "2026-07-28"
	latestLegacy  = "2025-11-25"
	noHeader      = "2025-03-26" // what a client without a version header speaks
	oldestLegacy  = "2024-11-05" // over HTTP+SSE only
)

// modernHeader reports whether a version header names the modern revision or a
// later one. What is no date is no revision.
func modernHeader(v string) bool { return v >= modernVersion && v < "3" }

// legacyVersion reports whether v is a revision the legacy front speaks.
func legacyVersion(v string) bool {
	return v == "2025-11-25" || v == "2025-06-18" || v == "2025-03-26"
}

// eras knows which protocol generation the server speaks. The question is put
// to a disposable child: some servers exit on a request before initialize, and
// a server that was asked may refuse the other generation afterwards.
type eras struct {
	mu      sync.Mutex
	modern  bool
	only    bool      // modern, and initialize was refused
	settled bool      // there has been a verdict, be it an old one
	until   time.Time // the verdict is good until then
	probing chan struct{}
	hearsay bool // the verdict is of an earlier life of mcpd

	fixed   string // Config.Era
	spawn   func(context.Context) (io.ReadWriteCloser, error)
	log     *zap.Logger
	meta    func([]byte) []byte
	wait    time.Duration // for the child's answer
	age     time.Duration // of a verdict; a stale "legacy" would never show itself
	silence time.Duration // age of a verdict that came from no answer
	limit   int
	bufs    *buffers
}

// choose says which generation to speak with a fresh worker of this profile.
func (e *eras) choose(ctx context.Context, p profile) (modern bool, err error) {
	switch e.fixed {
	case "modern":
		return true, nil
	case "legacy":
		return false, nil
	}
	for {
		e.mu.Lock()
		if time.Now().Before(e.until) {
			// A server of both generations serves a client of sessions best in
			// its own language: it may ask that client while it works.
			modern = e.modern && (!p.legacy || e.only)
			e.mu.Unlock()
			return modern, nil
		}
		busy := e.probing
		if busy == nil {
			e.probing = make(chan struct{})
		}
		e.mu.Unlock()
		if busy == nil {
			e.probe(ctx)
		} else {
			select {
			case <-busy:
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
	}
}

// modernOnly reports whether a worker can only be a modern one.
func (e *eras) modernOnly() bool {
	if e.fixed != "auto" {
		return e.fixed == "modern"
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.only
}

// legacy reports whether the last verdict, however old, was the legacy generation.
func (e *eras) legacy() bool {
	if e.fixed != "auto" {
		return e.fixed == "legacy"
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.settled && !e.modern
}

// settle asks for a verdict where there has never been one: which worker a
// client of the modern generation is given depends on it.
func (e *eras) settle(ctx context.Context) {
	if e.fixed != "auto" {
		return
	}
	e.mu.Lock()
	known := e.settled
	e.mu.Unlock()
	if !known {
		_, _ = e.choose(ctx, profile{})
	}
}

// probe settles the verdict, unless its caller gave up meanwhile.
func (e *eras) probe(ctx context.Context) {
	modern, answered := false, false
	if e.spawn != nil {
		modern, answered = e.ask(ctx)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.probing)
	e.probing = nil
	if !answered && ctx.Err() != nil {
		return
	}
	e.modern, e.only, e.hearsay, e.settled = modern, false, false, true
	age := e.silence
	if answered {
		age = e.age
	}
	e.until = time.Now().Add(age)
	e.log.Debug("settled the protocol generation", zap.Bool("modern", modern), zap.Bool("answered", answered))
}

// refused notes that the server turned out not to speak what it was opened in.
func (e *eras) refused(modern bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if modern {
		e.until = time.Time{}
	} else {
		e.only = true
	}
}

// doubted notes that a worker failed when it was spoken to in the modern
// generation, without saying why. A verdict of this life stands: the worker has
// another trouble. One that was only remembered is asked for anew.
func (e *eras) doubted() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.hearsay {
		e.until = time.Time{}
	}
}

// verdict is what is to be remembered.
func (e *eras) verdict() (modern, only bool, until time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.modern, e.only, e.until
}

// restore takes up a remembered verdict, for no longer than it was good for.
func (e *eras) restore(modern, only bool, until time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fixed != "auto" || time.Until(until) > e.age {
		return // not asked for, or the clock was turned back
	}
	e.modern, e.only, e.until, e.hearsay, e.settled = modern, only, until, true, !until.IsZero()
}

// ask starts a child and sends server/discover (MCP 2026-07-28, versioning):
// a result, or the error that lists modern versions, is modern; any other
// error is legacy. So are silence and the child's end, but those may have
// another cause and are not believed for long.
func (e *eras) ask(ctx context.Context) (modern, answered bool) {
	ctx, cancel := context.WithTimeout(ctx, e.wait)
	defer cancel()
	rwc, err := e.spawn(ctx)
	if err != nil {
		e.log.Warn("cannot start a child to ask for its protocol generation", zap.Error(err))
		return false, false
	}
	stop := context.AfterFunc(ctx, func() { rwc.Close() })
	defer rwc.Close()
	defer stop()
	line := append([]byte(nil), `{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":`...)
	line = append(e.meta(line), "}}\n"...)
	if _, err := rwc.Write(line); err != nil {
		return false, false
	}
	in := lines{r: rwc, pool: e.bufs, limit: e.limit}
	var env envelope
	for {
		got, cut, err := in.next()
		if err != nil {
			return false, false
		}
		if cut || env.scan(got.b) != nil {
			continue
		}
		switch env.kind {
		case kindResult:
			return listed(got.b, env.rVersions), true
		case kindError:
			return string(env.fCode.of(got.b)) == "-32022" && listed(got.b, memberOf(got.b, env.fAux, "supported")), true
		}
	}
}

// listed reports whether the array of versions at p has the modern one.
func listed(b []byte, p span) bool {
	return slices.Contains(stringsOf(b, p), modernVersion)
}
