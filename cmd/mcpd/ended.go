package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// ended are the sessions of one server whose clients said that they are over, until their ids expire by
// themselves: a file of fixed records, appended to, and written anew at the start without what has
// expired. It implements bridge.Ended.
//
// A record is written before the client has its answer, so no kill undoes it. It is not synced: after a
// power cut an id may be good again, and then only for the person it belongs to.
type ended struct {
	path string

	mu    sync.Mutex
	known map[[16]byte]time.Time
	n     int // records in the file
}

const (
	endedRecord = 16 + 8  // the id, and when it expires as Unix seconds
	maxEnded    = 1 << 16 // records of one server; more, and those that expire first are dropped
)

// openEnded reads the file of a server, if there is one. A torn last record is left out.
func openEnded(state, server string, now time.Time) (*ended, error) {
	e := &ended{path: filepath.Join(state, "ended", server), known: map[[16]byte]time.Time{}}
	data, err := os.ReadFile(e.path)
	if errors.Is(err, fs.ErrNotExist) {
		return e, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read which sessions have ended: %w", err)
	}
	for ; len(data) >= endedRecord; data = data[endedRecord:] {
		if until := time.Unix(int64(binary.BigEndian.Uint64(data[16:])), 0); until.After(now) {
			e.known[[16]byte(data)] = until
		}
	}
	return e, e.rewrite(now)
}

// All implements bridge.Ended.
func (e *ended) All() iter.Seq2[[16]byte, time.Time] {
	return func(yield func([16]byte, time.Time) bool) {
		e.mu.Lock()
		defer e.mu.Unlock()
		for id, until := range e.known {
			if !yield(id, until) {
				return
			}
		}
	}
}

// Add implements bridge.Ended.
func (e *ended) Add(id [16]byte, until time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.known[id]; ok {
		return nil
	}
	e.known[id] = until
	if e.n >= maxEnded {
		return e.rewrite(time.Now())
	}
	if err := privateDir(filepath.Dir(e.path)); err != nil {
		return err
	}
	f, err := os.OpenFile(e.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("cannot note that a session has ended: %w", err)
	}
	_, err = f.Write(appendEnded(nil, id, until))
	e.n++
	return errors.Join(err, f.Close())
}

// rewrite writes the file anew with what has not expired, or removes it. Above the bound it halves what is
// there, the next to expire first, so that it is not called for every record.
func (e *ended) rewrite(now time.Time) error {
	var last time.Time
	for id, until := range e.known {
		if !until.After(now) {
			delete(e.known, id)
		} else if until.After(last) {
			last = until
		}
	}
	for half := last.Sub(now) / 2; len(e.known) >= maxEnded; half /= 2 {
		for id, until := range e.known {
			if len(e.known) > maxEnded/2 && (half < time.Second || until.Before(last.Add(-half))) {
				delete(e.known, id)
			}
		}
	}
	e.n = len(e.known)
	if e.n == 0 {
		if err := os.Remove(e.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot remove the list of ended sessions: %w", err)
		}
		return nil
	}
	out := make([]byte, 0, e.n*endedRecord)
	for id, until := range e.known {
		out = appendEnded(out, id, until)
	}
	return writeDurably(e.path, out)
}

func appendEnded(dst []byte, id [16]byte, until time.Time) []byte {
	return binary.BigEndian.AppendUint64(append(dst, id[:]...), uint64(until.Unix()))
}
