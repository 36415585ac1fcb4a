package idp_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/mcpd/mcpd/idp"
)

// house is an issuer on a real listener, with two servers behind it, and a clock that tests can turn.
type house struct {
	testing.TB
	issuer *idp.Issuer
	store  idp.Store
	url    string
	still  atomic.Pointer[time.Time]
	ahead  atomic.Int64 // nanoseconds
	banned atomic.Pointer[string]
	more   atomic.Pointer[string] // one more resource, of server alpha

	front    atomic.Pointer[http.Handler] // serves in the issuer's place
	programs *http.Client                 // of the clients; nil: http.DefaultClient
}

func newHouse(t testing.TB, change ...func(*idp.Options)) *house {
	t.Helper()
	h := &house{TB: t}
	server := httptest.NewUnstartedServer(nil)
	h.url = "http://" + server.Listener.Addr().String()
	store, err := idp.OpenStore(filepath.Join(t.TempDir(), "mcpd.db"))
	if err != nil {
		t.Fatal(err)
	}
	h.store = store
	o := idp.Options{
		Issuer: h.url, Config: idp.DefaultConfig(), Store: store, Loopback: true, Now: h.now,
		Resource: func(r string) (string, string, bool) {
			switch r {
			case h.resource("alpha"), strings.TrimSuffix(h.resource("alpha"), "/mcp"):
				return h.resource("alpha"), "alpha", true
			case h.resource("beta"):
				return r, "beta", true
			}
			if more := h.more.Load(); more != nil && *more == r {
				return r, "alpha", true
			}
			return "", "", false
		},
		Allowed: func(server string, u idp.User) bool {
			b := h.banned.Load()
			return b == nil || *b != u.Name
		},
	}
	for _, c := range change {
		c(&o)
	}
	if h.issuer, err = idp.New(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	own := h.issuer.Handler()
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if front := h.front.Load(); front != nil {
			(*front).ServeHTTP(w, r)
			return
		}
		own.ServeHTTP(w, r)
	})
	server.Start()
	t.Cleanup(func() {
		server.Close()
		if err := h.issuer.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// now is the issuer's clock: it stands still once it was told to, and later moves it on.
func (h *house) now() time.Time {
	now := time.Now()
	if at := h.still.Load(); at != nil {
		now = *at
	}
	return now.Add(time.Duration(h.ahead.Load()))
}

func (h *house) stopClock() {
	now := time.Now()
	h.still.Store(&now)
}

func (h *house) later(d time.Duration)         { h.ahead.Add(int64(d)) }
func (h *house) resource(server string) string { return h.url + "/" + server + "/mcp" }

// extra makes one more URL a resource.
func (h *house) extra(resource string) { h.more.Store(&resource) }

// user makes a person without a password: hashing one takes long, and most tests need none.
func (h *house) user(name string) *person {
	h.Helper()
	if _, err := h.issuer.CreateUser(h.Context(), name, ""); err != nil {
		h.Fatal(err)
	}
	p := h.stranger()
	p.name = name
	return p
}

// signedIn makes a person and signs their browser in, by link.
func (h *house) signedIn(name string) *person {
	h.Helper()
	p := h.user(name)
	p.signIn()
	return p
}

// person is somebody at a browser.
type person struct {
	*house
	name string
	http *http.Client
}

func (h *house) stranger() *person {
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.Fatal(err)
	}
	return &person{house: h, http: &http.Client{
		Jar: jar, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (p *person) signIn() {
	p.Helper()
	link, err := p.issuer.SignInLink(p.Context(), p.name, time.Minute)
	if err != nil {
		p.Fatal(err)
	}
	page := p.get(link)
	page.wants(200)
	page.press("continue", nil).wants(303)
}

// page is an answer, with the form on it if there is one.
type page struct {
	*person
	status int
	header http.Header
	at     *url.URL
	body   string
	root   *html.Node
}

func (p *person) do(method, to string, form url.Values, header http.Header) *page {
	p.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(p.Context(), method, to, body)
	if err != nil {
		p.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	maps.Copy(r.Header, header)
	resp, err := p.http.Do(r)
	if err != nil {
		p.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.Fatal(err)
	}
	root, err := html.Parse(bytes.NewReader(b))
	if err != nil {
		p.Fatal(err)
	}
	return &page{person: p, status: resp.StatusCode, header: resp.Header, at: r.URL, body: string(b), root: root}
}

func (p *person) get(to string) *page { p.Helper(); return p.do("GET", to, nil, nil) }

// browse follows redirects as long as they stay with the issuer.
func (p *person) browse(to string) *page {
	p.Helper()
	return p.get(to).follow()
}

func (g *page) follow() *page {
	g.Helper()
	for range 10 {
		to := g.location()
		if to == nil || !strings.HasPrefix(to.String(), g.url+"/") {
			return g
		}
		g = g.get(to.String())
	}
	g.Fatal("redirects without end")
	return nil
}

func (g *page) location() *url.URL {
	g.Helper()
	l := g.header.Get("Location")
	if l == "" {
		return nil
	}
	u, err := g.at.Parse(l)
	if err != nil {
		g.Fatal(err)
	}
	return u
}

func (g *page) wants(status int) *page {
	g.Helper()
	if g.status != status {
		g.Fatalf("%s: status %d, want %d: %s", g.at.Path, g.status, status, g.body)
	}
	return g
}

func (g *page) says(text string) *page {
	g.Helper()
	if !strings.Contains(g.text(g.root), text) {
		g.Fatalf("%s does not say %q: %s", g.at.Path, text, g.text(g.root))
	}
	return g
}

func (g *page) text(n *html.Node) string {
	if n.Type == html.TextNode {
		return n.Data
	}
	var b strings.Builder
	for c := range n.ChildNodes() {
		b.WriteString(g.text(c))
	}
	return b.String()
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func (g *page) byID(id string) *html.Node {
	for n := range g.root.Descendants() {
		if n.Type == html.ElementNode && attr(n, "id") == id {
			return n
		}
	}
	return nil
}

// form collects what pressing a button would send.
func (g *page) form(button string, fields url.Values) (action string, form url.Values) {
	g.Helper()
	b := g.byID(button)
	if b == nil {
		g.Fatalf("%s has no #%s: %s", g.at.Path, button, g.body)
	}
	f := b.Parent
	for f != nil && f.Data != "form" {
		f = f.Parent
	}
	if f == nil {
		g.Fatalf("#%s is in no form", button)
	}
	form = url.Values{}
	for n := range f.Descendants() {
		if n.Type == html.ElementNode && n.Data == "input" {
			form.Set(attr(n, "name"), attr(n, "value"))
		}
	}
	if name := attr(b, "name"); name != "" {
		form.Set(name, attr(b, "value"))
	}
	maps.Copy(form, fields)
	to, err := g.at.Parse(attr(f, "action"))
	if err != nil {
		g.Fatal(err)
	}
	return to.String(), form
}

// press sends the form as a browser would from a page of ours.
func (g *page) press(button string, fields url.Values) *page {
	g.Helper()
	action, form := g.form(button, fields)
	return g.do("POST", action, form, http.Header{"Sec-Fetch-Site": {"same-origin"}})
}

// app is a client program.
type app struct {
	*house
	id, redirect string
	verifier     string
}

// registered registers a public client with one redirect URI.
func (h *house) registered(redirect string) *app {
	h.Helper()
	status, out := h.postJSON("/register", map[string]any{"client_name": "Test App", "redirect_uris": []string{redirect}, "token_endpoint_auth_method": "none"})
	if status != 201 {
		h.Fatalf("register: %d %v", status, out)
	}
	return &app{house: h, id: out["client_id"].(string), redirect: redirect, verifier: rand.Text() + rand.Text()}
}

func (h *house) postJSON(path string, v any) (int, map[string]any) {
	h.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		h.Fatal(err)
	}
	resp, err := http.Post(h.url+path, "application/json", bytes.NewReader(b))
	if err != nil {
		h.Fatal(err)
	}
	defer resp.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		h.Fatal(err)
	}
	return resp.StatusCode, out
}

func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// ask is a good authorization request, with changes: a nil value removes a parameter.
func (a *app) ask(changes url.Values) string {
	q := url.Values{
		"client_id": {a.id}, "redirect_uri": {a.redirect}, "response_type": {"code"}, "state": {"st&te <1>"}, "scope": {"mcp"},
		"code_challenge": {challenge(a.verifier)}, "code_challenge_method": {"S256"}, "resource": {a.resource("alpha")},
	}
	for k, v := range changes {
		if v == nil {
			q.Del(k)
		} else {
			q[k] = v
		}
	}
	return a.url + "/authorize?" + q.Encode()
}

// answer reads the redirect back to the client.
func (g *page) answer() url.Values {
	g.Helper()
	to := g.location()
	if to == nil || strings.HasPrefix(to.String(), g.url+"/") {
		g.Fatalf("%s: no redirect to a client: %d %s", g.at.Path, g.status, g.body)
	}
	return to.Query()
}

// code takes a signed-in person through the whole flow.
func (a *app) code(p *person, changes url.Values) string {
	a.Helper()
	g := p.browse(a.ask(changes))
	if g.byID("allow") != nil {
		g = g.press("allow", nil)
	}
	q := g.answer()
	if q.Get("code") == "" || q.Get("iss") != a.url {
		a.Fatalf("no code, or not from here: %v", q)
	}
	return q.Get("code")
}

type tokens struct {
	status  int
	header  http.Header
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	ID      string `json:"id_token"`
	Type    string `json:"token_type"`
	Expires int    `json:"expires_in"`
	Scope   string `json:"scope"`
	Error   string `json:"error"`
	Text    string `json:"error_description"`
}

func (t tokens) wants(h *house, status int, code string) tokens {
	h.Helper()
	if t.status != status || t.Error != code {
		h.Fatalf("token endpoint: %d %q %q, want %d %q", t.status, t.Error, t.Text, status, code)
	}
	return t
}

func (h *house) postForm(path string, form url.Values, header http.Header) (int, http.Header, []byte) {
	h.Helper()
	r, err := http.NewRequestWithContext(h.Context(), "POST", h.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		h.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	maps.Copy(r.Header, header)
	client := h.programs
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(r)
	if err != nil {
		h.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.Fatal(err)
	}
	return resp.StatusCode, resp.Header, b
}

func (h *house) token(form url.Values) tokens {
	h.Helper()
	status, header, b := h.postForm("/token", form, nil)
	t := tokens{status: status, header: header}
	if err := json.Unmarshal(b, &t); err != nil {
		h.Fatalf("%d %s: %v", status, b, err)
	}
	return t
}

func (a *app) redeem(code string, changes url.Values) tokens {
	a.Helper()
	f := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "client_id": {a.id}, "redirect_uri": {a.redirect},
		"code_verifier": {a.verifier}, "resource": {a.resource("alpha")},
	}
	for k, v := range changes {
		if v == nil {
			f.Del(k)
		} else {
			f[k] = v
		}
	}
	return a.token(f)
}

func (a *app) refresh(token string, changes url.Values) tokens {
	a.Helper()
	f := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {a.id}}
	maps.Copy(f, changes)
	return a.token(f)
}

// good and bad check a token at a server.
func (h *house) good(token, server string) idp.Grant {
	h.Helper()
	g, err := h.issuer.Verify(h.Context(), token, h.resource(server))
	if err != nil {
		h.Fatalf("token is not good at %s: %v", server, err)
	}
	return g
}

func (h *house) bad(token, server string) {
	h.Helper()
	if _, err := h.issuer.Verify(h.Context(), token, h.resource(server)); err == nil {
		h.Fatalf("token is good at %s", server)
	}
}

const loopback = "http://127.0.0.1:1234/callback"

// The library logs to the process's default logger, which a program sets once; here nobody reads it.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	if config := os.Getenv(crashingIssuer); config != "" {
		fmt.Fprintln(os.Stderr, serveAndCrash(config)) // it serves until it is killed
		return
	}
	m.Run()
}
