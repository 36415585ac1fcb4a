package idp

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

//go:embed schema
var schemas embed.FS

// db is the Store on SQLite, and on PostgreSQL. In SQLite one connection writes, and the others read beside it (WAL).
type db struct {
	pool     *sql.DB
	read     reader
	writer   *writer // of SQLite
	dsn      string
	rowid    string // what a table calls its rows
	postgres bool
}

// reader is what is asked without changing anything.
type reader interface {
	queryer
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// A change is on the disk when it is answered (synchronous), so that neither a token that a client has nor the end of one is lost
// with the power.
const (
	readers = 8
	pragmas = "_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)"
)

// OpenStore opens, and if need be creates, the SQLite store in one file. The file and
// its companions are readable by their owner only.
func OpenStore(file string) (Store, error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open store: %w", err)
	}
	// SQLite gives its -wal and -shm files the mode of the main file.
	if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
		return nil, fmt.Errorf("cannot protect store: %w", err)
	}
	dsn := "file:" + (&url.URL{Path: file}).EscapedPath() + "?" + pragmas
	d := &db{dsn: dsn, rowid: "rowid"}
	if err := d.open(); err != nil {
		return nil, fmt.Errorf("cannot open store %q: %w", file, err)
	}
	return d, nil
}

func (d *db) open() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pool, err := sql.Open("sqlite", d.dsn+"&_txlock=immediate&_pragma=cache_size(-16384)")
	if err != nil {
		return err
	}
	conn, err := pool.Conn(ctx)
	if err == nil {
		err = migrate(ctx, conn)
	}
	if err != nil {
		return errors.Join(err, pool.Close())
	}
	d.writer = newWriter(pool, conn)
	if d.pool, err = sql.Open("sqlite", d.dsn+"&_pragma=query_only(1)"); err != nil {
		return errors.Join(err, d.writer.close())
	}
	d.pool.SetMaxOpenConns(readers)
	d.pool.SetMaxIdleConns(readers)
	d.read = prepared{d.pool, &statements{on: d.pool}}
	return nil
}

// Close releases the file, or the connections.
func (d *db) Close() error {
	var err error
	if p, ok := d.read.(prepared); ok {
		err = p.statements.close()
	}
	if d.writer != nil {
		err = errors.Join(err, d.writer.close())
	}
	return errors.Join(err, d.pool.Close())
}

// Snapshot implements Store. It reads beside the writers, on a connection of its own: those for reading are held to that.
func (d *db) Snapshot(ctx context.Context, file string) error {
	if d.postgres {
		return ErrElsewhere
	}
	from, err := sql.Open("sqlite", d.dsn)
	if err != nil {
		return fmt.Errorf("cannot copy store: %w", err)
	}
	if err = os.WriteFile(file, nil, 0o600); err == nil { // an empty file is filled, and keeps its mode
		_, err = from.ExecContext(ctx, "VACUUM INTO ?", file)
	}
	if err := errors.Join(err, from.Close()); err != nil {
		return fmt.Errorf("cannot copy store: %w", err)
	}
	return nil
}

// Shared implements Store.
func (d *db) Shared() bool { return d.postgres }

func (d *db) Users() UserStore       { return dbUsers{d} }
func (d *db) Sessions() SessionStore { return dbSessions{d} }
func (d *db) Clients() ClientStore   { return dbClients{d} }
func (d *db) Consents() ConsentStore { return dbConsents{d} }
func (d *db) Tokens() TokenStore     { return dbTokens{d} }
func (d *db) Devices() DeviceStore   { return dbDevices{d} }
func (d *db) Factors() FactorStore   { return dbFactors{d} }
func (d *db) Keys() KeyStore         { return dbKeys{d} }

