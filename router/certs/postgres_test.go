package certs

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/mcpd/mcpd/router/certs/dns/dnstest"
)

// database is a PostgreSQL server of this test's own, on a socket in a folder; it returns its address.
func database(t *testing.T) (dsn string) {
	t.Helper()
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(bins) == 0 {
		if words := os.Getenv("MCPD_TEST_REQUIRE"); words == "all" || strings.Contains(words, "postgres") {
			t.Fatal("postgres is required by MCPD_TEST_REQUIRE: apt-get install postgresql")
		}
		t.Skip("needs PostgreSQL (apt install postgresql)")
	}
	dir, err := os.MkdirTemp("/tmp", "mcpd-pg") // short, for the address of its socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	var who *syscall.Credential
	if os.Geteuid() == 0 { // whom PostgreSQL refuses
		who = &syscall.Credential{Uid: 65534, Gid: 65534}
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	command := func(name string, args ...string) *exec.Cmd {
		c := exec.Command(filepath.Join(bins[len(bins)-1], name), args...)
		c.Dir, c.SysProcAttr = dir, &syscall.SysProcAttr{Credential: who, Setpgid: true}
		c.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
		return c
	}
	data := filepath.Join(dir, "data")
	if out, err := command("initdb", "-D", data, "-U", "mcpd", "-A", "trust", "-E", "UTF8", "--no-sync", "--no-locale").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v: %s", err, out)
	}
	var log bytes.Buffer
	server := command("postgres", "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off")
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
	dsn = "host=" + dir + " user=mcpd dbname=postgres sslmode=disable"
	pool, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	eventually(t, func() string {
		if err := pool.PingContext(t.Context()); err != nil {
			return err.Error()
		}
		return ""
	})
	return dsn
}

// TestSharedStorage demands of the database what a folder does.
func TestSharedStorage(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	s, err := openShared(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	for name, storage := range map[string]certmagic.Storage{"folder": &certmagic.FileStorage{Path: t.TempDir()}, "database": s} {
		t.Run(name, func(t *testing.T) { storageSuite(t, storage) })
	}
	t.Run("locks", func(t *testing.T) { lockSuite(t, dsn, s) })
}

func storageSuite(t *testing.T, s certmagic.Storage) {
	ctx := t.Context()
	for _, key := range []string{"a", "a/b"} {
		if _, err := s.Load(ctx, key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Load of nothing: %v", err)
		}
		if _, err := s.Stat(ctx, key); !errors.Is(err, fs.ErrNotExist) || s.Exists(ctx, key) {
			t.Errorf("Stat of nothing: %v", err)
		}
		if err := s.Delete(ctx, key); err != nil {
			t.Errorf("Delete of nothing: %v", err)
		}
	}
	for _, key := range []string{"certs/x.test/x.test.crt", "certs/x.test/x.test.key", "certs/*.x.test/k", "certs2/k"} {
		for _, value := range []string{"first", "\x00second " + key} {
			if err := s.Store(ctx, key, []byte(value)); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Load(ctx, key); err != nil || string(got) != value {
				t.Errorf("%s: %q %v", key, got, err)
			}
		}
	}
	if info, err := s.Stat(ctx, "certs2/k"); err != nil || !info.IsTerminal || info.Key != "certs2/k" || info.Size != int64(len("\x00second certs2/k")) || time.Since(info.Modified).Abs() > time.Minute {
		t.Errorf("Stat: %+v %v", info, err)
	}
	if info, err := s.Stat(ctx, "certs/x.test"); err != nil || info.IsTerminal || !s.Exists(ctx, "certs/x.test") {
		t.Errorf("Stat of a folder: %+v %v", info, err)
	}
	for _, tt := range []struct {
		path      string
		recursive bool
		want      []string
	}{
		{"certs", false, []string{"certs/*.x.test", "certs/x.test"}},
		{"certs/x.test", false, []string{"certs/x.test/x.test.crt", "certs/x.test/x.test.key"}},
		{"certs", true, []string{"certs/*.x.test", "certs/*.x.test/k", "certs/x.test", "certs/x.test/x.test.crt", "certs/x.test/x.test.key"}},
	} {
		got, err := s.List(ctx, tt.path, tt.recursive)
		slices.Sort(got)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("List %s, %v: %q %v", tt.path, tt.recursive, got, err)
		}
	}
	if err := s.Delete(ctx, "certs"); err != nil || s.Exists(ctx, "certs/x.test/x.test.crt") || !s.Exists(ctx, "certs2/k") {
		t.Errorf("Delete of a folder: %v", err)
	}
	if got, err := s.List(ctx, "certs", true); !errors.Is(err, fs.ErrNotExist) || len(got) > 0 {
		t.Errorf("List of nothing: %q %v", got, err)
	}
}

