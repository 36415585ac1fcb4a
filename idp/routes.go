package idp

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"
)

// Paths of the issuer. They are the defaults that MCP 2025-03-26 clients assume when they find no metadata.
const (
	pathMetadata   = "/.well-known/oauth-authorization-server"
	pathOpenID     = "/.well-known/openid-configuration"
	pathKeys       = "/jwks"
	pathAuthorize  = "/authorize"
	pathContinue   = "/authorize/continue"
	pathToken      = "/token"
	pathRegister   = "/register"
	pathRevoke     = "/revoke"
	pathPush       = "/par"
	pathIntrospect = "/introspect"
	pathDevice     = "/device"

	pathDeviceAuthorization = "/device_authorization"

	pathUserinfo = "/userinfo"
	pathLogin    = "/login"
	pathWith     = "/login/with/" // and the name of a provider: to there
	pathFrom     = "/login/from/" // and back
	pathSecond   = "/login/second"
	pathPasskey  = "/login/passkey"
	pathLink     = "/signin"
	pathConsent  = "/consent"
	pathAccount  = "/account"
	pathLogout   = "/logout"
	pathEnd      = "/end_session"
)

// Paths lists the first segments of the issuer's paths: no server may have such a name where both share a host.
func Paths() []string {
	return []string{".well-known", "account", "authorize", "consent", "device", "device_authorization", "end_session", "favicon.ico", "introspect", "jwks", "login", "logout", "par", "register", "revoke", "signin", "token", "userinfo"}
}

// class says who may call a route, and with that which defences it has.
type class int

const (
	// browser is for a person: cookies, a content security policy, and a POST from a page of ours only.
	browser class = iota
	// arrival is for a person whom a client sends: as browser, but a POST may come from anywhere.
	arrival
	// open is for programs, in web pages too: any origin may read it, and no cookie is looked at.
	open
)

type handler func(w http.ResponseWriter, r *http.Request) error

type route struct {
	pattern string // of http.ServeMux, without the method
	class   class
	methods map[string]handler
}

func (i *Issuer) table() []route {
	get := func(h handler) map[string]handler { return map[string]handler{http.MethodGet: h} }
	post := func(h handler) map[string]handler { return map[string]handler{http.MethodPost: h} }
	form := func(show, take handler) map[string]handler {
		return map[string]handler{http.MethodGet: show, http.MethodPost: take}
	}
	all := []route{
		{pathMetadata, open, get(i.serveMetadata)},
		{pathMetadata + "/", open, get(i.serveMetadata)}, // path-inserted, by clients that take a server's URL for the issuer
		{pathOpenID, open, get(i.serveMetadata)},
		{pathOpenID + "/", open, get(i.serveMetadata)},
		{pathKeys, open, get(i.serveKeys)},
		{pathRegister, open, post(i.serveRegister)},
		{pathRegister + "/{client}", open, map[string]handler{http.MethodGet: i.serveRegistration, http.MethodPut: i.serveReregister, http.MethodDelete: i.serveUnregister}},
		{pathToken, open, post(i.serveForm)},
		{pathRevoke, open, post(i.serveForm)},
		{pathIntrospect, open, post(i.serveForm)},
		{pathPush, open, post(i.servePush)},
		{pathUserinfo, open, map[string]handler{http.MethodGet: i.serveUserinfo, http.MethodPost: i.serveUserinfo}},

		{pathAuthorize, arrival, form(i.serveAuthorize, i.serveAuthorize)},
		{pathContinue, browser, get(i.serveContinue)},
		{pathLogin, browser, form(i.serveLogin, i.serveSignIn)},
		{pathWith + "{provider}", browser, get(i.serveWith)},
		{pathFrom + "{provider}", browser, get(i.serveFrom)},
		{pathSecond, browser, form(i.serveSecond, i.serveSecondStep)},
		{pathPasskey, browser, post(i.servePasskey)},
		{pathLink, browser, form(i.serveLink, i.serveUseLink)},
		{pathConsent, browser, form(i.serveConsent, i.serveDecision)},
		{pathAccount, browser, get(i.serveAccount)},
		{pathAccount + "/disconnect", browser, post(i.mine(i.serveDisconnect))},
		{pathAccount + "/session", browser, post(i.mine(i.serveEndOther))},
		{pathAccount + "/everywhere", browser, post(i.mine(i.serveEverywhere))},
		{pathAccount + "/password", browser, post(i.mineFresh(i.serveNewPassword))},
		{pathAccount + "/passkey", browser, post(i.mineFresh(i.serveNewPasskey))},
		{pathAccount + "/factor", browser, post(i.mineFresh(i.serveRemoveFactor))},
		{pathAccount + "/app", browser, form(i.serveApp, i.mineFresh(i.serveNewApp))},
		{pathAccount + "/recovery", browser, post(i.mineFresh(i.serveRecovery))},
		{pathAccount + "/identity", browser, post(i.mine(i.serveLinkIdentity))},
		{pathAccount + "/unlink", browser, post(i.mine(i.serveUnlink))},
		{pathEnd, arrival, form(i.serveEndSession, i.serveEndSession)},
		{pathLogout, browser, form(i.serveLogout, i.serveSignOut)},
		{"/favicon.ico", browser, get(serveIcon)},
		{"/{$}", browser, get(func(w http.ResponseWriter, r *http.Request) error {
			http.Redirect(w, r, pathAccount, http.StatusSeeOther)
			return nil
		})},
		{"/", browser, get(func(http.ResponseWriter, *http.Request) error {
			return &shown{status: http.StatusNotFound, title: "There is nothing here", text: "The address is not one of this sign-in service."}
		})},
	}
	if i.config.Device {
		all = append(all, route{pathDeviceAuthorization, open, post(i.serveDeviceAuthorization)}, route{pathDevice, browser, form(i.serveDevice, i.serveDeviceDecision)})
	}
	return all
}

