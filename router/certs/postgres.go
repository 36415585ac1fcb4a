package certs

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// shared keeps keys, certificates and accounts in a PostgreSQL database, for several
// daemons that serve the same names: one of them asks the authority, the others find
// what it got, and each answers for the others' challenges. It is a certmagic.Storage.
// As in a folder, private keys are kept as they are: who reads the database has them.
type shared struct {
	pool *sql.DB

	mu    sync.Mutex      // guards what is below
	locks *sql.Conn       // nil while none is held; PostgreSQL releases them when it ends, however that comes
	held  map[string]bool // by name
}

const (
	sharedConns   = 3                // one has the locks
	sharedTimeout = 10 * time.Second // for one question to the database
	lockLook      = 500 * time.Millisecond
)

// A daemon whose machine is gone without a word is found out by its silence; the system's default is two hours.
const keepalives = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"

func openShared(ctx context.Context, dsn string) (*shared, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("cannot read the database's address: %w", err) // the driver leaves the password out
	}
	s := &shared{pool: sql.OpenDB(stdlib.GetConnector(*config)), held: map[string]bool{}}
	s.pool.SetMaxOpenConns(sharedConns)
	s.pool.SetConnMaxIdleTime(time.Minute)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot prepare the database for certificates: %w", err), s.pool.Close())
	}
	return s, nil
}

// prepare makes the table. Daemons that start together take turns.
func (s *shared) prepare(ctx context.Context) error {
	tx, err := s.pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing is left after Commit
	for _, text := range []string{
		fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", lockNumber("table")),
		`CREATE TABLE IF NOT EXISTS tls_files (key TEXT COLLATE "C" PRIMARY KEY, value BYTEA NOT NULL, modified TIMESTAMPTZ NOT NULL)`,
	} {
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (s *shared) close() { _ = s.pool.Close() } // what was stored is stored

// Store implements certmagic.Storage.
func (s *shared) Store(ctx context.Context, key string, value []byte) error {
	ctx, cancel := context.WithTimeout(ctx, sharedTimeout)
	defer cancel()
	_, err := s.pool.ExecContext(ctx, "INSERT INTO tls_files VALUES ($1, $2, now()) ON CONFLICT (key) DO UPDATE SET value = $2, modified = now()", key, value)
	return failed("store", key, err)
}

// Load implements certmagic.Storage.
func (s *shared) Load(ctx context.Context, key string) (value []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, sharedTimeout)
	defer cancel()
	err = s.pool.QueryRowContext(ctx, "SELECT value FROM tls_files WHERE key = $1", key).Scan(&value)
	return value, failed("load", key, err)
}

// Delete implements certmagic.Storage: a folder goes with what is in it.
func (s *shared) Delete(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, sharedTimeout)
	defer cancel()
	_, err := s.pool.ExecContext(ctx, "DELETE FROM tls_files WHERE key = $1 OR starts_with(key, $2)", key, folder(key))
	return failed("delete", key, err)
}

// Exists implements certmagic.Storage.
func (s *shared) Exists(ctx context.Context, key string) bool {
	_, err := s.Stat(ctx, key)
	return err == nil
}

// Stat implements certmagic.Storage.
func (s *shared) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, sharedTimeout)
	defer cancel()
	info := certmagic.KeyInfo{Key: key}
	var first string
	err := s.pool.QueryRowContext(ctx, "SELECT key, modified, length(value) FROM tls_files WHERE key = $1 OR starts_with(key, $2) ORDER BY key LIMIT 1", key, folder(key)).
		Scan(&first, &info.Modified, &info.Size)
	if info.IsTerminal = first == key; !info.IsTerminal {
		info.Size = 0 // of a folder
	}
	return info, failed("find", key, err)
}

// List implements certmagic.Storage.
func (s *shared) List(ctx context.Context, path string, recursive bool) (all []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, sharedTimeout)
	defer cancel()
	rows, err := s.pool.QueryContext(ctx, "SELECT key FROM tls_files WHERE starts_with(key, $1) ORDER BY key", folder(path))
	if err != nil {
		return nil, failed("list", path, err)
	}
	defer rows.Close()
	seen := map[string]bool{}
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return nil, failed("list", path, err)
		}
		for i := len(folder(path)); i < len(key); { // each folder on the way, once
			end := strings.IndexByte(key[i:], '/')
			if end < 0 {
				end = len(key) - i
			}
			if name := key[:i+end]; !seen[name] {
				seen[name], all = true, append(all, name)
			}
			if i += end + 1; !recursive {
				break
			}
		}
	}
	if err = rows.Err(); err == nil && len(all) == 0 {
		err = fs.ErrNotExist
	}
	return all, failed("list", path, err)
}

// folder is how the keys in one begin; every key is in the folder "".
func folder(path string) string {
	if path = strings.Trim(path, "/"); path == "" {
		return ""
	}
	return path + "/"
}

// Lock implements certmagic.Storage.
func (s *shared) Lock(ctx context.Context, name string) error {
	for {
		if got, err := s.TryLock(ctx, name); got || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockLook):
		}
	}
}

// TryLock implements certmagic.TryLocker.
func (s *shared) TryLock(ctx context.Context, name string) (got bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[name] {
		return false, nil // PostgreSQL would let the same connection have it again
	}
	// Who gives up in the middle of a question loses the connection, and all the locks with it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sharedTimeout)
	defer cancel()
	if s.locks == nil {
		if s.locks, err = s.pool.Conn(ctx); err != nil {
			return false, failed("lock", name, err)
		}
		if _, err = s.locks.ExecContext(ctx, keepalives); err != nil {
			s.drop()
			return false, failed("lock", name, err)
		}
	}
	if err = s.locks.QueryRowContext(ctx, "SELECT pg_try_advisory_lock($1)", lockNumber(name)).Scan(&got); err != nil {
		s.drop()
		return false, failed("lock", name, err)
	}
	if got {
		s.held[name] = true
	} else if len(s.held) == 0 {
		s.rest()
	}
	return got, nil
}

// Unlock implements certmagic.Storage. Locks that went with their connection are free already.
func (s *shared) Unlock(ctx context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.held[name] {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sharedTimeout)
	defer cancel()
	if _, err := s.locks.ExecContext(ctx, "SELECT pg_advisory_unlock($1)", lockNumber(name)); err != nil {
		s.drop() // which unlocks it
		return nil
	}
	if delete(s.held, name); len(s.held) == 0 {
		s.rest()
	}
	return nil
}

// rest gives the connection back that no lock needs. s.mu is held.
func (s *shared) rest() {
	_ = s.locks.Close()
	s.locks = nil
}

// drop ends the connection that the locks belong to, and so the locks. s.mu is held.
func (s *shared) drop() {
	_ = s.locks.Raw(func(any) error { return driver.ErrBadConn }) // the pool closes it
	s.rest()
	clear(s.held)
}

// lockNumber is what PostgreSQL knows a lock by.
func lockNumber(name string) int64 {
	sum := sha256.Sum256([]byte("mcpd tls lock " + name))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

func failed(verb, key string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows), errors.Is(err, fs.ErrNotExist):
		return fs.ErrNotExist
	}
	return fmt.Errorf("cannot %s %q in the database: %w", verb, key, err)
}
