package certs

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpd/mcpd/router/certs/dns"
	"github.com/mcpd/mcpd/router/certs/dns/dnstest"
)

// needNamed skips a test where BIND is not installed; with MCPD_TEST_REQUIRE=all, or named in it, the test fails instead.
func needNamed(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("named"); err == nil {
		return
	}
	words := strings.FieldsFunc(os.Getenv("MCPD_TEST_REQUIRE"), func(r rune) bool { return r == ',' || r == ' ' })
	if slices.Contains(words, "all") || slices.Contains(words, "named") {
		t.Fatal("named is required by MCPD_TEST_REQUIRE: apt-get install bind9")
	}
	t.Skip("needs named: apt-get install bind9")
}

// startNamed runs BIND with the zone mcp.test, in which a key may write TXT records at one name and nothing else.
func startNamed(t *testing.T) (addr string) {
	t.Helper()
	dir := t.TempDir()
	l, n := port(t)
	_ = l.Close() // for named
	addr = l.Addr().String()
	conf := fmt.Sprintf(`
options { directory %[1]q; pid-file none; session-keyfile none; listen-on port %[2]d { 127.0.0.1; }; listen-on-v6 { none; };
  recursion no; dnssec-validation no; allow-query { any; }; notify no; };
controls { };
key "acme" { algorithm hmac-sha256; secret %[3]q; };
zone "mcp.test" { type primary; file "mcp.test.zone"; update-policy { grant acme name _acme-challenge.mcp.test. TXT; }; };
`, dir, n, dnstest.Secret)
	zone := "$TTL 60\n@ IN SOA ns.mcp.test. admin.mcp.test. 1 60 60 60 1\n@ IN NS ns\nns IN A 127.0.0.1\n* IN A 127.0.0.1\n"
	for name, text := range map[string]string{"named.conf": conf, "mcp.test.zone": zone} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out lockedText
	cmd := exec.Command("named", "-g", "-n", "1", "-c", filepath.Join(dir, "named.conf"))
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { // ends with the process, which the clean-up ends
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("named wrote:\n%s", out.String())
		}
	})
	eventually(t, func() string {
		select {
		case <-ended:
			t.Fatal("named ended")
		default:
		}
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return err.Error()
		}
		_ = conn.Close()
		if !strings.Contains(out.String(), "running") {
			return "named does not say that it runs"
		}
		return ""
	})
	return addr
}

// A real DNS server, with updates signed by TSIG: wildcard and domain, and what is said of a key that is not good.
func TestWildcardWithBIND(t *testing.T) {
	t.Parallel()
	needNamed(t)
	addr := startNamed(t)
	p := startPebble(t, pebbleOptions{dns: addr})
	o := acmeOptions(t, p.Issuer)
	o.Config.ACME.DNS = dns.Config{Provider: "rfc2136", Resolvers: []string{addr}, Timeout: 20 * time.Second, Settings: map[string]string{
		"nameserver": addr, "tsig_key": "acme", "tsig_secret": dnstest.Secret,
	}}
	began := time.Now()
	k := begin(t, o)
	has(t, k, "*.mcp.test", "mcp.test")
	t.Logf("wildcard and domain after %v", time.Since(began).Round(10*time.Millisecond))
	serves(t, k, p, "mcp.test", "auth.mcp.test")
	mustRefuse(t, k, "a.b.mcp.test", "example.com")
	if n := len(p.ordered()); n != 2 {
		t.Errorf("%d orders, want 2", n)
	}
	for name, c := range map[string]struct {
		change       func(map[string]string)
		domain, want string
	}{
		"secret": {func(s map[string]string) { s["tsig_secret"] = "d3Jvbmcgd3Jvbmcgd3Jvbmc=" }, "mcp.test", "knows the TSIG key acme, but not with this tsig_secret or tsig_algorithm (BADSIG)"},
		"key":    {func(s map[string]string) { s["tsig_key"] = "other" }, "mcp.test", "does not know the TSIG key other, or not with hmac-sha256 (BADKEY)"},
		"name":   {func(map[string]string) {}, "sub.mcp.test", "zone mcp.test. found, but at the name server " + addr + " the TSIG key acme may not write this name (REFUSED)"},
	} {
		bad := o.Config.ACME.DNS
		bad.Settings = map[string]string{"nameserver": addr, "tsig_key": "acme", "tsig_secret": dnstest.Secret}
		c.change(bad.Settings)
		s, err := dns.New(bad, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Try(t.Context(), c.domain); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("wrong %s: %v\nwant %s", name, err, c.want)
		}
	}
}
