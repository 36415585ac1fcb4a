package idp

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// The store on PostgreSQL is the one on SQLite: the same statements, on another driver. What differs is here. A row that is
// taken by one writer makes the others wait and then find it taken, so that nothing is had twice there either; only what is
// limited in number may be a few more when many come at once.

// postgresConns bounds the connections of one daemon.
const postgresConns = 16

// OpenPostgres opens the store in a PostgreSQL database (14 or later), which several daemons may share, and makes or renews
// its tables. The dsn is a URL or key=value words, as of psql.
func OpenPostgres(dsn string) (Store, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("cannot read the database's address: %w", err) // the driver leaves the password out
	}
	pool := sql.OpenDB(numbering{stdlib.GetConnector(*config)})
	pool.SetMaxOpenConns(postgresConns)
	pool.SetMaxIdleConns(postgresConns)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	d := &db{pool: pool, read: pool, rowid: "ctid", postgres: true}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := d.migratePostgres(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot prepare the database: %w", err), pool.Close())
	}
	return d, nil
}

// dialect turns a file of schema/ into PostgreSQL. Texts are compared by their bytes, as in SQLite.
var dialect = strings.NewReplacer(" STRICT;", ";", " INTEGER", " BIGINT", " BLOB", " BYTEA", " TEXT", ` TEXT COLLATE "C"`)

// migrationLock is any number: daemons that start together take turns.
const migrationLock = 0x6d637064

func (d *db) migratePostgres(ctx context.Context) error {
	return within(ctx, d.pool, func(tx *sql.Tx) error {
		var have int
		_, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock("+strconv.Itoa(migrationLock)+"); CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
		if err == nil {
			err = tx.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM schema_version").Scan(&have)
		}
		if err != nil {
			return err
		}
		steps, err := migrations(have)
		if err != nil {
			return err
		}
		for n, text := range steps {
			if _, err := tx.ExecContext(ctx, dialect.Replace(text)+fmt.Sprintf("\nINSERT INTO schema_version VALUES (%d);", have+n+1)); err != nil {
				return fmt.Errorf("cannot apply version %d: %w", have+n+1, err)
			}
		}
		return nil
	})
}

// maxTries bounds how often a transaction is begun that another one stood in the way of.
const maxTries = 5

// again reports whether the server ended a transaction for another's sake: a deadlock, or a serialization failure.
func again(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "40P01" || e.Code == "40001")
}

// plainPostgres is plain for the errors of PostgreSQL.
func plainPostgres(err error) error {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		switch e.Code {
		case "23505": // unique_violation
			return ErrExists
		case "23503", // foreign_key_violation
			"22021": // character_not_in_repertoire: a text that no row can have
			return ErrNotFound
		}
	}
	return err
}

// numbering is a driver whose statements have ? for their arguments, where PostgreSQL has $1, $2 and so on.
type numbering struct{ driver.Connector }

// Connect implements driver.Connector.
func (c numbering) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	under, ok := conn.(*stdlib.Conn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("cannot use a connection of type %T", conn), conn.Close())
	}
	return numbered{under}, nil
}

type numbered struct{ *stdlib.Conn }

// PrepareContext implements driver.ConnPrepareContext.
func (c numbered) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	return c.Conn.PrepareContext(ctx, number(query))
}

// ExecContext implements driver.ExecerContext.
func (c numbered) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.Conn.ExecContext(ctx, number(query), args)
}

// QueryContext implements driver.QueryerContext.
func (c numbered) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.Conn.QueryContext(ctx, number(query), args)
}

// number numbers the arguments. No statement has a question mark that is none.
func number(query string) string {
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, more := strings.Cut(query, "?")
		b.WriteString(before)
		if !more {
			return b.String()
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n))
		query = after
	}
}