func (i *Issuer) routes() http.Handler {
	mux := http.NewServeMux()
	for _, route := range i.table() {
		serve := i.forBrowser(route)
		if route.class == open {
			serve = i.forPrograms(route)
		}
		mux.Handle(route.pattern, serve)
	}
	return mux
}

// maxForm bounds what is read of any request, in bytes.
const maxForm = 64 << 10

func (r route) handler(method string) (handler, bool) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	h, ok := r.methods[method]
	return h, ok
}

// allow lists the methods for the Allow header.
func (r route) allow(more ...string) string {
	for m := range r.methods {
		more = append(more, m)
		if m == http.MethodGet {
			more = append(more, http.MethodHead)
		}
	}
	slices.Sort(more)
	return strings.Join(more, ", ")
}

func (i *Issuer) forBrowser(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		i.pages.protect(w.Header())
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		h, ok := rt.handler(r.Method)
		if !ok {
			w.Header().Set("Allow", rt.allow())
			i.showError(w, r, &shown{status: http.StatusMethodNotAllowed, title: "This is not possible here", text: "The address does not take this kind of request."})
			return
		}
		if rt.class != arrival {
			if err := i.origins.Check(r); err != nil {
				i.showError(w, r, &shown{status: http.StatusForbidden, title: "This came from another page", text: "For your safety, forms are taken from our own pages only. Open the page here and try again.", cause: err})
				return
			}
		}
		if err := h(w, r); err != nil {
			i.showError(w, r, err)
		}
	}
}

// showError is where every error of a browser route ends: what the person may know goes onto a page, the rest into the log.
func (i *Issuer) showError(w http.ResponseWriter, r *http.Request, err error) {
	var page *shown
	if !errors.As(err, &page) {
		if r.Context().Err() == nil {
			i.log.Error("cannot serve page", zap.String("path", r.URL.Path), zap.Error(err))
		}
		page = &shown{status: http.StatusInternalServerError, title: "Something went wrong here", text: "It is not your fault. Try again in a moment; the administrator finds the reason in mcpd's log."}
	}
	if err := i.pages.message.show(w, page.status, messagePage{Title: page.title, Text: page.text}); err != nil {
		i.log.Error("cannot show error page", zap.Error(err))
	}
}

func (i *Issuer) forPrograms(rt route) http.HandlerFunc {
	allow := rt.allow(http.MethodOptions)
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*") // and never with credentials
		h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After")
		h.Set("X-Content-Type-Options", "nosniff")
		if r.Method == http.MethodOptions {
			h.Set("Access-Control-Allow-Methods", allow)
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, MCP-Protocol-Version")
			h.Set("Access-Control-Max-Age", "600")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		serve, ok := rt.handler(r.Method)
		if !ok {
			h.Set("Allow", allow)
			writeJSON(w, http.StatusMethodNotAllowed, apiError{Code: codeInvalidRequest, Text: "this endpoint takes " + rt.allow()})
			return
		}
		err := serve(w, r)
		if err == nil {
			return
		}
		var e *apiError
		if !errors.As(err, &e) {
			if r.Context().Err() == nil {
				i.log.Error("cannot serve request", zap.String("path", r.URL.Path), zap.Error(err))
			}
			e = &apiError{status: http.StatusInternalServerError, Code: codeServerError, Text: "the server could not do it; its log says why"}
		}
		writeJSON(w, e.status, *e)
	}
}

// serveIcon says that there is none, so that browsers stop asking.
func serveIcon(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Cache-Control", "public, max-age=86400")
	w.WriteHeader(http.StatusNoContent)
	return nil
}
