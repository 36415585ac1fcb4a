package router

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"
)

// gate guards one MCP endpoint. It is rebuilt with the table and never changes.
type gate struct {
	route      Route
	page       []byte                // what GET shows to a person
	challenges map[string]challenges // by gated path below the prefix
}

func newGate(route Route, page []byte, scopes []string) *gate {
	g := &gate{route: route, page: page, challenges: map[string]challenges{}}
	for path, at := range route.entries() {
		g.challenges[path] = newChallenges(metadataURL(route.at(at)), scopes)
	}
	// The root is the endpoint's other name, for clients that were configured without
	// a path. A redirect would not do for them: they compare the metadata's resource
	// with what they were given.
	g.challenges[""] = newChallenges(metadataURL(route.at("")), scopes)
	g.challenges["/"] = g.challenges[""]
	return g
}

// isPage reports whether a request of the root wants what a person sees. GET is a
// client's too, and then it wants a stream.
func isPage(req *http.Request) bool {
	switch req.Method {
	case http.MethodHead:
		return true
	case http.MethodGet:
		return !strings.Contains(req.Header.Get("Accept"), "text/event-stream")
	}
	return false
}

// former tells where what was at a path is now.
func (r *Router) former(g *gate, x *exchange, req *http.Request, path string) error {
	to, ok := g.route.Former[path]
	for end := path; !ok && end != ""; {
		end = end[:strings.LastIndexByte(end, '/')]
		to, ok = g.route.Former[end+"/"]
	}
	switch {
	case !ok:
		return refuse(http.StatusNotFound, "there is nothing at this path; the MCP endpoint of "+g.route.Name+" is "+g.route.Resource)
	case to == "":
		return refuse(http.StatusGone, "this path was another program's. The MCP endpoint of "+g.route.Name+" is "+g.route.Resource+"; people sign in at "+r.issuer)
	}
	if req.URL.RawQuery != "" {
		to += "?" + req.URL.RawQuery
	}
	x.Header().Set("Location", to)
	return refuse(http.StatusPermanentRedirect, "this has moved")
}

// admit lets the request through or says why not. The order matters: the origin
// first, because a hostile page must learn nothing; then the token, before method,
// headers or body are looked at, because clients of every age probe with requests
// that are wrong in other ways and look only for the challenge.
func (r *Router) admit(g *gate, ch challenges, x *exchange, req *http.Request) (answered bool, err error) {
	if r.anonymous && !isLoopback(x.rec.Host) {
		return false, refuse(http.StatusForbidden, "sign-in is switched off, so this is answered on the loopback interface only")
	}
	if values := req.Header["Origin"]; len(values) > 0 {
		if len(values) > 1 || !r.world.Load().origins.allowed(values[0]) {
			return false, refuse(http.StatusForbidden, "this web page may not talk to this server: its origin is not allowed")
		}
		allowOrigin(x.Header(), values[0])
	}
	if req.Method == http.MethodOptions {
		preflight(x, req)
		return true, nil
	}
	if r.anonymous {
		req.Header.Del("Authorization")
		return false, nil
	}
	return false, r.authenticate(g, ch, x, req)
}

// authenticate checks the token and takes it off the request: what is behind the
// gate has no use for it, and must not be able to pass it on (MCP security best
// practices, token passthrough).
func (r *Router) authenticate(g *gate, ch challenges, x *exchange, req *http.Request) error {
	token, err := bearer(req.Header)
	switch {
	case errors.Is(err, errNoToken):
		return r.challenge(x, ch.none, http.StatusUnauthorized,
			"this is the MCP endpoint of "+g.route.Name+". MCP clients sign in and call again with a token; for people there is "+g.pageURL())
	case errors.Is(err, errTwoTokens):
		return r.challenge(x, ch.twice, http.StatusBadRequest, "send one Authorization header")
	case err != nil:
		return r.challenge(x, ch.bad, http.StatusUnauthorized, "the Authorization header is not of the form: Bearer TOKEN")
	}
	if r.verify == nil {
		return &Error{Status: http.StatusServiceUnavailable, Message: "tokens cannot be checked", Cause: errors.New("router has no Verify")}
	}
	epoch := r.present.epoch.Load()
	if x.held, err = r.recognise(g, ch, x, req, token); err != nil {
		return err
	}
	req.Header.Del("Authorization")
	x.principal, x.metadata = &x.held, ch.metadata
	r.present.enter(x)
	if r.present.epoch.Load() != epoch { // somebody was shown out meanwhile
		if _, err := r.recognise(g, ch, x, req, token); err != nil {
			return err
		}
	}
	return r.admitPerson(x)
}

// recognise finds out who holds the token, or says what to do.
func (r *Router) recognise(g *gate, ch challenges, x *exchange, req *http.Request, token string) (Principal, error) {
	who, err := r.verify(req.Context(), token, g.route.Resource)
	switch {
	case errors.Is(err, ErrInvalidToken):
		r.log.Debug("token refused", zap.String("request", x.rec.RequestID), zap.String("server", g.route.Name), zap.Error(err))
		return who, r.challenge(x, ch.bad, http.StatusUnauthorized,
			"the token is unknown, expired or revoked, or it was made for another server: sign in again")
	case errors.Is(err, ErrInsufficientScope), err == nil && !covers(who.Scopes, r.scopes):
		return who, r.challenge(x, ch.scope, http.StatusForbidden, "the token does not cover the scope that this server needs")
	case err != nil:
		x.Header().Set("Retry-After", "1")
		return who, &Error{Status: http.StatusServiceUnavailable, Message: "the token cannot be checked right now", Cause: err}
	}
	return who, nil
}

func (r *Router) challenge(x *exchange, value []string, status int, message string) error {
	x.Header()["Www-Authenticate"] = value
	return refuse(status, message)
}

// pageURL is where a person reads about the server.
func (g *gate) pageURL() string { return g.route.Resource[:len(g.route.Resource)-len("mcp")] }

func covers(have, need []string) bool {
	for _, s := range need {
		if !slices.Contains(have, s) {
			return false
		}
	}
	return true
}
