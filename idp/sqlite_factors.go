package idp

import (
	"context"
	"time"
)

type dbFactors struct{ *db }

func (d dbFactors) Put(ctx context.Context, f Factor, limit int) error {
	return d.change(ctx, func(tx transaction) error {
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM factors WHERE user_id = ?`, f.UserID).Scan(&n); err != nil {
			return err
		}
		if n >= limit {
			return ErrFull
		}
		return execOn(ctx, tx, nil, `INSERT INTO factors (id, user_id, kind, label, handle, data, step, created, used) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			f.ID, f.UserID, string(f.Kind), f.Label, nullable(f.Handle), f.Data, f.Step, ms(f.Created), ms(f.Used))
	})
}

const factorColumns = `id, user_id, kind, label, coalesce(handle, ''), data, step, created, used`

func scanFactor(scan func(...any) error) (Factor, error) {
	var f Factor
	var created, used int64
	if err := scan(&f.ID, &f.UserID, &f.Kind, &f.Label, &f.Handle, &f.Data, &f.Step, &created, &used); err != nil {
		return Factor{}, plain(err)
	}
	f.Created, f.Used = at(created), at(used)
	return f, nil
}

func (d dbFactors) Of(ctx context.Context, userID string) ([]Factor, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT `+factorColumns+` FROM factors WHERE user_id = ? ORDER BY created, id`, userID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Factor
	for rows.Next() {
		f, err := scanFactor(rows.Scan)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, rows.Err()
}

func (d dbFactors) ByHandle(ctx context.Context, handle string) (Factor, error) {
	return scanFactor(d.read.QueryRowContext(ctx, `SELECT `+factorColumns+` FROM factors WHERE handle = ?`, handle).Scan)
}

func (d dbFactors) Use(ctx context.Context, id string, step int64, data []byte, now time.Time) error {
	return d.change(ctx, func(tx transaction) error {
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT 1 FROM factors WHERE id = ?`, id).Scan(&n); err != nil {
			return plain(err)
		}
		return execOn(ctx, tx, ErrSpent, `UPDATE factors SET step = ?, data = ?, used = ? WHERE id = ? AND step < ?`, step, data, ms(now), id, step)
	})
}

func (d dbFactors) Delete(ctx context.Context, userID, id string) error {
	return d.exec(ctx, ErrNotFound, `DELETE FROM factors WHERE user_id = ? AND id = ?`, userID, id)
}

func (d dbFactors) DeleteOf(ctx context.Context, userID string) error {
	return d.exec(ctx, nil, `DELETE FROM factors WHERE user_id = ?`, userID)
}
