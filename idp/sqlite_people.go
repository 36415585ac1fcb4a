package idp

import (
	"context"
	"database/sql"
	"strings"
	"time"
)

type dbUsers struct{ *db }

// nameKey is what makes two names the same one.
func nameKey(name string) string { return strings.ToLower(name) }

func (d dbUsers) Create(ctx context.Context, a Account) error {
	return d.exec(ctx, nil, `INSERT INTO users (id, name, name_key, password, created) VALUES (?, ?, ?, ?, ?)`,
		a.ID, a.Name, nameKey(a.Name), a.Password, ms(a.Created))
}

func (d dbUsers) ByID(ctx context.Context, id string) (Account, error) {
	return d.one(ctx, `id = ?`, id)
}

func (d dbUsers) ByName(ctx context.Context, name string) (Account, error) {
	return d.one(ctx, `name_key = ?`, nameKey(name))
}

func (d dbUsers) one(ctx context.Context, where string, arg any) (Account, error) {
	var a Account
	var created int64
	err := d.read.QueryRowContext(ctx, `SELECT id, name, password, created FROM users WHERE `+where, arg).Scan(&a.ID, &a.Name, &a.Password, &created)
	if err != nil {
		return Account{}, plain(err)
	}
	a.Created = at(created)
	return a, nil
}

func (d dbUsers) List(ctx context.Context) ([]User, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT id, name, created FROM users ORDER BY name_key`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []User
	for rows.Next() {
		var u User
		var created int64
		if err := rows.Scan(&u.ID, &u.Name, &created); err != nil {
			return nil, err
		}
		u.Created = at(created)
		all = append(all, u)
	}
	return all, rows.Err()
}

func (d dbUsers) SetPassword(ctx context.Context, id, encoded string) error {
	return d.transaction(ctx, func(tx *sql.Tx) error {
		if err := execOn(ctx, tx, ErrNotFound, `UPDATE users SET password = ? WHERE id = ?`, encoded, id); err != nil {
			return err
		}
		if err := execOn(ctx, tx, nil, `DELETE FROM links WHERE user_id = ?`, id); err != nil {
			return err
		}
		return execOn(ctx, tx, nil, `DELETE FROM sessions WHERE user_id = ?`, id)
	})
}

func (d dbUsers) Delete(ctx context.Context, id string) error {
	return d.exec(ctx, ErrNotFound, `DELETE FROM users WHERE id = ?`, id)
}

type dbSessions struct{ *db }

func (d dbSessions) Put(ctx context.Context, s Session) error {
	return d.exec(ctx, nil, `INSERT INTO sessions (hash, user_id, auth_time, expires) VALUES (?, ?, ?, ?)`,
		s.Hash[:], s.User.ID, ms(s.AuthTime), ms(s.Expires))
}

func (d dbSessions) Get(ctx context.Context, hash Digest, now time.Time) (Session, error) {
	s := Session{Hash: hash}
	var authTime, expires, created int64
	err := d.read.QueryRowContext(ctx, `SELECT s.auth_time, s.expires, u.id, u.name, u.created FROM sessions s JOIN users u ON u.id = s.user_id
		WHERE s.hash = ? AND s.expires > ?`, hash[:], ms(now)).Scan(&authTime, &expires, &s.User.ID, &s.User.Name, &created)
	if err != nil {
		return Session{}, plain(err)
	}
	s.AuthTime, s.Expires, s.User.Created = at(authTime), at(expires), at(created)
	return s, nil
}

func (d dbSessions) Delete(ctx context.Context, hash Digest) error {
	return d.exec(ctx, nil, `DELETE FROM sessions WHERE hash = ?`, hash[:])
}

func (d dbSessions) PutLink(ctx context.Context, l Link) error {
	return d.exec(ctx, nil, `INSERT INTO links (hash, user_id, expires) VALUES (?, ?, ?)`, l.Hash[:], l.User.ID, ms(l.Expires))
}

func (d dbSessions) Link(ctx context.Context, hash Digest, now time.Time) (Link, error) {
	return linkOn(ctx, d.read, hash, now)
}

func (d dbSessions) TakeLink(ctx context.Context, hash Digest, now time.Time) (l Link, err error) {
	err = d.transaction(ctx, func(tx *sql.Tx) error {
		if l, err = linkOn(ctx, tx, hash, now); err != nil {
			return err
		}
		return execOn(ctx, tx, ErrNotFound, `DELETE FROM links WHERE hash = ?`, hash[:])
	})
	if err != nil {
		return Link{}, err
	}
	return l, nil
}

type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func linkOn(ctx context.Context, q queryer, hash Digest, now time.Time) (Link, error) {
	l := Link{Hash: hash}
	var expires, created int64
	err := q.QueryRowContext(ctx, `SELECT l.expires, u.id, u.name, u.created FROM links l JOIN users u ON u.id = l.user_id
		WHERE l.hash = ? AND l.expires > ?`, hash[:], ms(now)).Scan(&expires, &l.User.ID, &l.User.Name, &created)
	if err != nil {
		return Link{}, plain(err)
	}
	l.Expires, l.User.Created = at(expires), at(created)
	return l, nil
}