// Sweep implements Store.
func (d *db) Sweep(ctx context.Context, s Sweep) (int, error) {
	total := 0
	for _, q := range []struct {
		table, where string
		before       time.Time
	}{
		{"sessions", "expires < ?", s.Now},
		{"links", "expires < ?", s.Now},
		{"codes", "expires < ?", s.Now},
		{"devices", "expires < ?", s.Now},
		{"access_tokens", "expires < ?", s.Now},
		{"refresh_tokens", "expires < ?", s.Now},
		{"families", "expires < ?", s.Now},
		{"spent", "expires < ?", s.Now},
		{"clients", "used = 0 AND created < ?", s.UnusedBefore},
	} {
		n, err := d.touched(ctx, `DELETE FROM `+q.table+` WHERE `+d.rowid+` IN (SELECT `+d.rowid+` FROM `+q.table+` WHERE `+q.where+` LIMIT ?)`, ms(q.before), s.Limit)
		if err != nil {
			return total, fmt.Errorf("cannot sweep %s: %w", q.table, err)
		}
		total += n
	}
	if _, err := d.touched(ctx, `UPDATE refresh_tokens SET salt = NULL WHERE salt IS NOT NULL AND used < ?`, ms(s.SaltBefore)); err != nil {
		return total, fmt.Errorf("cannot sweep salts: %w", err)
	}
	return total, nil
}

// migrate applies schema/NNN.sql for every number above the file's user_version, all or none.
func migrate(ctx context.Context, conn *sql.Conn) error {
	var have int
	if err := conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return err
	}
	steps, err := migrations(have)
	if err != nil || len(steps) == 0 {
		return err
	}
	return within(ctx, conn, func(tx *sql.Tx) error {
		for n, text := range steps {
			if _, err := tx.ExecContext(ctx, text+fmt.Sprintf("\nPRAGMA user_version = %d;", have+n+1)); err != nil {
				return fmt.Errorf("cannot apply version %d: %w", have+n+1, err)
			}
		}
		return nil
	})
}

// migrations are the files of schema/ that a store of version have lacks, in their order.
func migrations(have int) (texts []string, err error) {
	files, err := schemas.ReadDir("schema")
	if err != nil {
		return nil, err
	}
	if have > len(files) {
		return nil, fmt.Errorf("it was written by a newer mcpd (version %d, this one knows %d)", have, len(files))
	}
	for _, f := range files[have:] {
		text, err := schemas.ReadFile(path.Join("schema", f.Name()))
		if err != nil {
			return nil, err
		}
		texts = append(texts, string(text))
	}
	return texts, nil
}

// change runs f in one transaction that may write: all of it or nothing. It may run more than once.
func (d *db) change(ctx context.Context, f func(tx transaction) error) error {
	if d.writer != nil {
		return d.writer.do(ctx, f)
	}
	for n := 1; ; n++ {
		if err := within(ctx, d.pool, func(tx *sql.Tx) error { return f(tx) }); err == nil || n == maxTries || !again(err) {
			return err
		}
	}
}

type beginner interface {
	BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error)
}

func within(ctx context.Context, b beginner, f func(tx *sql.Tx) error) error {
	tx, err := b.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// single runs an f that is one statement, and so is a transaction by itself.
func (d *db) single(ctx context.Context, f func(tx transaction) error) error {
	if d.writer == nil {
		return f(d.pool)
	}
	return d.change(ctx, f)
}

// exec runs one statement and wants it to touch a row; if none is touched it answers none.
func (d *db) exec(ctx context.Context, none error, query string, args ...any) error {
	return d.single(ctx, func(tx transaction) error { return execOn(ctx, tx, none, query, args...) })
}

// touched runs one statement and says how many rows it touched.
func (d *db) touched(ctx context.Context, query string, args ...any) (n int, err error) {
	err = d.single(ctx, func(tx transaction) error {
		n, err = affected(tx.ExecContext(ctx, query, args...))
		return err
	})
	return n, err
}

func execOn(ctx context.Context, tx transaction, none error, query string, args ...any) error {
	n, err := affected(tx.ExecContext(ctx, query, args...))
	if err != nil {
		return plain(err)
	}
	if n == 0 {
		return none
	}
	return nil
}

func affected(res sql.Result, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// plain turns the driver's errors into the store's.
func plain(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	var e *sqlite.Error
	if errors.As(err, &e) {
		switch e.Code() {
		case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
			return ErrExists
		case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
			return ErrNotFound
		}
	}
	return plainPostgres(err)
}

// ms and at carry a time through the database; the zero time is 0.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func words(s string) []string     { return strings.Fields(s) }
func sentence(ws []string) string { return strings.Join(ws, " ") }
func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}
