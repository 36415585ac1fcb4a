package idp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcpd/mcpd/idp"
)

// crashingIssuer is the environment variable that makes the test binary an issuer over this file, at this address, on the
// listener that it inherits as file 3.
const crashingIssuer = "MCPD_TEST_ISSUER"

// openAt opens the store in a file, or in a database.
func openAt(place string) (idp.Store, error) {
	if strings.HasPrefix(place, "host=") {
		return idp.OpenPostgres(place)
	}
	return idp.OpenStore(place)
}

// serveAndCrash is that issuer: it ends when it is killed.
func serveAndCrash(config string) error {
	place, at, _ := strings.Cut(config, "|")
	store, err := openAt(place)
	if err != nil {
		return err
	}
	c := idp.DefaultConfig()
	c.RefreshGrace = 5 * time.Minute
	i, err := idp.New(context.Background(), idp.Options{
		Issuer: at, Config: c, Store: store, Loopback: true,
		Resource: func(r string) (string, string, bool) { return r, "alpha", r == at+"/alpha/mcp" }, Allowed: func(string, idp.User) bool { return true },
	})
	if err != nil {
		return err
	}
	l, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return err
	}
	return http.Serve(l, i.Handler())
}

// crash kills an issuer at random while clients go through their flows, and starts it again. The listener is this
// test's, so that whoever comes in between waits for the next one.
type crash struct {
	*house
	listener *os.File
	place    string // of the store
	random   *rand.Rand
	answered chan struct{} // the issuer has answered something

	kills, flows, refreshes, unanswered, wasted atomic.Int64
}

func (c *crash) start() *exec.Cmd {
	c.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashingIssuer+"="+c.place+"|"+c.url)
	cmd.ExtraFiles, cmd.Stderr = []*os.File{c.listener}, os.Stderr
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	return cmd
}

// TestCrash: whenever the issuer is killed, no code and no refresh token is good twice, and nothing is lost that was answered.
// MCPD_TEST_FLOWS is how many flows, MCPD_TEST_SEED what the times come from.
func TestCrash(t *testing.T) { crashing(t, filepath.Join(t.TempDir(), "mcpd.db"), 30) }

