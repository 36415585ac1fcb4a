package idp_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/mcpd/mcpd/idp"
	"github.com/mcpd/mcpd/idp/storetest"
)

// cluster is a PostgreSQL server of this test's own, on a socket in its folder.
type cluster struct {
	dir  string
	pool *sql.DB
	n    int
}

// newCluster starts one as another user where this is root, whom PostgreSQL refuses.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(bins) == 0 {
		words := strings.FieldsFunc(os.Getenv("MCPD_TEST_REQUIRE"), func(r rune) bool { return r == ',' || r == ' ' })
		if slices.Contains(words, "all") || slices.Contains(words, "postgres") {
			t.Fatal("postgres is required by MCPD_TEST_REQUIRE: apt-get install postgresql")
		}
		t.Skip("needs PostgreSQL (apt install postgresql)")
	}
	bin := bins[len(bins)-1]
	dir, err := os.MkdirTemp("/tmp", "mcpd-pg") // short, for the address of its socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var who *syscall.Credential
	if os.Geteuid() == 0 {
		who = &syscall.Credential{Uid: 65534, Gid: 65534}
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	command := func(name string, args ...string) *exec.Cmd {
		c := exec.Command(filepath.Join(bin, name), args...)
		c.Dir, c.SysProcAttr = dir, &syscall.SysProcAttr{Credential: who, Setpgid: true}
		c.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
		return c
	}
	data := filepath.Join(dir, "data")
	if out, err := command("initdb", "-D", data, "-U", "mcpd", "-A", "trust", "-E", "UTF8", "--no-sync", "--no-locale").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v: %s", err, out)
	}
	var log bytes.Buffer
	server := command("postgres", "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200")
	server.Stderr = &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGQUIT) // at once: nothing of it is kept
		_ = server.Wait()
		if t.Failed() {
			t.Logf("the server said:\n%s", log.String())
		}
	})
	c := &cluster{dir: dir}
	if c.pool, err = sql.Open("pgx", "host="+dir+dsnRest); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.pool.Close() })
	for end := time.Now().Add(time.Minute); ; {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := c.pool.PingContext(ctx)
		cancel()
		if err == nil {
			return c
		}
		if time.Now().After(end) {
			t.Fatalf("the server does not answer: %v", err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

const dsnRest = " user=mcpd dbname=postgres sslmode=disable"

// create makes an empty place for tables: a schema, which takes less time than a database.
func (c *cluster) create(t *testing.T) (dsn string) {
	t.Helper()
	c.n++
	name := fmt.Sprint("mcpd", c.n)
	if _, err := c.pool.ExecContext(t.Context(), "CREATE SCHEMA "+name); err != nil {
		t.Fatal(err)
	}
	return "host=" + c.dir + dsnRest + " search_path=" + name
}

func openPostgres(t *testing.T, dsn string) idp.Store {
	t.Helper()
	s, err := idp.OpenPostgres(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	t.Run("Store", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) idp.Store { return openPostgres(t, c.create(t)) })
	})
	t.Run("Migrations", func(t *testing.T) { // of daemons that start together
		dsn := c.create(t)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { // ends when the store is open and closed
				s, err := idp.OpenPostgres(dsn)
				if err == nil {
					err = s.Close()
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		s := openPostgres(t, dsn)
		if err := s.Snapshot(t.Context(), "x"); !errors.Is(err, idp.ErrElsewhere) {
			t.Error(err)
		}
		if _, err := s.Users().ByName(t.Context(), "no\x00body"); !errors.Is(err, idp.ErrNotFound) {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("Crash", func(t *testing.T) { crashing(t, c.create(t), 10) })
	t.Run("Daemons", func(t *testing.T) { twoDaemons(t, c.create(t)) })
	for dsn, want := range map[string]string{"host=/no/such/folder user=x": "cannot prepare the database", "nonsense": "cannot read the database's address"} {
		if _, err := idp.OpenPostgres(dsn); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", dsn, err)
		}
	}
	if _, err := idp.OpenPostgres("postgres://mcpd:s3cret@:x:y/z"); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Error(err)
	}
}

// twoDaemons are at one address over one database, behind something that sends each request to the other than the one before.
func twoDaemons(t *testing.T, dsn string) {
	h := newHouse(t, func(o *idp.Options) {
		if err := o.Store.Close(); err != nil {
			t.Error(err)
		}
		o.Store = openPostgres(t, dsn)
	})
	other, err := idp.New(t.Context(), idp.Options{
		Issuer: h.url, Config: idp.DefaultConfig(), Store: openPostgres(t, dsn), Loopback: true, Now: h.now,
		Resource: func(r string) (string, string, bool) { return r, "alpha", r == h.resource("alpha") }, Allowed: func(string, idp.User) bool { return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	daemons := []http.Handler{h.issuer.Handler(), other.Handler()}
	var n atomic.Int64
	var front http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { daemons[n.Add(1)%2].ServeHTTP(w, r) })
	h.front.Store(&front)

	follows := func(what string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !slices.Equal(h.issuer.Keys(), other.Keys()); {
			if time.Now().After(end) {
				t.Fatalf("%s: one daemon has the keys %v, the other %v", what, h.issuer.Keys(), other.Keys())
			}
			<-time.After(20 * time.Millisecond)
		}
	}
	a, p := h.registered(loopback), h.signedIn("alice")
	flow := func() tokens {
		t.Helper()
		got := a.redeem(a.code(p, nil), nil).wants(h, 200, "")
		next := a.refresh(got.Refresh, nil).wants(h, 200, "")
		if twin := a.refresh(got.Refresh, nil).wants(h, 200, ""); twin.Refresh != next.Refresh { // by the other daemon, within the grace
			t.Error("a refresh token has two successors")
		}
		h.good(next.Access, "alpha")
		if _, err := other.Verify(t.Context(), next.Access, h.resource("alpha")); err != nil {
			t.Error(err)
		}
		return next
	}
	flow()
	for _, drop := range []bool{false, true} {
		if err := other.RotateKeys(t.Context(), drop); err != nil {
			t.Fatal(err)
		}
		follows(fmt.Sprintf("after a rotation, drop %v", drop))
		flow()
	}
	got := flow()
	if _, err := other.Revoke(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	h.later(2 * time.Second) // what is in memory of another's database is not believed for longer than a second
	h.bad(got.Access, "alpha")
	a.refresh(got.Refresh, nil).wants(h, 400, "invalid_grant")
	if to := p.browse(a.ask(nil)); to.byID("username") == nil {
		t.Errorf("a browser is still signed in:\n%s", to.body)
	}
}
