package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpd/mcpd/idp/upstream/upstreamtest"
)

// corporate is a real OpenID Connect provider (testdata/peers/provider.mjs), and mcpd with it as the way in.
type corporate struct {
	*instance
	accounts string
	provider *exec.Cmd
}

func newCorporate(t *testing.T) *corporate {
	t.Helper()
	foreign(t)
	need(t, "node", "npm:oidc-provider")
	c := &corporate{accounts: filepath.Join(t.TempDir(), "accounts.json")}
	c.write(t, map[string]any{})
	c.provider = exec.Command(nodeBinary(), filepath.Join(peersDir(), "provider.mjs"), c.accounts, "http://localhost/login/from/corp")
	out, err := c.provider.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.provider.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	issuer, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	c.instance = startDaemon(t, fmt.Sprintf(`
[auth.providers.corp]
label         = "Corp"
url           = %q
client_id     = "mcpd"
client_secret = "the secret of mcpd"

[servers.demo]
command = "mcpd"
args    = ["demo-server"]
allow   = ["group:staff"]
`, strings.TrimSpace(issuer)))
	return c
}

func (c *corporate) kill() {
	_ = c.provider.Process.Kill()
	_ = c.provider.Wait()
}

func (c *corporate) write(t *testing.T, accounts map[string]any) {
	t.Helper()
	b, err := json.Marshal(accounts)
	if err == nil {
		err = os.WriteFile(c.accounts, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

var corpButton = regexp.MustCompile(`href="(/login/with/corp[^"]*)"`)

// signIn presses the button and fills in the provider's own pages. Meddle changes the addresses on the way, if there is one.
func (c *corporate) signIn(name string, meddle func(*url.URL)) (status int, page string) {
	c.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ask := func(method string, at *url.URL, form url.Values) (*http.Response, string) {
		c.t.Helper()
		r, err := http.NewRequestWithContext(c.t.Context(), method, at.String(), strings.NewReader(form.Encode()))
		if err != nil {
			c.t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := browser.Do(r)
		if err != nil {
			c.t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			c.t.Fatal(err)
		}
		return resp, string(b)
	}
	at, err := url.Parse(strings.TrimSuffix(c.url("demo"), "/demo/mcp") + "/login")
	if err != nil {
		c.t.Fatal(err)
	}
	_, page = ask("GET", at, nil)
	button := corpButton.FindStringSubmatch(page)
	if button == nil {
		c.t.Fatalf("no button: %s", page)
	}
	home := at.Host
	if at, err = at.Parse(button[1]); err != nil {
		c.t.Fatal(err)
	}
	method, form, typed := "GET", url.Values(nil), false
	for range 20 {
		resp, page := ask(method, at, form)
		method, form = "GET", nil
		if next, err := resp.Location(); err == nil {
			if at = next; meddle != nil {
				meddle(at)
			}
			continue
		}
		f := formTag.FindStringSubmatch(page)
		if at.Host == home || f == nil || typed && strings.Contains(f[2], `name="login"`) {
			return resp.StatusCode, page // at home again, or not let in
		}
		method, form = "POST", url.Values{}
		for _, in := range inputTag.FindAllStringSubmatch(f[2], -1) {
			switch a := attrs(in[1]); a["name"] {
			case "":
			case "login", "password":
				form.Set(a["name"], name)
				typed = true
			default:
				form.Set(a["name"], a["value"])
			}
		}
		if at, err = at.Parse(attrs(f[1])["action"]); err != nil {
			c.t.Fatal(err)
		}
	}
	c.t.Fatalf("redirects without end, at %s", at)
	return 0, ""
}

func (c *corporate) wants(name string, meddle func(*url.URL), status int, says string) {
	c.t.Helper()
	if got, page := c.signIn(name, meddle); got != status || !strings.Contains(page, says) {
		c.t.Fatalf("%s: %d, want %d and %q: %s", name, got, status, says, page)
	}
}

// TestProvider: people of a real provider sign in, by group; who is out there is out here; what is meddled with is refused; and
// a provider that is dead hinders nobody else.
func TestProvider(t *testing.T) {
	t.Parallel()
	c := newCorporate(t)
	alice := map[string]any{"email": "alice@corp.example", "groups": []string{"staff", "dev"}}
	bob := map[string]any{"email": "bob@corp.example", "groups": []string{"guests"}}
	unproven := map[string]any{"email": "eve@corp.example", "email_verified": false, "groups": []string{"staff"}}
	c.write(t, map[string]any{"alice": alice, "bob": bob, "eve": unproven})

	c.wants("alice", nil, 200, "alice@corp.example")
	c.wants("bob", nil, 403, "no server here lets you in")
	c.wants("eve", nil, 403, "has not checked that your e-mail address is yours")
	var users []userAnswer
	if err := json.Unmarshal([]byte(c.must("user", "list", "--json")), &users); err != nil {
		t.Fatal(err)
	}
	n := slices.IndexFunc(users, func(u userAnswer) bool { return u.Name == "alice@corp.example" })
	if n < 0 || users[n].Provider != "corp" || !slices.Equal(users[n].Groups, []string{"dev", "staff"}) || len(users) != 2 {
		t.Fatalf("%+v", users)
	}

	c.wants("alice", func(u *url.URL) {
		if strings.HasPrefix(u.Path, "/login/from/") {
			q := u.Query()
			q.Set("iss", "https://evil.example")
			u.RawQuery = q.Encode()
		}
	}, 403, "The answer came from somebody else")
	c.wants("alice", func(u *url.URL) {
		if q := u.Query(); q.Has("nonce") {
			q.Set("nonce", "another")
			u.RawQuery = q.Encode()
		}
	}, 403, "Its answer was not valid")

	// Out of the group at the provider: the next sign-in tells, and tokens of before are no good any more.
	token := strings.TrimSpace(c.must("token", "create", "--server", "demo", "--user", "alice@corp.example"))
	ping := func() int {
		r, err := http.NewRequestWithContext(t.Context(), "POST", c.url("demo"), strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if status := ping(); status == 401 || status == 403 {
		t.Fatalf("alice's token: %d", status)
	}
	alice["groups"] = []string{"dev"}
	c.write(t, map[string]any{"alice": alice})
	c.wants("alice", nil, 200, "alice@corp.example")
	if status := ping(); status != 401 {
		t.Fatalf("after she left the group: %d", status)
	}

	c.write(t, map[string]any{})
	if status, page := c.signIn("alice", nil); strings.Contains(page, "You are signed in") {
		t.Fatalf("removed at the provider, signed in here: %d %s", status, page)
	}
	c.kill()
	c.restart()
	c.wants("alice", nil, 503, "Corp does not answer at this moment")
}

// TestGroupLost: the provider says at a sign-in that somebody is not in a group any more. What they may not use now ends at once, a
// call under way and their worker too, and what they may still use goes on.
func TestGroupLost(t *testing.T) {
	t.Parallel()
	s := upstreamtest.OpenID(t)
	s.Person = &upstreamtest.Person{Subject: "17", Email: "alice@corp.example", Verified: true, Groups: []string{"staff"}}
	c := &corporate{instance: startDaemon(t, fmt.Sprintf(`
[auth.providers.corp]
label         = "Corp"
url           = %q
client_id     = %q
client_secret = %q

[servers.demo]
command = "mcpd"
args    = ["demo-server"]
allow   = ["group:staff"]

[servers.open]
command = "mcpd"
args    = ["demo-server"]
allow   = ["provider:corp"]
`, s.URL, upstreamtest.ClientID, upstreamtest.ClientSecret))}
	c.wants("alice", nil, 200, "alice@corp.example")
	ended := make(chan int, 2)
	for _, server := range []string{"demo", "open"} {
		go func() { // ends with the call
			_, _, code := c.run("", "call", "--user", "alice@corp.example", server, "slow", `{"seconds":60}`)
			ended <- code
		}()
	}
	for _, server := range []string{"demo", "open"} {
		eventually(t, 60*time.Second, "a call of "+server, func() (bool, string) {
			st := c.server(server)
			return st.Busy == 1, fmt.Sprintf("%+v", st)
		})
	}
	kept := c.pids("open")
	s.Set(func(s *upstreamtest.Service) { s.Person.Groups = nil })
	c.wants("alice", nil, 200, "alice@corp.example")
	if code := <-ended; code == 0 {
		t.Error("the call went on to its end")
	}
	eventually(t, 60*time.Second, "the worker ends", func() (bool, string) {
		pids := c.pids("demo")
		return len(pids) == 0, fmt.Sprint(pids)
	})
	if now := c.pids("open"); !slices.Equal(now, kept) || c.server("open").Busy != 1 {
		t.Errorf("what she may use: %v, want %v at work", now, kept)
	}
	c.must("revoke", "alice@corp.example")
	<-ended
}
