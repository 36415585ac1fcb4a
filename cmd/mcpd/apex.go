package main

import (
	"bytes"
	"html/template"
	"net/http"
	"strings"
)

// apex answers at the domain itself. It says what this is, and nothing that is not
// public: no server's name, nobody's either.
type apex struct {
	d    *daemon
	page []byte
}

var apexPage = template.Must(template.New("apex").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>MCP servers of {{.Domain}}</title>
<h1>MCP servers of {{.Domain}}</h1>
<p>Each server has an address of its own, <code>{{.Server}}</code>. Whoever runs this can tell you their names.
{{- with .Issuer}} Programs send you to <code>{{.}}</code> to sign in.{{end}}
</html>
`))

func (d *daemon) newApex() (http.Handler, error) {
	a := &apex{d: d}
	issuer := ""
	if d.issuer != nil {
		issuer = d.urls.issuer()
	}
	var b bytes.Buffer
	if err := apexPage.Execute(&b, struct{ Domain, Server, Issuer string }{d.urls.domain, d.urls.server("NAME"), issuer}); err != nil {
		return nil, err
	}
	a.page = b.Bytes()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.servePage)
	mux.HandleFunc("/servers/{name}/{entry}", a.serveFormer)
	return mux, nil
}

func (a *apex) servePage(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	_, _ = w.Write(a.page) // a client that left is no news
}

// serveFormer sends clients that are still configured for a bridge with paths, as
// mcp-proxy has them, to the server's own host; 308 keeps method and body.
func (a *apex) serveFormer(w http.ResponseWriter, r *http.Request) {
	t := a.d.world.Load().tenant(r.PathValue("name"))
	entry := r.PathValue("entry")
	if t == nil || entry != "mcp" && !(entry == "sse" && t.cfg.Bridge.SSE) {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Location", strings.TrimSuffix(t.url, "mcp")+entry)
	w.WriteHeader(http.StatusPermanentRedirect)
}
