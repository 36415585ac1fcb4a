package idp

import (
	"context"
	"time"
)

type dbDevices struct{ *db }

func (d dbDevices) Put(ctx context.Context, v Device, limit int) error {
	f := v.Family
	return d.change(ctx, func(tx transaction) error {
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM devices`).Scan(&n); err != nil {
			return err
		}
		if n >= limit {
			return ErrFull
		}
		return execOn(ctx, tx, nil, `INSERT INTO devices (hash, user_code, client_id, user_id, family, server, resource, scopes, auth_time, created, expires, state)
			VALUES (?, ?, ?, NULL, ?, ?, ?, ?, 0, ?, ?, ?)`,
			v.Hash[:], v.UserCode, f.ClientID, f.ID, f.Server, f.Resource, sentence(f.Scopes), ms(f.Created), ms(v.Expires), int(v.State))
	})
}

const selectDevice = `SELECT hash, user_code, client_id, coalesce(user_id, ''), family, server, resource, scopes, auth_time, created, expires, state FROM devices WHERE `

func deviceOn(ctx context.Context, q queryer, where string, arg any) (Device, error) {
	var v Device
	f := &v.Family
	var hash []byte
	var scopes string
	var authTime, created, expires int64
	err := q.QueryRowContext(ctx, selectDevice+where, arg).
		Scan(&hash, &v.UserCode, &f.ClientID, &f.UserID, &f.ID, &f.Server, &f.Resource, &scopes, &authTime, &created, &expires, &v.State)
	if err != nil {
		return Device{}, plain(err)
	}
	copy(v.Hash[:], hash)
	f.Scopes, f.AuthTime, f.Created, v.Expires = words(scopes), at(authTime), at(created), at(expires)
	return v, nil
}

func (d dbDevices) Get(ctx context.Context, hash Digest) (Device, error) {
	return deviceOn(ctx, d.read, `hash = ?`, hash[:])
}

func (d dbDevices) ByUserCode(ctx context.Context, code string) (Device, error) {
	return deviceOn(ctx, d.read, `user_code = ?`, code)
}

func (d dbDevices) Decide(ctx context.Context, hash Digest, s DeviceState, userID string, authTime time.Time) error {
	return d.exec(ctx, ErrSpent, `UPDATE devices SET state = ?, user_id = ?, auth_time = ? WHERE hash = ? AND state = ?`,
		int(s), userID, ms(authTime), hash[:], int(DeviceWaiting))
}

func (d dbDevices) Redeem(ctx context.Context, hash Digest, a Access, r Refresh) error {
	return d.change(ctx, func(tx transaction) error {
		v, err := deviceOn(ctx, tx, `hash = ?`, hash[:])
		if err != nil {
			return err
		}
		err = execOn(ctx, tx, ErrSpent, `UPDATE devices SET state = ? WHERE hash = ? AND state = ?`, int(DeviceRedeemed), hash[:], int(DeviceAgreed))
		if err != nil {
			return err
		}
		v.Family.Expires = r.Expires
		if err := putFamily(ctx, tx, v.Family); err != nil {
			return err
		}
		if err := putRefresh(ctx, tx, r); err != nil {
			return err
		}
		return putAccess(ctx, tx, a)
	})
}
