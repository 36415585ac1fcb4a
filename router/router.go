package router

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// unreadTimeout is how long a refused client may take to send the rest of its body.
const unreadTimeout = 5 * time.Second

// hsts makes browsers use https for a year (RFC 6797). Names below are left out: not
// all below a domain need be ours.
const hsts = "max-age=31536000"

// Options are what a Router is made of. The zero value of each field refuses
// rather than admits.
type Options struct {
	// Verify says who holds token, if it is good for exactly this resource. It
	// returns ErrInvalidToken or ErrInsufficientScope, wrapped; any other error
	// is a failure of ours. It is on the path of every call.
	Verify func(ctx context.Context, token, resource string) (Principal, error)

	Issuer         string       // as in the issuer's own metadata, byte by byte; "" when Anonymous
	IssuerMetadata http.Handler // the RFC 8414 document, also served beside each server; nil: not served
	Scopes         []string     // asked for in challenges, and demanded of every token

	Anonymous bool     // no sign-in: loopback Host and loopback Origin only
	Loopback  bool     // localhost, 127.0.0.1 and [::1] are one origin, routed as "localhost"
	Origins   []string // globs of web origins that may call, besides our own and loopback ones
	Port      int      // in https URLs; 0 means 443
	Proxies   []string // as Config.TrustedProxies
	Limits    Limits   // as Config.Limits; the zero value is none

	BodyTimeout time.Duration       // for a client to send its body; 0: none
	Access      func(*AccessRecord) // called once per request, at its end; must not block, nor keep the record
	Logger      *zap.Logger         // nil: silent
}

// Router answers requests by a Table that can be replaced at any time. It is safe
// for concurrent use; until the first Swap no host is ours.
type Router struct {
	verify         func(ctx context.Context, token, resource string) (Principal, error)
	issuer         string
	issuerMetadata http.Handler
	scopes         []string
	anonymous      bool
	loopback       bool
	globs          []string
	port           int
	proxies        blocks
	addresses      *tally[netip.Addr] // nil: no limits
	people         *tally[string]     // by Principal.ID; nil: no limits
	present        present
	away           sync.WaitGroup // detached answers
	bodyTimeout    time.Duration
	access         func(*AccessRecord)
	log            *zap.Logger

	hsts, hangUp [1]string // header values that every request may share
	run          string    // part of every request id
	count        atomic.Uint64
	world        atomic.Pointer[world]
}

// world is a Table with all that follows from it, made once per Swap.
type world struct {
	table     *Table
	gates     []*gate // beside Table.routes; nil where the route is public
	documents map[string]map[string]*document
	origins   origins
}

// New returns a Router that knows no host yet.
func New(o Options) *Router {
	r := &Router{
		verify: o.Verify, issuer: o.Issuer, issuerMetadata: o.IssuerMetadata, scopes: slices.Clone(o.Scopes),
		anonymous: o.Anonymous, loopback: o.Loopback, port: o.Port, bodyTimeout: o.BodyTimeout, access: o.Access, log: o.Logger,
	}
	r.proxies = parseBlocks(o.Proxies)
	r.addresses = newTally[netip.Addr](o.Limits.Requests, o.Limits.Rate)
	r.people = newTally[string](0, o.Limits.UserRate)
	for _, g := range o.Origins {
		r.globs = append(r.globs, strings.ToLower(g))
	}
	r.hsts[0], r.hangUp[0] = hsts, "close"
	if r.log == nil {
		r.log = zap.NewNop()
	}
	var run [4]byte
	_, _ = rand.Read(run[:]) // never fails (crypto/rand)
	r.run = hex.EncodeToString(run[:])
	r.Swap(&Table{})
	return r
}

// Swap replaces the table. Requests that are under way finish with the old one.
func (r *Router) Swap(t *Table) {
	w := &world{
		table: t, gates: make([]*gate, len(t.routes)), documents: make(map[string]map[string]*document),
		origins: origins{own: make(map[string]bool), globs: r.globs, strict: r.anonymous},
	}
	if r.issuer != "" {
		w.origins.own[originOf(r.issuer)] = true
	}
	for i, route := range t.routes {
		if route.Resource == "" {
			continue
		}
		w.origins.own[originOf(route.Resource)] = true
		w.gates[i] = newGate(route, r.renderPage(route), slices.Concat(r.scopes, route.Scopes))
		docs := w.documents[route.Host]
		if docs == nil {
			docs = make(map[string]*document)
			w.documents[route.Host] = docs
		}
		for path, d := range r.wellKnownOf(route) {
			docs[path] = d
		}
	}
	r.world.Store(w)
}

// ServeHTTP answers one request and sees to its record.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.answer((*Router).serve, w, req)
}

