package idp

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
	"go.uber.org/zap"

	"github.com/mcpd/mcpd/idp/passkey"
	"github.com/mcpd/mcpd/idp/upstream"
)

// Options is what an issuer is made of. Issuer, Store, Resource and Allowed are required.
type Options struct {
	// Issuer is the issuer identifier: scheme and host, no path, no trailing slash.
	Issuer string

	// Config is the [auth] section.
	Config Config

	// Store is the issuer's from here on: Close closes it.
	Store Store

	// Resource names the server that a resource URL (RFC 8707) belongs to, and the URL that
	// its tokens are bound to: a server may answer to several. It gets the scheme and the host in
	// lower case, is asked at every authorization, and must be safe for concurrent use.
	Resource func(resource string) (url, server string, ok bool)

	// Allowed says whether a person may use a server. It is asked at every sign-in, every
	// refresh and every Verify, so that a changed policy holds at once; it must be fast and safe for concurrent use.
	Allowed func(server string, u User) bool

	// Splits says whether a server tells reading from writing: then tokens for it can have the scopes mcp:read and
	// mcp:write, which whoever guards the server must know (see ScopeMCP). Default: none does.
	Splits func(server string) bool

	// Ended is told what was revoked, when no token of it is good any more: what goes on with such a token, as streams do, is
	// to be ended. It is called on the way of the one who revoked, and must not call the issuer. Default: nobody is told.
	Ended func(Ended)

	// Changed is told when a provider says something else of somebody than before: what they may not use any more is to be ended.
	// Their tokens are held against the policy whenever they are used. It must not call the issuer. Default: nobody is told.
	Changed func(User)

	// Welcome says whether somebody whom a provider vouches for is to become a user. Default: everybody is.
	Welcome func(u User) bool

	// Servers lists what a person may use, for their own page. Default: nothing is listed.
	Servers func(u User) []Server

	// Logger is for what nobody else gets to see: internal errors, and the events of sign-ins. Default: none.
	Logger *zap.Logger

	// Loopback permits an http issuer on this computer, with cookies that need no https.
	Loopback bool

	// Roots are the authorities that providers and the hosts of client documents must be certified by. Default: the system's.
	Roots *x509.CertPool

	// Now is the clock. Default time.Now.
	Now func() time.Time

	// SweepEvery is how often expired rows are removed. Default 10m.
	SweepEvery time.Duration
}

// Ended is something that was revoked: all of a person, or, where Grant is not "", one authorization of theirs.
type Ended struct {
	UserID string
	Grant  string // as in Grant.ID
}

// Issuer is the authorization server. It is safe for concurrent use.
type Issuer struct {
	issuer   string
	host     string
	config   Config
	store    Store
	resource func(string) (string, string, bool)
	allowed  func(string, User) bool
	ended    func(Ended)
	changed  func(User)
	welcome  func(User) bool
	splits   func(string) bool
	servers  func(User) []Server
	log      *zap.Logger
	clock    func() time.Time

	keys     *keyring
	hasher   *hasher
	cache    *cache
	cookies  cookieJar
	pages    *pages
	origins  *http.CrossOriginProtection
	accounts *throttle // failed sign-ins by name
	visitors *throttle // sign-ins by address
	comers   *throttle // registrations by address
	polls    *throttle // of device codes
	guesses  *throttle // of user codes by address
	seconds  *throttle // second steps by user
	rechecks *throttle // of what providers say of a user

	counts    counts
	documents documents
	providers map[string]*upstream.Provider
	passkeys  *passkey.Site // nil where browsers have none
	keysets   *keysets

	server   *server
	encoder  issEncoder
	metadata []byte
	handler  http.Handler

	stop context.CancelFunc
	done sync.WaitGroup
}

// New makes an issuer over a store, with keys of its own on the first start.
func New(ctx context.Context, o Options) (*Issuer, error) {
	i, err := fromOptions(o)
	if err != nil {
		return nil, err
	}
	if i.keys, err = loadKeys(ctx, i.store.Keys(), i.now()); err != nil {
		return nil, err
	}
	if i.pages, err = newPages(i.host); err != nil {
		return nil, err
	}
	if i.server, err = newServer(i); err != nil {
		return nil, fmt.Errorf("cannot build provider: %w", err)
	}
	i.encoder = newIssEncoder(i.issuer)
	if i.metadata, err = i.discovery(); err != nil {
		return nil, fmt.Errorf("cannot encode metadata: %w", err)
	}
	if err := i.configure(ctx); err != nil {
		return nil, err
	}
	i.handler = i.routes()

	sweeping, stop := context.WithCancel(context.Background())
	i.stop = stop
	every := o.SweepEvery
	if every <= 0 {
		every = 10 * time.Minute
	}
	// Both end when Close cancels them; Close waits.
	if i.store.Shared() {
		i.done.Go(func() { i.follow(sweeping) })
	}
	i.done.Go(func() { i.sweep(sweeping, every) })
	return i, nil
}

