package idp

import (
	"context"
	"slices"
	"time"
)

type dbTokens struct{ *db }

func (d dbTokens) PutCode(ctx context.Context, c Code) error {
	f := c.Family
	return d.exec(ctx, nil, `INSERT INTO codes (hash, user_id, client_id, family, server, resource, scopes, redirect_uri, challenge, nonce, auth_time, created, expires, used)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)`,
		c.Hash[:], f.UserID, f.ClientID, f.ID, f.Server, f.Resource, sentence(f.Scopes), c.RedirectURI, c.Challenge, c.Nonce, ms(f.AuthTime), ms(f.Created), ms(c.Expires))
}

func (d dbTokens) Code(ctx context.Context, hash Digest) (Code, error) {
	return codeOn(ctx, d.read, hash)
}

func codeOn(ctx context.Context, q queryer, hash Digest) (Code, error) {
	c := Code{Hash: hash}
	f := &c.Family
	var scopes string
	var authTime, created, expires, used int64
	err := q.QueryRowContext(ctx, `SELECT user_id, client_id, family, server, resource, scopes, redirect_uri, challenge, nonce, auth_time, created, expires, used
		FROM codes WHERE hash = ?`, hash[:]).Scan(&f.UserID, &f.ClientID, &f.ID, &f.Server, &f.Resource, &scopes, &c.RedirectURI, &c.Challenge, &c.Nonce,
		&authTime, &created, &expires, &used)
	if err != nil {
		return Code{}, plain(err)
	}
	f.Scopes, f.AuthTime, f.Created = words(scopes), at(authTime), at(created)
	c.Expires, c.Used = at(expires), at(used)
	return c, nil
}

func (d dbTokens) BurnCode(ctx context.Context, hash Digest, now time.Time) error {
	return d.exec(ctx, ErrSpent, `UPDATE codes SET used = ? WHERE hash = ? AND used = 0`, ms(now), hash[:])
}

func (d dbTokens) Redeem(ctx context.Context, hash Digest, now time.Time, a Access, r Refresh) error {
	return d.change(ctx, func(tx transaction) error {
		c, err := codeOn(ctx, tx, hash)
		if err != nil {
			return err
		}
		if err := execOn(ctx, tx, ErrSpent, `UPDATE codes SET used = ? WHERE hash = ? AND used = 0`, ms(now), hash[:]); err != nil {
			return err
		}
		c.Family.Expires = r.Expires
		if err := putFamily(ctx, tx, c.Family); err != nil {
			return err
		}
		if err := putRefresh(ctx, tx, r); err != nil {
			return err
		}
		return putAccess(ctx, tx, a)
	})
}

func (d dbTokens) Refresh(ctx context.Context, hash Digest) (Refresh, Family, error) {
	r := Refresh{Hash: hash}
	var f Family
	var expires, used int64
	scan := familyScan{f: &f}
	err := d.read.QueryRowContext(ctx, `SELECT r.expires, r.used, r.salt, `+familyColumns+` FROM refresh_tokens r JOIN families f ON f.id = r.family WHERE r.hash = ?`, hash[:]).
		Scan(append([]any{&expires, &used, &r.Salt}, scan.targets()...)...)
	if err != nil {
		return Refresh{}, Family{}, plain(err)
	}
	scan.done()
	r.Family, r.Expires, r.Used = f.ID, at(expires), at(used)
	return r, f, nil
}

func (d dbTokens) Rotate(ctx context.Context, old Digest, now time.Time, salt []byte, next Refresh, a Access) error {
	return d.change(ctx, func(tx transaction) error {
		var used int64
		if err := tx.QueryRowContext(ctx, `SELECT used FROM refresh_tokens WHERE hash = ?`, old[:]).Scan(&used); err != nil {
			return plain(err)
		}
		if err := execOn(ctx, tx, ErrSpent, `UPDATE refresh_tokens SET used = ?, salt = ? WHERE hash = ? AND used = 0`, ms(now), salt, old[:]); err != nil {
			return err
		}
		if err := putRefresh(ctx, tx, next); err != nil {
			return err
		}
		if err := putAccess(ctx, tx, a); err != nil {
			return err
		}
		return execOn(ctx, tx, ErrNotFound, `UPDATE families SET expires = CASE WHEN expires < ? THEN ? ELSE expires END WHERE id = ?`,
			ms(next.Expires), ms(next.Expires), next.Family)
	})
}

func (d dbTokens) Spend(ctx context.Context, hash Digest, expires time.Time) error {
	return d.exec(ctx, ErrSpent, `INSERT INTO spent (hash, expires) VALUES (?, ?) ON CONFLICT DO NOTHING`, hash[:], ms(expires))
}

func (d dbTokens) PutFamily(ctx context.Context, f Family, a Access) error {
	return d.change(ctx, func(tx transaction) error {
		f.Expires = a.Expires
		if err := putFamily(ctx, tx, f); err != nil {
			return err
		}
		return putAccess(ctx, tx, a)
	})
}

func (d dbTokens) PutAccess(ctx context.Context, a Access) error {
	return d.single(ctx, func(tx transaction) error { return putAccess(ctx, tx, a) })
}