func crashing(t *testing.T, place string, flows int64) {
	seed := uint64(1)
	if n, err := strconv.ParseInt(os.Getenv("MCPD_TEST_FLOWS"), 10, 64); err == nil {
		flows = n
	}
	if n, err := strconv.ParseUint(os.Getenv("MCPD_TEST_SEED"), 10, 64); err == nil {
		seed = n
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := &crash{house: &house{TB: t, url: "http://" + l.Addr().String()}, place: place, answered: make(chan struct{}, 1), random: rand.New(rand.NewPCG(seed, seed))}
	if c.listener, err = l.(*net.TCPListener).File(); err != nil {
		t.Fatal(err)
	}
	defer c.listener.Close()
	alice, app := c.prepare()

	var workers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		random := rand.New(rand.NewPCG(c.random.Uint64(), seed))
		workers.Go(func() { // ends with the flows, or with stop
			for c.flows.Add(1) <= flows {
				select {
				case <-stop:
					return
				default:
				}
				if err := c.flow(app, alice, random); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { workers.Wait(); close(done) }() // ends with the workers
	deadline := time.After(5*time.Minute + time.Duration(flows)*time.Second)
	for ended := false; !ended; {
		select {
		case <-c.answered: // by the one before
		default:
		}
		issuer := c.start()
		var kill <-chan time.Time // not before it has answered: how long it takes to open is the machine's affair
		for killed := false; !killed && !ended; {
			select {
			case <-c.answered:
				if kill == nil && c.kills.Load() < flows/2 { // on a slow machine there would be no end
					kill = time.After(time.Duration(c.random.IntN(150)) * time.Millisecond)
				}
			case <-kill:
				c.kills.Add(1)
				killed = true
			case <-done:
				ended = true
			case <-deadline:
				t.Error("the flows do not end")
				close(stop)
				ended = true
			}
		}
		_ = issuer.Process.Kill()
		_ = issuer.Wait()
	}
	t.Logf("seed %d: %d flows, %d kills, %d refreshes, %d requests unanswered, %d codes wasted", seed, flows, c.kills.Load(), c.refreshes.Load(), c.unanswered.Load(), c.wasted.Load())
	if c.kills.Load() == 0 {
		t.Error("nothing was killed")
	}
}

// prepare makes a person whose browser is signed in and who has agreed, and a client.
func (c *crash) prepare() (*http.Client, *app) {
	store, err := openAt(c.place)
	if err != nil {
		c.Fatal(err)
	}
	i, err := idp.New(c.Context(), idp.Options{Issuer: c.url, Config: idp.DefaultConfig(), Store: store, Loopback: true,
		Resource: func(string) (string, string, bool) { return "", "", false }, Allowed: func(string, idp.User) bool { return true }})
	if err != nil {
		c.Fatal(err)
	}
	if _, err := i.CreateUser(c.Context(), "alice", ""); err != nil {
		c.Fatal(err)
	}
	link, err := i.SignInLink(c.Context(), "alice", time.Hour)
	if err != nil {
		c.Fatal(err)
	}
	if err := i.Close(); err != nil {
		c.Fatal(err)
	}
	issuer := c.start()
	defer func() {
		_ = issuer.Process.Kill()
		_ = issuer.Wait()
	}()
	a, p := c.registered(loopback), c.stranger()
	p.get(link).wants(200).press("continue", nil).wants(303)
	a.code(p, nil)
	jar, err := cookiejar.New(nil)
	if err != nil {
		c.Fatal(err)
	}
	at, err := url.Parse(c.url)
	if err != nil {
		c.Fatal(err)
	}
	jar.SetCookies(at, p.http.Jar.Cookies(at))
	return &http.Client{Jar: jar, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, a
}

// send makes a request until it is answered; unanswered is how often it was not.
func (c *crash) send(client *http.Client, method, to string, form url.Values) (resp *http.Response, body []byte, unanswered int, err error) {
	for ; unanswered < 200; unanswered++ {
		r, err := http.NewRequestWithContext(c.Context(), method, to, strings.NewReader(form.Encode()))
		if err != nil {
			return nil, nil, 0, err
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Close = true
		if resp, err = client.Do(r); err == nil {
			body, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
		if err == nil {
			select {
			case c.answered <- struct{}{}:
			default:
			}
			return resp, body, unanswered, nil
		}
		if c.Context().Err() != nil {
			return nil, nil, 0, err
		}
		c.unanswered.Add(1)
	}
	return nil, nil, 0, fmt.Errorf("%s is never answered", to)
}

func (c *crash) tokens(form url.Values) (t tokens, unanswered int, err error) {
	resp, body, unanswered, err := c.send(http.DefaultClient, "POST", c.url+"/token", form)
	if err == nil {
		t.status = resp.StatusCode
		err = json.Unmarshal(body, &t)
	}
	return t, unanswered, err
}

// flow is one sign-in with some refreshes.
func (c *crash) flow(a *app, alice *http.Client, random *rand.Rand) error {
	code, err := c.authorize(a, alice)
	if err != nil {
		return err
	}
	redeem := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "client_id": {a.id}, "redirect_uri": {a.redirect}, "code_verifier": {a.verifier}}
	t, unanswered, err := c.tokens(redeem)
	switch {
	case err != nil:
		return err
	case t.status == 400 && t.Error == "invalid_grant" && unanswered > 0: // it was spent, and the answer lost: nobody has its tokens
		c.wasted.Add(1)
		return nil
	case t.status != 200:
		return fmt.Errorf("a fresh code: %d %s %s", t.status, t.Error, t.Text)
	}
	for range 3 {
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {t.Refresh}, "client_id": {a.id}}
		next, _, err := c.tokens(form)
		if err != nil {
			return err
		}
		if next.status != 200 {
			return fmt.Errorf("a refresh token that was answered is lost: %d %s %s", next.status, next.Error, next.Text)
		}
		if random.IntN(3) == 0 {
			twin, _, err := c.tokens(form)
			if err != nil {
				return err
			}
			if twin.status != 200 || twin.Refresh != next.Refresh {
				return fmt.Errorf("a refresh token has two successors: %d %s", twin.status, twin.Text)
			}
		}
		c.refreshes.Add(1)
		t = next
	}
	if random.IntN(2) == 0 {
		return nil
	}
	if again, _, err := c.tokens(redeem); err != nil || again.status != 400 {
		return fmt.Errorf("a code is good twice: %d, %w", again.status, err)
	}
	if dead, _, err := c.tokens(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {t.Refresh}, "client_id": {a.id}}); err != nil || dead.status != 400 {
		return fmt.Errorf("the tokens of a code that was used twice live: %d, %w", dead.status, err)
	}
	return nil
}

// authorize gets a code: the person is signed in and has agreed.
func (c *crash) authorize(a *app, alice *http.Client) (string, error) {
	to := a.ask(nil)
	for range 10 {
		resp, body, _, err := c.send(alice, "GET", to, nil)
		if err != nil {
			return "", err
		}
		at, err := resp.Location()
		if err != nil {
			return "", fmt.Errorf("no code: %d %s", resp.StatusCode, body)
		}
		if to = at.String(); !strings.HasPrefix(to, c.url+"/") {
			return at.Query().Get("code"), nil
		}
	}
	return "", fmt.Errorf("no code after ten redirects")
}
