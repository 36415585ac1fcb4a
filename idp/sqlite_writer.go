package idp

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// writer makes all changes to a SQLite file, on the one connection that may: whoever wants one waits here and never meets
// SQLITE_BUSY. What comes while others are at it waits, and then shares one transaction: to make one durable costs more than
// most of what is in it. A change is answered when it is on the disk, and fails alone.
type writer struct {
	pool       *sql.DB // of this one connection
	conn       *sql.Conn
	statements statements
	changes    chan *change
	stop       chan struct{}
	ended      sync.WaitGroup
}

// change is what one caller wants done in a transaction: all of it or nothing. It may run more than once.
type change struct {
	run  func(transaction) error
	done chan error
}

// transaction is one that is under way.
type transaction interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// together is how many changes share a transaction at most: it bounds how long one of them waits for the others.
const together = 256

var errClosed = errors.New("the store is closed")

func newWriter(pool *sql.DB, conn *sql.Conn) *writer {
	w := &writer{pool: pool, conn: conn, statements: statements{on: conn}, changes: make(chan *change), stop: make(chan struct{})}
	w.ended.Go(w.serve) // ends with close
	return w
}

// do makes a change. Once it has begun it is not given up, whether the caller still wants it or not.
func (w *writer) do(ctx context.Context, run func(transaction) error) error {
	c := &change{run: run, done: make(chan error, 1)}
	select {
	case w.changes <- c:
		return <-c.done
	case <-ctx.Done():
		return ctx.Err()
	case <-w.stop:
		return errClosed
	}
}

func (w *writer) close() error {
	close(w.stop)
	w.ended.Wait()
	return errors.Join(w.statements.close(), w.conn.Close(), w.pool.Close())
}

func (w *writer) serve() {
	for {
		select {
		case c := <-w.changes:
			w.commit(w.gather(c))
		case <-w.stop:
			return
		}
	}
}

// gather takes who else is waiting.
func (w *writer) gather(first *change) []*change {
	all := []*change{first}
	for len(all) < together {
		select {
		case c := <-w.changes:
			all = append(all, c)
		default:
			return all
		}
	}
	return all
}

// commit makes changes in as few transactions as it can. One that fails takes back with it what was done before: that is done
// again without it, and then it is tried as the first of the rest, for it may have failed for what others had done.
func (w *writer) commit(all []*change) {
	for len(all) > 0 {
		n, err := w.attempt(all)
		switch {
		case err == nil:
		case n == 0:
			n = 1
		case n < len(all):
			_, err = w.attempt(all[:n])
		}
		for _, c := range all[:n] {
			c.done <- err
		}
		all = all[n:]
	}
}

// attempt makes changes in one transaction, or none of them. Then it says how many went well before one did not.
func (w *writer) attempt(all []*change) (n int, err error) {
	if err := w.exec("BEGIN IMMEDIATE"); err != nil {
		return len(all), err
	}
	for n, c := range all {
		if err := c.run(w); err != nil {
			return n, errors.Join(err, w.exec("ROLLBACK"))
		}
	}
	if err := w.exec("COMMIT"); err != nil {
		return len(all), errors.Join(err, w.exec("ROLLBACK"))
	}
	return len(all), nil
}

func (w *writer) exec(query string) error {
	_, err := w.ExecContext(context.Background(), query)
	return err
}

// ExecContext implements transaction. A caller who goes away would make SQLite take back what is others' too, so that
// the context does not count.
func (w *writer) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	ctx = context.WithoutCancel(ctx)
	s, err := w.statements.get(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}

// QueryRowContext implements transaction.
func (w *writer) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	ctx = context.WithoutCancel(ctx)
	s, err := w.statements.get(ctx, query)
	if err != nil {
		return w.conn.QueryRowContext(ctx, query, args...) // which says it too
	}
	return s.QueryRowContext(ctx, args...)
}

// statements are prepared once: to read one takes SQLite as long as to run it. Their texts are this package's own, and few.
type statements struct {
	on interface {
		PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	}
	mu  sync.RWMutex
	all map[string]*sql.Stmt
}

func (s *statements) get(ctx context.Context, query string) (*sql.Stmt, error) {
	s.mu.RLock()
	have := s.all[query]
	s.mu.RUnlock()
	if have != nil {
		return have, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if have = s.all[query]; have != nil {
		return have, nil
	}
	made, err := s.on.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if s.all == nil {
		s.all = make(map[string]*sql.Stmt)
	}
	s.all[query] = made
	return made, nil
}

func (s *statements) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for _, made := range s.all {
		err = errors.Join(err, made.Close())
	}
	s.all = nil
	return err
}

// prepared reads with statements that are prepared once.
type prepared struct {
	*sql.DB
	statements *statements
}

// QueryContext implements reader.
func (p prepared) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := p.statements.get(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

// QueryRowContext implements reader.
func (p prepared) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	s, err := p.statements.get(ctx, query)
	if err != nil {
		return p.DB.QueryRowContext(ctx, query, args...) // which says it too
	}
	return s.QueryRowContext(ctx, args...)
}
