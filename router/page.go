package router

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page and its style
	"encoding/base64"
	"html/template"
	"net/http"
	"strconv"
)

//go:embed assets/page.html
var pageSource string

//go:embed assets/page.css
var pageStyle string

// renderPage makes the page of one server. It depends on nothing in the request,
// so it is made once per table and served as bytes.
func (r *Router) renderPage(route Route) []byte {
	t, err := template.New("page").Parse(pageSource)
	if err != nil {
		return nil // the template is part of the program and a test renders it
	}
	var b bytes.Buffer
	err = t.Execute(&b, struct {
		Name, URL string
		SignIn    bool
		Style     template.CSS
	}{route.Name, route.Resource, !r.anonymous, template.CSS(pageStyle)})
	if err != nil {
		return nil
	}
	return b.Bytes()
}

// servePage shows a person what this address is. No script, no form, no frame and
// no other origin: the policy allows the one style sheet, by its hash.
func (r *Router) servePage(g *gate, x *exchange, req *http.Request) {
	h := x.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src '"+styleHash()+"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Length", strconv.Itoa(len(g.page)))
	x.WriteHeader(http.StatusOK)
	if req.Method != http.MethodHead {
		_, _ = x.Write(g.page) // a client that left is no news
	}
}

// styleHash is a CSP source expression (CSP level 3 §2.3.1).
func styleHash() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
