package idp

import (
	"context"
	"strings"
	"time"
)

type dbUsers struct{ *db }

// nameKey is what makes two names the same one.
func nameKey(name string) string { return strings.ToLower(name) }

func (d dbUsers) Create(ctx context.Context, a Account) error {
	return d.change(ctx, func(tx transaction) error {
		err := execOn(ctx, tx, nil, `INSERT INTO users (id, name, name_key, password, provider, subject, groups, seen, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			a.ID, a.Name, nameKey(a.Name), a.Password, a.Provider, a.Subject, strings.Join(a.Groups, "\n"), ms(a.Seen), ms(a.Created))
		if err != nil || a.Provider == "" {
			return err
		}
		return putIdentity(ctx, tx, Identity{Provider: a.Provider, Subject: a.Subject, UserID: a.ID, Name: a.Name, Created: a.Created})
	})
}

func putIdentity(ctx context.Context, e transaction, id Identity) error {
	return execOn(ctx, e, nil, `INSERT INTO identities (provider, subject, user_id, name, created) VALUES (?, ?, ?, ?, ?)`,
		id.Provider, id.Subject, id.UserID, id.Name, ms(id.Created))
}

func (d dbUsers) Update(ctx context.Context, u User) error {
	return d.exec(ctx, ErrNotFound, `UPDATE users SET name = ?, name_key = ?, groups = ?, seen = ? WHERE id = ?`,
		u.Name, nameKey(u.Name), strings.Join(u.Groups, "\n"), ms(u.Seen), u.ID)
}

func (d dbUsers) ByID(ctx context.Context, id string) (Account, error) {
	return d.one(ctx, `u.id = ?`, id)
}

func (d dbUsers) ByName(ctx context.Context, name string) (Account, error) {
	return d.one(ctx, `u.name_key = ?`, nameKey(name))
}

func (d dbUsers) BySubject(ctx context.Context, provider, subject string) (Account, error) {
	return d.one(ctx, `u.id = (SELECT user_id FROM identities WHERE provider = ? AND subject = ?)`, provider, subject)
}

func (d dbUsers) one(ctx context.Context, where string, args ...any) (Account, error) {
	var a Account
	scan := userScan{u: &a.User}
	err := d.read.QueryRowContext(ctx, `SELECT u.password, `+userColumns+` FROM users u WHERE `+where, args...).Scan(append([]any{&a.Password}, scan.targets()...)...)
	if err != nil {
		return Account{}, plain(err)
	}
	scan.done()
	return a, nil
}

const userColumns = `u.id, u.name, u.provider, u.subject, u.groups, u.seen, u.created`

// userScan reads userColumns into a User.
type userScan struct {
	u             *User
	groups        string
	seen, created int64
}

func (s *userScan) targets() []any {
	return []any{&s.u.ID, &s.u.Name, &s.u.Provider, &s.u.Subject, &s.groups, &s.seen, &s.created}
}

func (s *userScan) done() {
	s.u.Groups, s.u.Seen, s.u.Created = nil, at(s.seen), at(s.created)
	if s.groups != "" {
		s.u.Groups = strings.Split(s.groups, "\n")
	}
}

func (d dbUsers) List(ctx context.Context) ([]User, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT `+userColumns+` FROM users u ORDER BY u.name_key`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []User
	for rows.Next() {
		var u User
		scan := userScan{u: &u}
		if err := rows.Scan(scan.targets()...); err != nil {
			return nil, err
		}
		scan.done()
		all = append(all, u)
	}
	return all, rows.Err()
}

func (d dbUsers) SetPassword(ctx context.Context, id, encoded string) error {
	return d.change(ctx, func(tx transaction) error {
		if err := execOn(ctx, tx, ErrNotFound, `UPDATE users SET password = ? WHERE id = ?`, encoded, id); err != nil {
			return err
		}
		if err := execOn(ctx, tx, nil, `DELETE FROM links WHERE user_id = ?`, id); err != nil {
			return err
		}
		return execOn(ctx, tx, nil, `DELETE FROM sessions WHERE user_id = ?`, id)
	})
}

func (d dbUsers) SignOut(ctx context.Context, id string) error {
	return d.change(ctx, func(tx transaction) error {
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT 1 FROM users WHERE id = ?`, id).Scan(&n); err != nil {
			return plain(err)
		}
		for _, table := range []string{"sessions", "links", "codes", "devices", "families"} {
			if err := execOn(ctx, tx, nil, `DELETE FROM `+table+` WHERE user_id = ?`, id); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d dbUsers) Delete(ctx context.Context, id string) error {
	return d.exec(ctx, ErrNotFound, `DELETE FROM users WHERE id = ?`, id)
}

func (d dbUsers) Link(ctx context.Context, id Identity, limit int) error {
	return d.change(ctx, func(tx transaction) error {
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM identities WHERE user_id = ?`, id.UserID).Scan(&n); err != nil {
			return err
		}
		if n >= limit {
			return ErrFull
		}
		return putIdentity(ctx, tx, id)
	})
}

func (d dbUsers) Identities(ctx context.Context, userID string) ([]Identity, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT provider, subject, name, created FROM identities WHERE user_id = ? ORDER BY created, provider, subject`, userID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Identity
	for rows.Next() {
		id := Identity{UserID: userID}
		var created int64
		if err := rows.Scan(&id.Provider, &id.Subject, &id.Name, &created); err != nil {
			return nil, err
		}
		id.Created = at(created)
		all = append(all, id)
	}
	return all, rows.Err()
}

func (d dbUsers) SetVoucher(ctx context.Context, id, sealed string) error {
	return d.exec(ctx, ErrNotFound, `UPDATE users SET voucher = ? WHERE id = ?`, sealed, id)
}

func (d dbUsers) Voucher(ctx context.Context, id string) (sealed string, err error) {
	err = d.read.QueryRowContext(ctx, `SELECT voucher FROM users WHERE id = ?`, id).Scan(&sealed)
	return sealed, plain(err)
}

func (d dbUsers) Unlink(ctx context.Context, id Identity) error {
	return d.exec(ctx, ErrNotFound, `DELETE FROM identities WHERE user_id = ? AND provider = ? AND subject = ?`, id.UserID, id.Provider, id.Subject)
}

type dbSessions struct{ *db }

func (d dbSessions) Put(ctx context.Context, s Session) error {
	return d.exec(ctx, nil, `INSERT INTO sessions (hash, user_id, auth_time, expires, method, agent) VALUES (?, ?, ?, ?, ?, ?)`,
		s.Hash[:], s.User.ID, ms(s.AuthTime), ms(s.Expires), s.Method, s.Agent)
}

func (d dbSessions) Get(ctx context.Context, hash Digest, now time.Time) (Session, error) {
	s := Session{Hash: hash}
	var authTime, expires int64
	scan := userScan{u: &s.User}
	err := d.read.QueryRowContext(ctx, `SELECT s.auth_time, s.expires, s.method, s.agent, `+userColumns+` FROM sessions s JOIN users u ON u.id = s.user_id
		WHERE s.hash = ? AND s.expires > ?`, hash[:], ms(now)).Scan(append([]any{&authTime, &expires, &s.Method, &s.Agent}, scan.targets()...)...)
	if err != nil {
		return Session{}, plain(err)
	}
	scan.done()
	s.AuthTime, s.Expires = at(authTime), at(expires)
	return s, nil
}

func (d dbSessions) Of(ctx context.Context, userID string, now time.Time) ([]Session, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT s.hash, s.auth_time, s.expires, s.method, s.agent, `+userColumns+` FROM sessions s JOIN users u ON u.id = s.user_id
		WHERE s.user_id = ? AND s.expires > ? ORDER BY s.auth_time DESC, s.hash LIMIT 500`, userID, ms(now))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Session
	for rows.Next() {
		var s Session
		var hash []byte
		var authTime, expires int64
		scan := userScan{u: &s.User}
		if err := rows.Scan(append([]any{&hash, &authTime, &expires, &s.Method, &s.Agent}, scan.targets()...)...); err != nil {
			return nil, err
		}
		scan.done()
		copy(s.Hash[:], hash)
		s.AuthTime, s.Expires = at(authTime), at(expires)
		all = append(all, s)
	}
	return all, rows.Err()
}

func (d dbSessions) DeleteOf(ctx context.Context, userID string) error {
	return d.exec(ctx, nil, `DELETE FROM sessions WHERE user_id = ?`, userID)
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
	err = d.change(ctx, func(tx transaction) error {
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

func linkOn(ctx context.Context, q queryer, hash Digest, now time.Time) (Link, error) {
	l := Link{Hash: hash}
	var expires int64
	scan := userScan{u: &l.User}
	err := q.QueryRowContext(ctx, `SELECT l.expires, `+userColumns+` FROM links l JOIN users u ON u.id = l.user_id
		WHERE l.hash = ? AND l.expires > ?`, hash[:], ms(now)).Scan(append([]any{&expires}, scan.targets()...)...)
	if err != nil {
		return Link{}, plain(err)
	}
	scan.done()
	l.Expires = at(expires)
	return l, nil
}
