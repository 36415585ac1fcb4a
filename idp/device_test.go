package idp_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpd/mcpd/idp"
)

func withDevices(o *idp.Options) { o.Config.Device = true }

// device is a program that asks for a sign-in on another device.
type device struct {
	*app
	code, user, complete string
}

func (a *app) device(changes url.Values) (int, device, map[string]any) {
	a.Helper()
	f := url.Values{"client_id": {a.id}, "scope": {"mcp"}, "resource": {a.resource("alpha")}}
	for k, v := range changes {
		if f[k] = v; v == nil {
			f.Del(k)
		}
	}
	status, _, b := a.postForm("/device_authorization", f, nil)
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		a.Fatalf("%d %s", status, b)
	}
	d := device{app: a}
	d.code, _ = out["device_code"].(string)
	d.user, _ = out["user_code"].(string)
	d.complete, _ = out["verification_uri_complete"].(string)
	return status, d, out
}

func (d device) poll(changes url.Values) tokens {
	d.Helper()
	f := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {d.code}, "client_id": {d.id}}
	for k, v := range changes {
		f[k] = v
	}
	return d.token(f)
}

// A program without a browser: it shows a code, the person types it elsewhere, and it gets tokens, once.
func TestDevice(t *testing.T) {
	h := newHouse(t, withDevices)
	a, other := h.registered(loopback), h.registered(loopback)
	status, d, out := a.device(url.Values{"scope": {"mcp openid"}})
	if status != 200 || !regexp.MustCompile(`^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$`).MatchString(d.user) || !strings.HasPrefix(d.code, "mcpd_dc_") ||
		out["verification_uri"] != h.url+"/device" || d.complete != h.url+"/device?user_code="+d.user || out["expires_in"] != 600.0 || out["interval"] != 5.0 {
		t.Fatalf("%d %v", status, out)
	}
	d.poll(nil).wants(h, 400, "authorization_pending")
	d.poll(nil).wants(h, 400, "slow_down")
	h.later(5 * time.Second)
	d.poll(nil).wants(h, 400, "authorization_pending")
	device{app: other, code: d.code}.poll(nil).wants(h, 400, "invalid_grant")
	device{app: a, code: "mcpd_dc_x"}.poll(nil).wants(h, 400, "invalid_grant")
	d.poll(url.Values{"resource": {h.resource("beta")}}).wants(h, 400, "invalid_target")

	// The person comes without a session, signs in, and is back with the code; typed in any way it is found.
	if _, err := h.issuer.CreateUser(t.Context(), "alice", "correct horse"); err != nil {
		t.Fatal(err)
	}
	p := h.stranger()
	login := p.browse(d.complete).wants(200).says("A device wants")
	g := login.press("signin", url.Values{"username": {"alice"}, "password": {"correct horse"}}).wants(303).follow().wants(200)
	g.says(d.user).says("Test App").says("started this yourself")
	p.get(h.url + "/device").wants(200).says("Type the code")
	p.get(h.url + "/device?user_code=" + strings.ToLower(strings.ReplaceAll(d.user, "-", "+"))).wants(200).says(d.user)
	g.press("allow", nil).wants(200).says("connected")
	g.press("deny", nil).wants(404).says("No device") // once decided, it stays so

	all := make([]tokens, 10)
	var wg sync.WaitGroup
	for k := range all {
		wg.Go(func() { all[k] = d.poll(nil) })
	}
	wg.Wait()
	won := tokens{}
	for _, got := range all {
		if got.status != 200 {
			got.wants(h, 400, "invalid_grant")
		} else if won.Access != "" {
			t.Error("redeemed twice")
		} else {
			won = got
		}
	}
	if g := h.good(won.Access, "alpha"); g.UserName != "alice" || g.ClientID != a.id {
		t.Errorf("%+v", g)
	}
	if won.ID == "" || won.Refresh == "" {
		t.Errorf("%+v", won)
	}
	a.refresh(won.Refresh, nil).wants(h, 200, "")
	p.get(h.url + "/account").wants(200).says("Test App")
	if !strings.Contains(h.stranger().get(h.url+"/.well-known/openid-configuration").body, `"device_authorization_endpoint"`) {
		t.Error("not advertised")
	}
}

