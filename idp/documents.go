package idp

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/mcpd/mcpd/idp/cimd"
)

// documents knows the clients that are known by the document at their client_id.
type documents struct {
	config  DocumentsConfig
	fetcher *cimd.Fetcher
	pinned  map[string]cimd.Document
	visits  *throttle // fetches, by the address of whom they are for
}

func newDocuments(c Config, roots *x509.CertPool, now func() time.Time) (documents, error) {
	networks, err := c.Documents.networks()
	if err != nil {
		return documents{}, err
	}
	d := documents{config: c.Documents, visits: newThrottle(2*time.Second, 20)}
	if d.pinned, err = c.Documents.pinned(c.Registration.Schemes); err != nil {
		return documents{}, err
	}
	if d.fetcher, err = cimd.New(networks, roots); err != nil {
		return documents{}, err
	}
	d.fetcher.Now = now
	return d, nil
}

func (c DocumentsConfig) networks() ([]netip.Prefix, error) {
	var all []netip.Prefix
	for n, text := range c.Networks {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("documents.networks[%d]: %q is not an address block such as 10.1.0.0/16", n, text)
		}
		all = append(all, p)
	}
	return all, nil
}

func (c DocumentsConfig) pinned(schemes []string) (map[string]cimd.Document, error) {
	all := make(map[string]cimd.Document, len(c.Pinned))
	for n, text := range c.Pinned {
		id, err := cimd.IDOf([]byte(text))
		var d cimd.Document
		if err == nil {
			d, err = cimd.Parse(id, []byte(text))
		}
		if err == nil {
			err = checkDocument(d, schemes)
		}
		if err != nil {
			return nil, fmt.Errorf("documents.pinned[%d]: %w", n, err)
		}
		all[d.ID] = d
	}
	return all, nil
}

// allows says whether the operator lets a client in.
func (d *documents) allows(id string) bool {
	return !d.config.Disabled && slices.ContainsFunc(d.config.Allow, func(pattern string) bool { return matchGlob(pattern, id) })
}

// matchGlob matches with * for any run of characters, the slash too.
func matchGlob(pattern, s string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, head)
	for ok {
		part, next, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(s, part)
		}
		_, s, ok = strings.Cut(s, part)
		rest = next
	}
	return false
}

// checkDocument is what a document must meet beyond the draft: the rules for redirect URIs are the same for all clients.
func checkDocument(d cimd.Document, schemes []string) error {
	if len(d.RedirectURIs) > maxRedirects {
		return fmt.Errorf("there are more than %d redirect_uris", maxRedirects)
	}
	for n, uri := range d.RedirectURIs {
		if err := checkRedirect(uri, schemes); err != nil {
			return fmt.Errorf("redirect_uris[%d]: %w", n, err)
		}
	}
	if len(d.Keys) > 0 {
		if _, err := parseKeys(d.Keys); err != nil {
			return fmt.Errorf("jwks: %w", err)
		}
	}
	return checkLogoutURIs(d.LogoutRedirectURIs)
}

// client finds a client as it is known.
func (i *Issuer) client(ctx context.Context, id string) (Client, error) {
	if cimd.IsID(id) && !i.documents.allows(id) {
		return Client{}, ErrNotFound
	}
	return i.store.Clients().Get(ctx, id)
}

// newest finds a client at the beginning of a sign-in, when its document must be fresh. Later it need not be: a client that is
// connected does not depend on its website. Fetches are counted against the one who asks.
func (i *Issuer) newest(r *http.Request, id string) (Client, error) {
	have, err := i.client(r.Context(), id)
	if err != nil && !errors.Is(err, ErrNotFound) || !cimd.IsID(id) || !i.documents.allows(id) {
		return have, err
	}
	known := err == nil
	d, pinned := i.documents.pinned[id]
	switch {
	case pinned:
	case known && i.now().Before(have.Fresh):
		return have, nil
	case !i.documents.visits.take(addressOf(r.RemoteAddr), i.now()):
		return Client{}, &shown{status: http.StatusTooManyRequests, title: "That was a little fast", text: "Too many programs were looked up for your address. Wait a minute and try again."}
	default:
		if d, err = i.documents.fetcher.Document(r.Context(), id); err == nil {
			err = checkDocument(d, i.config.Registration.Schemes)
		}
		if err != nil {
			return Client{}, i.unreadable(id, err)
		}
	}
	c := clientOf(d)
	if c.Created = i.now(); known {
		c.Created, c.Used = have.Created, have.Used
	}
	if known && reflect.DeepEqual(c, have) {
		return c, nil
	}
	return c, i.keep(r.Context(), c)
}

// unreadable tells a person that a program's document is no good, and what is wrong with it: they may be its developer.
func (i *Issuer) unreadable(id string, err error) error {
	i.log.Info("client document refused", zap.String("client", clip(id, maxMetadata)), zap.Error(err), zap.NamedError("cause", errors.Unwrap(err)))
	return &shown{
		status: http.StatusBadRequest, title: "This program could not be looked up",
		text: "It names a web address where it describes itself, but what is there cannot be used: " + err.Error() + ".",
	}
}

// keep stores what a document says, whether or not the client was known; of two at once it does not matter who is first.
func (i *Issuer) keep(ctx context.Context, c Client) error {
	err := i.store.Clients().Update(ctx, c)
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	switch err := i.store.Clients().Create(ctx, c, i.config.Registration.Max); {
	case errors.Is(err, ErrExists):
		return nil
	case errors.Is(err, ErrFull):
		return &shown{status: http.StatusServiceUnavailable, title: "There is no room for this program", text: "Too many programs are connected here. The administrator can make room.", cause: err}
	default:
		return err
	}
}

func clientOf(d cimd.Document) Client {
	c := Client{
		ID: d.ID, Kind: Documented, Name: cleanName(d.Name), RedirectURIs: d.RedirectURIs, LogoutURIs: d.LogoutRedirectURIs, AuthMethod: d.AuthMethod,
		Keys: d.Keys, KeysURI: d.KeysURI, SoftwareID: clip(d.SoftwareID, maxMetadata), AppType: clip(d.AppType, maxMetadata), Fresh: d.Fresh.UTC().Truncate(time.Millisecond),
	}
	if httpsURL(d.URI) {
		c.URI = d.URI
	}
	return c
}
