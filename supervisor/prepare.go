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
	if begun, err = s.o.turn(ctx); err != nil {
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

// turn waits for a place among the starts that are under way.
func (o Options) turn(ctx context.Context) (begun func(), err error) {
	select {
	case o.starts <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	over := sync.OnceFunc(func() { <-o.starts })
	timer := time.AfterFunc(eager, over)
	return func() {
		timer.Stop()
		over()
	}, nil
}