// A program that only knows this way registers without redirect URIs, and can then do nothing else.
func TestDeviceOnlyClient(t *testing.T) {
	h := newHouse(t, withDevices)
	status, out := h.postJSON("/register", map[string]any{"client_name": "TV", "grant_types": []string{"urn:ietf:params:oauth:grant-type:device_code", "refresh_token"}})
	if status != 201 {
		t.Fatalf("%d %v", status, out)
	}
	a := &app{house: h, id: out["client_id"].(string), redirect: loopback, verifier: strings.Repeat("v", 43)}
	h.stranger().get(a.ask(nil)).wants(400)
	if status, _, out := a.device(nil); status != 200 {
		t.Errorf("%d %v", status, out)
	}
	a.redeem("x", nil).wants(h, 400, "unauthorized_client")
}

func TestDeviceRefused(t *testing.T) {
	h := newHouse(t, withDevices)
	a := h.registered(loopback)
	p := h.signedIn("alice")
	for name, c := range map[string]struct {
		change url.Values
		status int
		code   string
	}{
		"no resource":      {url.Values{"resource": nil}, 400, "invalid_target"},
		"foreign resource": {url.Values{"resource": {"https://evil.example/mcp"}}, 400, "invalid_target"},
		"unknown client":   {url.Values{"client_id": {"cli_nobody"}}, 401, "invalid_client"},
	} {
		if status, _, out := a.device(c.change); status != c.status || out["error"] != c.code {
			t.Errorf("%s: %d %v", name, status, out)
		}
	}
	_, denied, _ := a.device(nil)
	p.get(denied.complete).press("deny", nil).wants(200).says("refused")
	denied.poll(nil).wants(h, 400, "access_denied")

	// Somebody who may not use the server cannot let a device use it, whatever the form says.
	name := "alice"
	h.banned.Store(&name)
	_, d, _ := a.device(nil)
	g := p.get(d.complete).wants(403).says("may not use")
	_, form := g.form("deny", url.Values{"decision": {"allow"}})
	p.do("POST", h.url+"/device", form, http.Header{"Sec-Fetch-Site": {"same-origin"}}).wants(200).says("refused")
	h.banned.Store(nil)
	d.poll(nil).wants(h, 400, "access_denied")

	// Agreed to, and then forbidden.
	_, d, _ = a.device(nil)
	p.get(d.complete).press("allow", nil).wants(200)
	h.banned.Store(&name)
	d.poll(nil).wants(h, 400, "invalid_grant")
	h.banned.Store(nil)
	d.poll(nil).wants(h, 200, "")

	// A foreign page cannot agree for the person.
	_, d, _ = a.device(nil)
	action, form := p.get(d.complete).form("allow", nil)
	p.do("POST", action, form, http.Header{"Sec-Fetch-Site": {"cross-site"}}).wants(403)
	form.Set("csrf", "x")
	p.do("POST", action, form, http.Header{"Sec-Fetch-Site": {"same-origin"}}).wants(403)
	d.poll(nil).wants(h, 400, "authorization_pending")

	_, late, _ := a.device(nil)
	h.later(11 * time.Minute)
	late.poll(nil).wants(h, 400, "expired_token")
	p.get(late.complete).wants(404).says("No device")

	// What is in the address is no place to go to.
	g = h.stranger().get(h.url + "/device?user_code=" + url.QueryEscape("https://evil.example/")).wants(303)
	if g.location().String() != h.url+"/login?device=" {
		t.Errorf("%s", g.location())
	}

	for n := 0; ; n++ {
		if g := p.get(h.url + "/device?user_code=BBBB-BBBB"); g.status == 429 {
			break
		}
		if n > 20 {
			t.Fatal("no end of codes")
		}
	}
	for n := 0; ; n++ {
		if status, _, _ := a.device(nil); status == 429 {
			break
		}
		if n > 100 {
			t.Fatal("no end of devices")
		}
	}
}

// Off, as it is unless the operator says otherwise, there is nothing.
func TestDeviceOff(t *testing.T) {
	h := newHouse(t)
	a := h.registered(loopback)
	if g := h.stranger().get(h.url + "/device"); g.status != 404 {
		t.Errorf("%d", g.status)
	}
	d := device{app: a, code: "mcpd_dc_x"}
	d.poll(nil).wants(h, 400, "unauthorized_client")
}