func fromOptions(o Options) (*Issuer, error) {
	u, err := url.Parse(o.Issuer)
	if err != nil || u.Host == "" || u.Scheme+"://"+u.Host != o.Issuer {
		return nil, fmt.Errorf("cannot use issuer %q: want a scheme and a host, no path", o.Issuer)
	}
	if u.Scheme != "https" && !(o.Loopback && u.Scheme == "http" && loopbackHost(u.Hostname())) {
		return nil, fmt.Errorf("cannot use issuer %q: want https, or http on this computer in loopback mode", o.Issuer)
	}
	if o.Store == nil || o.Resource == nil || o.Allowed == nil {
		return nil, errors.New("cannot make issuer: Store, Resource and Allowed are required")
	}
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	i := &Issuer{
		issuer: o.Issuer, host: u.Host, config: o.Config, store: o.Store, resource: o.Resource, ended: o.Ended, splits: o.Splits,
		log: o.Logger, clock: o.Now,
		hasher: newHasher(max(2, runtime.GOMAXPROCS(0))), cache: newCache(), cookies: newCookieJar(u), keysets: newKeysets(),
		origins:  http.NewCrossOriginProtection(),
		accounts: newThrottle(30*time.Second, 10),
		visitors: newThrottle(2*time.Second, 30),
		polls:    newThrottle(pollInterval-time.Second, 1), // a second less: clocks and networks differ
		guesses:  newThrottle(6*time.Second, 10),
		seconds:  newThrottle(2*time.Minute, 5), // three of a million codes are right at any time
		rechecks: newThrottle(recheckEvery, 1),
		comers:   newThrottle(time.Minute/time.Duration(o.Config.Registration.Rate), max(10, o.Config.Registration.Rate)),
	}
	if i.ended == nil {
		i.ended = func(Ended) {}
	}
	if i.changed = o.Changed; i.changed == nil {
		i.changed = func(User) {}
	}
	if i.log == nil {
		i.log = zap.NewNop()
	}
	if i.clock == nil {
		i.clock = time.Now
	}
	if i.welcome = o.Welcome; i.welcome == nil {
		i.welcome = func(User) bool { return true }
	}
	if i.servers = o.Servers; i.servers == nil {
		i.servers = func(User) []Server { return nil }
	}
	i.providers = i.newProviders(o)
	if i.passkeys, err = passkey.New(o.Issuer); err != nil {
		return nil, err
	}
	i.allowed = func(server string, u User) bool { return i.vouched(u) && o.Allowed(server, u) }
	i.documents, err = newDocuments(o.Config, o.Roots, i.now)
	return i, err
}

// Handler serves every path of the issuer's origin.
func (i *Issuer) Handler() http.Handler { return i.handler }

// Close ends the background work and closes the store. Requests should be over by then.
func (i *Issuer) Close() error {
	i.stop()
	i.done.Wait()
	return i.store.Close()
}

// now is the time, as precise as the store keeps it.
func (i *Issuer) now() time.Time { return i.clock().UTC().Truncate(time.Millisecond) }

func (i *Issuer) url(path string) string { return i.issuer + path }

// sweep removes what time has made worthless, in batches, until ctx ends.
func (i *Issuer) sweep(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := i.sweepOnce(ctx); err != nil && ctx.Err() == nil {
			i.log.Warn("cannot sweep the store", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

const sweepBatch = 1000

func (i *Issuer) sweepOnce(ctx context.Context) error {
	now := i.now()
	i.cache.drop(func(h *held) bool { return !now.Before(h.expires) })
	if err := i.keys.retire(ctx, now); err != nil {
		return err
	}
	for ctx.Err() == nil {
		n, err := i.store.Sweep(ctx, Sweep{
			Now: now, UnusedBefore: now.Add(-i.config.Registration.Unused), SaltBefore: now.Add(-i.config.RefreshGrace), Limit: sweepBatch,
		})
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
	}
	return ctx.Err()
}

// canonical is a resource URL as tokens carry it: scheme and host in lower case, no slash at the end (MCP, canonical server URI).
func canonical(raw string) (string, bool) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(raw, "#") {
		return "", false
	}
	return strings.ToLower(u.Scheme) + "://" + strings.ToLower(u.Host) + strings.TrimSuffix(u.EscapedPath(), "/"), true
}

// findResource is the one place where a resource parameter is understood.
func (i *Issuer) findResource(raw string) (resource, server string, ok bool) {
	if resource, ok = canonical(raw); !ok {
		return "", "", false
	}
	return i.resource(resource)
}

var _ op.Storage = (*storage)(nil)
