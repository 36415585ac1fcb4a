package supervisor

import (
	"context"
	"errors"
	"sync"
	"time"
)

// eager is how long a start counts for Options.Abreast: after that it mostly waits, and one that hangs must
// not hold up the starts of others.
const eager = 5 * time.Second

// prepare works out what to start for a worker and waits for its turn. begun is to be called when the start
// is over, whichever way. The worker's time to get ready begins when prepare returns.
func (s *server[C]) prepare(w *worker[C], o order) (_ order, begun func(), err error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	s.running.Go(func() { // ends with ctx, which ends with prepare
		select {
		case <-w.halt:
			cancel(errors.New("not wanted any more"))
		case <-ctx.Done():
		}
	})
	if o.spec, err = s.o.Resolve(ctx, o.spec); err != nil {
		return o, nil, err
	}
	if o.path, err = lookup(o.spec); err != nil {
		return o, nil, errors.New("cannot be started: " + err.Error())
	}
	if begun, err = s.turn(ctx, o.trial); err != nil {
		return o, nil, err
	}
	allowance := o.spec.Timeouts.Start
	err = s.ask(ctx, func() {
		if w.state == starting {
			w.deadline = time.Now().Add(allowance)
		}
	})
	if err != nil {
		begun()
		return o, nil, err
	}
	return o, begun, nil
}

// turn waits for a place among the starts that are under way: first for one among those of the server, which has at
// most half of all, so that many callers of one do not keep others waiting; one on trial waits for the others on trial,
// too, but not longer than for one that hangs: a server that works may have been killed often.
func (s *server[C]) turn(ctx context.Context, trial bool) (begun func(), err error) {
	gates := []chan struct{}{s.starts, s.o.starts}
	if trial {
		patience := time.NewTimer(eager)
		defer patience.Stop()
		select {
		case s.o.trials <- struct{}{}:
			gates = append(gates, s.o.trials)
		case <-patience.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	for i, g := range gates[:2] {
		select {
		case g <- struct{}{}:
		case <-ctx.Done():
			leave(append(gates[:i:i], gates[2:]...))
			return nil, context.Cause(ctx)
		}
	}
	over := sync.OnceFunc(func() { leave(gates) })
	timer := time.AfterFunc(eager, over)
	return func() {
		timer.Stop()
		over()
	}, nil
}

func leave(gates []chan struct{}) {
	for _, g := range gates {
		<-g
	}
}
