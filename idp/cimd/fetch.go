package cimd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Bounds of a fetch.
const (
	maxDocument = 5 << 10  // bytes; the draft's limit
	maxKeys     = 32 << 10 // bytes; a set of keys is longer
	maxFetches  = 8        // at once
	fetchTime   = 5 * time.Second
	minFresh    = 5 * time.Minute
	maxFresh    = 24 * time.Hour
	usualFresh  = time.Hour // of an answer that says nothing
)

// Fetcher fetches documents. It is safe for concurrent use and keeps no connection open.
type Fetcher struct {
	// Now is the clock. New sets it to time.Now.
	Now func() time.Time

	dialer  *net.Dialer
	client  *http.Client
	slots   chan struct{}
	timeout time.Duration
}

// New makes a Fetcher that connects to public addresses, and to those in networks. Hosts must have a certificate by
// one of roots; nil is the system's.
func New(networks []netip.Prefix, roots *x509.CertPool) (*Fetcher, error) {
	g, err := newGuard(networks)
	if err != nil {
		return nil, err
	}
	f := &Fetcher{Now: time.Now, dialer: &net.Dialer{Control: g.control}, slots: make(chan struct{}, maxFetches), timeout: fetchTime}
	f.client = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:       nil, // a proxy would resolve the name itself, behind the guard
			DialContext: f.dialer.DialContext, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10, ForceAttemptHTTP2: true,
		},
	}
	return f, nil
}

// Document fetches the document that id is the URL of. The text of the error is for the client's developer; what
// was answered is not in it, so that nobody can read through mcpd what only mcpd can reach.
func (f *Fetcher) Document(ctx context.Context, id string) (Document, error) {
	if err := CheckID(id); err != nil {
		return Document{}, err
	}
	body, fresh, err := f.get(ctx, id, maxDocument)
	if err != nil {
		return Document{}, err
	}
	d, err := Parse(id, body)
	d.Fresh = fresh
	return d, err
}

// Keys fetches a set of keys (RFC 7517) and says until when it need not be fetched again.
func (f *Fetcher) Keys(ctx context.Context, uri string) ([]byte, time.Time, error) {
	if err := CheckID(uri); err != nil {
		return nil, time.Time{}, err
	}
	return f.get(ctx, uri, maxKeys)
}

func (f *Fetcher) get(ctx context.Context, uri string, limit int64) ([]byte, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-ctx.Done():
		return nil, time.Time{}, errors.New("too many documents are being fetched")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, time.Time{}, errors.New("the document's URL is not one")
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "mcpd")
	resp, err := f.client.Do(r)
	if err != nil {
		return nil, time.Time{}, unreachable{err}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, time.Time{}, fmt.Errorf("the document's host answered with status %d, and only 200 counts", resp.StatusCode)
	}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" && !(strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")) {
		return nil, time.Time{}, errors.New("the document is not served as application/json")
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, time.Time{}, unreachable{err}
	}
	if int64(len(body)) > limit {
		return nil, time.Time{}, fmt.Errorf("the document is longer than %d bytes", limit)
	}
	return body, f.Now().Add(freshness(resp.Header)), nil
}

// unreachable hides from clients why a host could not be talked to; the log may tell.
type unreachable struct{ cause error }

func (unreachable) Error() string   { return "the document could not be fetched" }
func (u unreachable) Unwrap() error { return u.cause }

// freshness is how long an answer may be used (RFC 9111 §4.2), within bounds: a document that may not be kept at all
// would be fetched twice for each sign-in.
func freshness(h http.Header) time.Duration {
	fresh := usualFresh
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		if expires, err := http.ParseTime(h.Get("Expires")); err == nil {
			fresh = expires.Sub(date)
		}
	}
	for directive := range strings.SplitSeq(strings.ToLower(strings.Join(h.Values("Cache-Control"), ",")), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch name {
		case "no-store", "no-cache":
			return minFresh
		case "max-age":
			if n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				fresh = time.Duration(n) * time.Second
			}
		}
	}
	if age, err := strconv.ParseUint(h.Get("Age"), 10, 31); err == nil {
		fresh -= time.Duration(age) * time.Second
	}
	return min(max(fresh, minFresh), maxFresh)
}
