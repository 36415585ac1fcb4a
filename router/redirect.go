package router

import (
	"net/http"
	"strconv"
	"strings"
)

// ToHTTPS answers on the plain listener beside TLS: it sends people and programs to
// the same address with https, and tells who asks for a foreign host nothing.
func (r *Router) ToHTTPS() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { r.answer((*Router).redirect, w, req) })
}

// redirect keeps method and body (308, RFC 9110 §15.4.9): clients whose address says
// http call with POST. It looks at the host only; what is at the path is told with TLS.
func (r *Router) redirect(x *exchange, req *http.Request) error {
	host, ok := normalHost(req.Host)
	if !ok || !r.world.Load().table.Has(host) {
		return errForeignHost()
	}
	x.rec.Host = host
	if !strings.HasPrefix(req.URL.Path, "/") { // CONNECT, OPTIONS *
		return refuse(http.StatusNotFound, "there is nothing at this path")
	}
	if r.port != 0 && r.port != 443 {
		host += ":" + strconv.Itoa(r.port)
	}
	x.Header().Set("Location", "https://"+host+req.URL.RequestURI())
	return refuse(http.StatusPermanentRedirect, "this is served with https: https://"+host)
}

// errForeignHost is the same for a foreign name and for one below our own domain: who
// asks learns nothing about which servers exist (RFC 9110 §15.5.20).
func errForeignHost() error {
	return refuse(http.StatusMisdirectedRequest, "this host is not served here")
}
