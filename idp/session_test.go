package idp_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpd/mcpd/idp"
)

// On https the cookies are __Host- and Secure.
func TestHostCookies(t *testing.T) {
	store, err := idp.OpenStore(filepath.Join(t.TempDir(), "mcpd.db"))
	if err != nil {
		t.Fatal(err)
	}
	i, err := idp.New(t.Context(), idp.Options{
		Issuer: "https://auth.example", Config: idp.DefaultConfig(), Store: store,
		Resource: func(string) (string, string, bool) { return "", "", false }, Allowed: func(string, idp.User) bool { return false },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	w := httptest.NewRecorder()
	i.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "https://auth.example/login", nil))
	c := w.Result().Cookies()
	if w.Code != 200 || len(c) != 1 || c[0].Name != "__Host-mcpd_browser" || !c[0].Secure || !c[0].HttpOnly || c[0].Path != "/" || c[0].Domain != "" || c[0].SameSite != http.SameSiteLaxMode {
		t.Fatalf("%d %v", w.Code, c)
	}
}

// A person who is signed in already, or meanwhile, is not asked again; and can become somebody else.
func TestSwitch(t *testing.T) {
	h := newHouse(t)
	a := h.registered(loopback)
	p := h.user("alice")
	login := p.browse(a.ask(nil)).wants(200)
	p.signIn()
	if g := login.press("signin", url.Values{"username": {"x"}, "password": {"y"}}); g.status != 403 {
		t.Fatalf("a form from before the sign-in: %d", g.status)
	}
	consent := p.get(login.at.String()).wants(303).follow().says("Test App wants to use alpha")
	if g := p.get(h.url + "/login").wants(303); g.location().Path != "/account" {
		t.Fatal(g.location())
	}
	if g := consent.press("switch", nil).wants(303).follow(); g.byID("signin") == nil {
		t.Fatalf("no sign-in after switch: %s", g.body)
	}
	consent.press("allow", nil).wants(403) // of alice, who is not there any more
	if strings.Contains(p.cookie("mcpd_session"), "=") {
		t.Fatal("the session is still there")
	}
}