func (d dbTokens) Access(ctx context.Context, hash Digest) (Holder, error) {
	h := Holder{Access: Access{Hash: hash}}
	var scopes string
	var created, expires int64
	scan, user := familyScan{f: &h.Family}, userScan{u: &h.User}
	err := d.read.QueryRowContext(ctx, selectAccess, hash[:]).
		Scan(slices.Concat([]any{&scopes, &created, &expires, &h.ClientName}, user.targets(), scan.targets())...)
	if err != nil {
		return Holder{}, plain(err)
	}
	scan.done()
	user.done()
	h.Scopes, h.Created, h.Access.Expires, h.Access.Family = words(scopes), at(created), at(expires), h.Family.ID
	return h, nil
}

func (d dbTokens) DeleteAccess(ctx context.Context, hash Digest) error {
	return d.exec(ctx, nil, `DELETE FROM access_tokens WHERE hash = ?`, hash[:])
}

func (d dbTokens) DeleteFamily(ctx context.Context, id string) error {
	return d.exec(ctx, nil, `DELETE FROM families WHERE id = ?`, id)
}

func (d dbTokens) Connections(ctx context.Context, userID string, now time.Time) ([]Connection, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT coalesce(c.name, ''), `+familyColumns+` FROM families f LEFT JOIN clients c ON c.id = f.client_id
		WHERE f.user_id = ? AND f.expires > ? ORDER BY f.created DESC, f.id LIMIT 500`, userID, ms(now))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Connection
	for rows.Next() {
		var c Connection
		scan := familyScan{f: &c.Family}
		if err := rows.Scan(append([]any{&c.ClientName}, scan.targets()...)...); err != nil {
			return nil, err
		}
		scan.done()
		all = append(all, c)
	}
	return all, rows.Err()
}

func (d dbTokens) Personal(ctx context.Context, now time.Time) ([]Personal, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT a.hash, `+userColumns+`, `+familyColumns+` FROM families f
		JOIN access_tokens a ON a.family = f.id JOIN users u ON u.id = f.user_id
		WHERE f.client_id IS NULL AND f.expires > ? ORDER BY f.created DESC, f.id LIMIT 10000`, ms(now))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Personal
	for rows.Next() {
		var p Personal
		var hash []byte
		who, scan := userScan{u: &p.User}, familyScan{f: &p.Family}
		if err := rows.Scan(slices.Concat([]any{&hash}, who.targets(), scan.targets())...); err != nil {
			return nil, err
		}
		copy(p.Hash[:], hash)
		who.done()
		scan.done()
		all = append(all, p)
	}
	return all, rows.Err()
}

const selectAccess = `SELECT a.scopes, a.created, a.expires, coalesce(c.name, ''), ` + userColumns + `, ` + familyColumns + `
	FROM access_tokens a JOIN families f ON f.id = a.family JOIN users u ON u.id = f.user_id LEFT JOIN clients c ON c.id = f.client_id WHERE a.hash = ?`

const familyColumns = `f.id, f.user_id, coalesce(f.parent, ''), coalesce(f.client_id, ''), f.server, f.resource, f.scopes, f.label, f.tools, f.auth_time, f.created, f.expires`

// familyScan reads familyColumns into a Family.
type familyScan struct {
	f                          *Family
	scopes, tools              string
	authTime, created, expires int64
}

func (s *familyScan) targets() []any {
	f := s.f
	return []any{&f.ID, &f.UserID, &f.Parent, &f.ClientID, &f.Server, &f.Resource, &s.scopes, &f.Label, &s.tools, &s.authTime, &s.created, &s.expires}
}

func (s *familyScan) done() {
	s.f.Tools = nil
	if s.tools != "" {
		s.f.Tools = words(s.tools)
	}
	s.f.Scopes, s.f.AuthTime, s.f.Created, s.f.Expires = words(s.scopes), at(s.authTime), at(s.created), at(s.expires)
}

func putFamily(ctx context.Context, tx transaction, f Family) error {
	return execOn(ctx, tx, nil, `INSERT INTO families (id, user_id, parent, client_id, server, resource, scopes, label, tools, auth_time, created, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		f.ID, f.UserID, nullable(f.Parent), nullable(f.ClientID), f.Server, f.Resource, sentence(f.Scopes), f.Label, sentence(f.Tools), ms(f.AuthTime), ms(f.Created), ms(f.Expires))
}

func putAccess(ctx context.Context, tx transaction, a Access) error {
	return execOn(ctx, tx, nil, `INSERT INTO access_tokens (hash, family, scopes, created, expires) VALUES (?, ?, ?, ?, ?)`,
		a.Hash[:], a.Family, sentence(a.Scopes), ms(a.Created), ms(a.Expires))
}

func putRefresh(ctx context.Context, tx transaction, r Refresh) error {
	return execOn(ctx, tx, nil, `INSERT INTO refresh_tokens (hash, family, expires, used) VALUES (?, ?, ?, 0)`, r.Hash[:], r.Family, ms(r.Expires))
}