func lockSuite(t *testing.T, dsn string, s *shared) {
	other, err := openShared(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	try := func(s *shared, name string, want bool) {
		t.Helper()
		if got, err := s.TryLock(t.Context(), name); err != nil || got != want {
			t.Errorf("lock %s: %v %v, want %v", name, got, err, want)
		}
	}
	for _, who := range []*shared{s, other} { // within a process, and between two
		try(s, "one", who == s)
		try(who, "one", false)
	}
	try(other, "two", true)
	gone, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := other.Lock(gone, "one"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a lock that is held: %v", err)
	}
	if err := s.Unlock(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	if err := other.Lock(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	// A connection that breaks takes its locks with it, and nothing else.
	if _, err := s.pool.ExecContext(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"); err != nil {
		t.Fatal(err)
	}
	if err := s.Lock(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	if err := other.Unlock(t.Context(), "one"); err != nil {
		t.Errorf("a lock that is gone: %v", err)
	}
	try(other, "one", false)
	other.close()
	if err := s.Unlock(t.Context(), "one"); err != nil || s.locks != nil {
		t.Errorf("after the last lock: %v, connection %v", err, s.locks)
	}
}

// node is a daemon's keeper in a process of its own: certmagic knows by name, once per process, what is under way.
type node struct {
	Issuer Issuer
	Zone   string
	DSN    string
}

const nodeVariable = "CERTS_TEST_NODE"

// runNode prints the serial numbers of its certificates, and goes when standard input ends.
func runNode(text string) error {
	var n node
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "node")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c := DefaultConfig()
	c.Mode, c.ACME.Issuers = ModeACME, []Issuer{n.Issuer}
	o := Options{Config: c, Dir: dir, DSN: n.DSN, Domain: "mcp.test"}.byDNS(&dnstest.Server{Addr: n.Zone})
	k, err := Open(context.Background(), o)
	if err != nil {
		return err
	}
	defer k.Close()
	if err := k.Manage(context.Background()); err != nil {
		return err
	}
	a := k.source.(*authority)
	for _, name := range []string{"mcp.test", "*.mcp.test"} {
		for len(a.cache.AllMatchingCertificates(name)) == 0 {
			<-time.After(20 * time.Millisecond)
		}
		fmt.Println(name, a.cache.AllMatchingCertificates(name)[0].Leaf.SerialNumber)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		return fmt.Errorf("its own folder has %d files: %w", len(entries), err)
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// Two daemons that share a database have the same certificates, for one order each; one that begins later orders nothing.
func TestDaemonsShareCertificates(t *testing.T) {
	t.Parallel()
	zone := dnstest.New(t, "mcp.test")
	p := startPebble(t, pebbleOptions{dns: zone.Addr})
	setup, err := json.Marshal(node{p.Issuer, zone.Addr, database(t)})
	if err != nil {
		t.Fatal(err)
	}
	begin := func() (serials func() string) {
		c := exec.Command(os.Args[0])
		c.Env, c.Stderr = append(os.Environ(), nodeVariable+"="+string(setup)), os.Stderr
		in, inErr := c.StdinPipe()
		out, outErr := c.StdoutPipe()
		if err := errors.Join(inErr, outErr, c.Start()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = in.Close()
			if err := c.Wait(); err != nil {
				t.Error(err)
			}
		})
		lines := bufio.NewReader(out)
		return func() string {
			one, err1 := lines.ReadString('\n')
			two, err2 := lines.ReadString('\n')
			if err := errors.Join(err1, err2); err != nil {
				t.Error(err)
			}
			return one + two
		}
	}
	first, second := begin(), begin()
	want := first()
	for i, got := range []string{second(), begin()()} {
		if got != want || got == "" {
			t.Errorf("another daemon (%d) has\n%s, not\n%s", i, got, want)
		}
	}
	if n := len(p.ordered()); n != 2 {
		t.Errorf("%d orders, want 2", n)
	}
}