// answer gives a request its exchange, and what went wrong in serve its words.
func (r *Router) answer(serve func(*Router, *exchange, *http.Request) error, w http.ResponseWriter, req *http.Request) {
	x := &exchange{Context: req.Context(), ResponseWriter: w, router: r, number: r.count.Add(1)}
	x.begin(req)
	w.Header()["X-Request-Id"] = x.idHeader[:]
	if len(req.TransferEncoding) > 0 {
		// There may have been a Content-Length too, which net/http has taken off. Then
		// the next request on the connection may be what somebody before us took for
		// the body of this one, and the connection must end (RFC 9112 §6.1).
		w.Header()["Connection"] = r.hangUp[:]
	}
	inner := req.WithContext(x)
	returned := false
	defer func() {
		// Once the answer has begun only breaking the connection is honest: the
		// panic then goes on to net/http, which does that and logs the stack.
		if !returned && x.rec.Status == 0 {
			r.panicked(x, inner, recover())
		}
		switch d, away := x.ResponseWriter.(*detached); {
		case !away:
			x.finish()
		case returned:
			r.away.Go(func() { x.stay(d) }) // ends with the answer; Wait waits for it
		default:
			d.end(true)
			x.finish()
		}
	}()
	err := r.identify(x, inner)
	if err == nil {
		err = r.admitAddress(x)
	}
	if err == nil {
		err = serve(r, x, inner)
	}
	if err != nil {
		r.writeError(x, inner, err)
	}
	returned = true
}

// serve is the way through the house: host, documents, gate, handler.
func (r *Router) serve(x *exchange, req *http.Request) error {
	host, ok := normalHost(req.Host)
	if ok && r.loopback {
		host = oneOrigin(host)
	}
	w := r.world.Load()
	if !ok || w.table.hosts[host] == nil {
		return errForeignHost()
	}
	x.rec.Host = host
	if req.TLS != nil && !meant(req.TLS.ServerName, host) {
		return refuse(http.StatusMisdirectedRequest, "this connection was made for another host")
	}
	if !r.loopback {
		switch {
		case x.client.secure:
			x.Header()["Strict-Transport-Security"] = r.hsts[:]
		case x.client.plain:
			return r.redirect(x, req)
		}
	}
	path := req.URL.Path
	if strings.Contains(path, wellKnown) {
		if d := w.documents[host][path]; d != nil {
			x.rec.Server = d.name
			return r.serveDocument(d, x, req)
		}
	}
	i := w.table.find(host, path)
	if i < 0 {
		return refuse(http.StatusNotFound, "there is nothing at this path")
	}
	route := &w.table.routes[i]
	x.rec.Server = route.Name
	if g := w.gates[i]; g != nil {
		return r.serveGated(g, x, req)
	}
	r.pass(route, x, req)
	return nil
}

// serveGated answers below a server's own prefix: its endpoints and its page.
func (r *Router) serveGated(g *gate, x *exchange, req *http.Request) error {
	rest := req.URL.Path[len(g.route.Prefix):]
	root := rest == "" || rest == "/"
	if root && isPage(req) {
		r.servePage(g, x, req)
		return nil
	}
	ch, ok := g.challenges[rest]
	if !ok {
		return r.former(g, x, req, rest)
	}
	answered, err := r.admit(g, ch, x, req)
	if answered || err != nil {
		return err
	}
	x.guest = x.conn.guest()
	x.guest.expect(perCall)
	if root {
		x.rewrite(req, g.route.Prefix+mcpPath)
	}
	r.pass(&g.route, x, req)
	return nil
}

// pass calls the route's handler with the prefix taken off.
func (r *Router) pass(route *Route, x *exchange, req *http.Request) {
	if route.Prefix != "" {
		x.rewrite(req, cmp.Or(req.URL.Path[len(route.Prefix):], "/"))
	}
	r.limitBody(x, req)
	route.Handler.ServeHTTP(x, req)
}

// panicked turns a handler's panic into a 500, and a log line with the stack.
func (r *Router) panicked(x *exchange, req *http.Request, value any) {
	if value == http.ErrAbortHandler { // a sentinel that is thrown, never wrapped
		// Somebody wants the connection broken without an answer. Over HTTP/2 that
		// cannot be had from here; an error must do.
		if conn, _, err := http.NewResponseController(x.ResponseWriter).Hijack(); err == nil {
			_ = conn.Close() // that was the point
			return
		}
	}
	r.reportPanic(x, value)
	r.writeError(x, req, refuse(http.StatusInternalServerError, "internal error"))
}

func (r *Router) reportPanic(x *exchange, value any) {
	r.log.Error("handler panicked", zap.String("request", x.rec.RequestID), zap.String("server", x.rec.Server),
		zap.Any("panic", value), zap.ByteString("stack", debug.Stack()))
}
