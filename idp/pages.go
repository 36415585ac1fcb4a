package idp

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
)

//go:embed assets
var assets embed.FS

// pages are the issuer's pages. They are complete in themselves: no other request, the style inline and named by its
// hash in the policy. Where there are passkeys there is a script, for nothing but them.
type pages struct {
	host, styleHash, scriptHash string
	css                         template.CSS
	script                      template.JS

	login, second, link, consent, device, account, app, recovery, identity, logout, message *page
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// form is what every page with a form has.
type form struct {
	CSRF   string
	Req    string // the sealed request that the form belongs to
	leaves bool   // submitting it may end in a redirect to a client
}

func (f form) leavesHere() bool { return f.leaves }

// messagePage says something, and that is all.
type messagePage struct{ Title, Text string }

// page is one of them.
type page struct {
	set   *pages
	title string
	t     *template.Template
}

func newPages(host string) (*pages, error) {
	css, err := assets.ReadFile("assets/style.css")
	if err != nil {
		return nil, fmt.Errorf("cannot read pages: %w", err)
	}
	script, err := assets.ReadFile("assets/passkey.js")
	if err != nil {
		return nil, fmt.Errorf("cannot read pages: %w", err)
	}
	s := &pages{host: host, css: template.CSS(css), styleHash: hashOf(css), script: template.JS(script), scriptHash: hashOf(script)}
	for _, p := range []struct {
		to          **page
		file, title string
	}{
		{&s.login, "login", "Sign in"},
		{&s.second, "second", "Second step"},
		{&s.link, "link", "Sign in"},
		{&s.consent, "consent", "Connect a program"},
		{&s.device, "device", "Connect a device"},
		{&s.account, "account", "Your account"},
		{&s.app, "app", "App for codes"},
		{&s.identity, "identity", "Link an identity"},
		{&s.recovery, "recovery", "Recovery codes"},
		{&s.logout, "logout", "Sign out"},
		{&s.message, "message", "Sign-in"},
	} {
		t, err := template.ParseFS(assets, "assets/layout.html", "assets/setup.html", "assets/"+p.file+".html")
		if err != nil {
			return nil, fmt.Errorf("cannot parse page: %w", err)
		}
		*p.to = &page{set: s, title: p.title, t: t}
	}
	return s, nil
}

// protect sets the headers that every answer to a browser has, redirects too.
func (s *pages) protect(h http.Header) {
	h.Set("Content-Security-Policy", s.policy(false, false))
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
}

// policy lets a page do nothing but show itself and be submitted. A form that may lead on
// to a client cannot name where to: Chromium holds form-action against every redirect that follows, those
// that the client's own page makes too, and nobody can list them. Nothing on such a page can become a form of
// somebody else's: all of it is escaped, and the submission needs the form token.
func (s *pages) policy(leaves, scripted bool) string {
	p := "default-src 'none'; style-src 'sha256-" + s.styleHash + "'; base-uri 'none'; frame-ancestors 'none'"
	if scripted {
		p += "; script-src 'sha256-" + s.scriptHash + "'"
	}
	if !leaves {
		p += "; form-action 'self'"
	}
	return p
}

// show writes the page. It is complete before the first byte leaves, so that an error can still be one.
func (p *page) show(w http.ResponseWriter, status int, data any) error {
	title := p.title
	if m, ok := data.(messagePage); ok {
		title = m.Title
	}
	var leaves, scripted bool
	if f, ok := data.(interface{ leavesHere() bool }); ok {
		leaves = f.leavesHere()
	}
	if f, ok := data.(interface{ scripted() bool }); ok {
		scripted = f.scripted()
	}
	script := p.set.script
	if !scripted {
		script = ""
	}
	var b bytes.Buffer
	err := p.t.ExecuteTemplate(&b, "layout.html", struct {
		Title, Host string
		CSS         template.CSS
		Script      template.JS
		Page        any
	}{title, p.set.host, p.set.css, script, data})
	if err != nil {
		return fmt.Errorf("cannot render page: %w", err)
	}
	h := w.Header()
	h.Set("Content-Security-Policy", p.set.policy(leaves, scripted))
	h.Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a person who left is no error
	return nil
}
