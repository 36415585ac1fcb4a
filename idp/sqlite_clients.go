package idp

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

type dbClients struct{ *db }

// clientData is the part of a registration that no query looks into.
type clientData struct {
	RedirectURIs []string        `json:"redirect_uris"`
	LogoutURIs   []string        `json:"logout_uris,omitempty"`
	AuthMethod   string          `json:"auth_method"`
	Keys         json.RawMessage `json:"keys,omitempty"`
	KeysURI      string          `json:"keys_uri,omitempty"`
	URI          string          `json:"uri,omitempty"`
	SoftwareID   string          `json:"software_id,omitempty"`
	AppType      string          `json:"app_type,omitempty"`
	Service      bool            `json:"service,omitempty"`
	Introspects  bool            `json:"introspects,omitempty"`
	Exchange     []string        `json:"exchange,omitempty"`
	Fresh        int64           `json:"fresh,omitempty"`
}

func encodeClient(c Client) (string, error) {
	data, err := json.Marshal(clientData{
		RedirectURIs: c.RedirectURIs, LogoutURIs: c.LogoutURIs, AuthMethod: c.AuthMethod, Keys: c.Keys, KeysURI: c.KeysURI,
		URI: c.URI, SoftwareID: c.SoftwareID, AppType: c.AppType, Service: c.Service, Introspects: c.Introspects, Exchange: c.Exchange, Fresh: ms(c.Fresh),
	})
	if err != nil {
		return "", fmt.Errorf("cannot encode client %q: %w", c.ID, err)
	}
	return string(data), nil
}

func decodeClient(c *Client, data []byte) error {
	var more clientData
	if err := json.Unmarshal(data, &more); err != nil {
		return fmt.Errorf("cannot decode client %q: %w", c.ID, err)
	}
	c.RedirectURIs, c.LogoutURIs, c.AuthMethod, c.Keys, c.KeysURI = more.RedirectURIs, more.LogoutURIs, more.AuthMethod, more.Keys, more.KeysURI
	c.URI, c.SoftwareID, c.AppType, c.Service, c.Introspects, c.Exchange, c.Fresh = more.URI, more.SoftwareID, more.AppType, more.Service, more.Introspects, more.Exchange, at(more.Fresh)
	return nil
}

func (d dbClients) Create(ctx context.Context, c Client, limit int) error {
	data, err := encodeClient(c)
	if err != nil {
		return err
	}
	return d.change(ctx, func(tx transaction) error {
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM clients`).Scan(&n); err != nil {
			return err
		}
		if n >= limit {
			err := execOn(ctx, tx, ErrFull, `DELETE FROM clients WHERE id IN (SELECT id FROM clients WHERE used = 0 ORDER BY created LIMIT ?)`, n-limit+1)
			if err != nil {
				return err
			}
		}
		return execOn(ctx, tx, nil, `INSERT INTO clients (id, kind, created, used, secret, manage, name, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			c.ID, string(c.Kind), ms(c.Created), ms(c.Used), c.Secret[:], c.Manage[:], c.Name, data)
	})
}

func (d dbClients) Update(ctx context.Context, c Client) error {
	data, err := encodeClient(c)
	if err != nil {
		return err
	}
	return d.exec(ctx, ErrNotFound, `UPDATE clients SET secret = ?, manage = ?, name = ?, data = ? WHERE id = ?`, c.Secret[:], c.Manage[:], c.Name, data, c.ID)
}

const clientColumns = `id, kind, created, used, secret, manage, name, data`

func scanClient(scan func(...any) error) (Client, error) {
	var c Client
	var created, used int64
	var secret, manage, data []byte
	if err := scan(&c.ID, &c.Kind, &created, &used, &secret, &manage, &c.Name, &data); err != nil {
		return Client{}, plain(err)
	}
	c.Created, c.Used = at(created), at(used)
	copy(c.Secret[:], secret)
	copy(c.Manage[:], manage)
	return c, decodeClient(&c, data)
}

func (d dbClients) Get(ctx context.Context, id string) (Client, error) {
	return scanClient(d.read.QueryRowContext(ctx, `SELECT `+clientColumns+` FROM clients WHERE id = ?`, id).Scan)
}

func (d dbClients) List(ctx context.Context, kind ClientKind) ([]Client, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT `+clientColumns+` FROM clients WHERE kind = ? ORDER BY id`, string(kind))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Client
	for rows.Next() {
		c, err := scanClient(rows.Scan)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, rows.Err()
}

func (d dbClients) Use(ctx context.Context, id string, now time.Time) error {
	return d.exec(ctx, nil, `UPDATE clients SET used = ? WHERE id = ? AND used = 0`, ms(now), id)
}

func (d dbClients) Delete(ctx context.Context, id string) error {
	return d.exec(ctx, ErrNotFound, `DELETE FROM clients WHERE id = ?`, id)
}

type dbConsents struct{ *db }

func (d dbConsents) Put(ctx context.Context, c Consent) error {
	return d.exec(ctx, nil, `INSERT INTO consents (user_id, client_id, server, scopes, digest, created) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (user_id, client_id, server) DO UPDATE SET scopes = excluded.scopes, digest = excluded.digest, created = excluded.created`,
		c.UserID, c.ClientID, c.Server, sentence(c.Scopes), c.Digest[:], ms(c.Created))
}

func (d dbConsents) Get(ctx context.Context, userID, clientID, server string) (Consent, error) {
	c := Consent{UserID: userID, ClientID: clientID, Server: server}
	var scopes string
	var digest []byte
	var created int64
	err := d.read.QueryRowContext(ctx, `SELECT scopes, digest, created FROM consents WHERE user_id = ? AND client_id = ? AND server = ?`,
		userID, clientID, server).Scan(&scopes, &digest, &created)
	if err != nil {
		return Consent{}, plain(err)
	}
	c.Scopes, c.Created = words(scopes), at(created)
	copy(c.Digest[:], digest)
	return c, nil
}

func (d dbConsents) Delete(ctx context.Context, userID, clientID, server string) error {
	return d.exec(ctx, nil, `DELETE FROM consents WHERE user_id = ? AND client_id = ? AND server = ?`, userID, clientID, server)
}

type dbKeys struct{ *db }

func (d dbKeys) List(ctx context.Context, kind string) ([]Key, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT id, secret, created FROM keys WHERE kind = ? ORDER BY created DESC, id`, kind)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Key
	for rows.Next() {
		k := Key{Kind: kind}
		var created int64
		if err := rows.Scan(&k.ID, &k.Secret, &created); err != nil {
			return nil, err
		}
		k.Created = at(created)
		all = append(all, k)
	}
	return all, rows.Err()
}

func (d dbKeys) Put(ctx context.Context, k Key) error {
	return d.exec(ctx, nil, `INSERT INTO keys (id, kind, secret, created) VALUES (?, ?, ?, ?)`, k.ID, k.Kind, k.Secret, ms(k.Created))
}

func (d dbKeys) Delete(ctx context.Context, id string) error {
	return d.exec(ctx, nil, `DELETE FROM keys WHERE id = ?`, id)
}
