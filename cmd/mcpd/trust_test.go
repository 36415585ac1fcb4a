package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mcpd/mcpd/router/certs"
)

// pair writes a certificate that is good until then, and its key.
func pair(t *testing.T, dir string, until time.Time, names ...string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: names, NotBefore: until.Add(-90 * 24 * time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
}

// With certificates from files: what `mcpd cert` says of them, and what `mcpd check --online` does before a start.
func TestCertAndCheckOnline(t *testing.T) {
	t.Parallel()
	good, bad := t.TempDir(), t.TempDir()
	cert, key := pair(t, good, time.Now().Add(40*24*time.Hour), "mcp.test", "*.mcp.test")
	config := func(cert, key string) string {
		return fmt.Sprintf("domain = \"mcp.test\"\n[tls]\nmode = \"files\"\nfiles = [{ cert = %q, key = %q }]\n[defaults]\nallow = [\"*\"]\n[servers.demo]\ncommand = \"mcpd\"\nargs = [\"demo-server\"]\n", cert, key)
	}
	d := newInstance(t, config(cert, key), "MCPD_LISTEN__HTTPS=127.0.0.1:0")
	if out := d.must("check", "--online"); !strings.Contains(out, "certificate "+cert+": fine\n") {
		t.Errorf("check --online: %s", out)
	}
	d.start()
	out := d.must("cert")
	for _, want := range []string{"NAMES", "EXPIRES", "mcp.test *.mcp.test", "(in 39d23h)"} {
		if !strings.Contains(out, want) {
			t.Errorf("mcpd cert has no %q:\n%s", want, out)
		}
	}
	var all []certs.Certificate
	if err := json.Unmarshal([]byte(d.must("cert", "--json")), &all); err != nil || len(all) != 1 || len(all[0].Names) != 2 || all[0].NotAfter.IsZero() {
		t.Errorf("mcpd cert --json: %+v, %v", all, err)
	}

	old, oldKey := pair(t, bad, time.Now().Add(-time.Hour), "mcp.test")
	for what, file := range map[string][2]string{
		"expired":     {old, oldKey},
		"with":        {cert, oldKey}, // another's key
		"cannot read": {filepath.Join(bad, "none.pem"), oldKey},
	} {
		d.configure(config(file[0], file[1]))
		out, errs, code := d.run("", "check", "--online")
		if code != exitFailed || !strings.Contains(out, "certificate "+file[0]+": ") || !strings.Contains(out, what) {
			t.Errorf("check --online of what should be %q: exit code %d\n%s%s", what, code, out, errs)
		}
	}
	d.configure("domain = \"mcp.test\"\n[tls.acme]\nissuers = [{ directory = \"https://127.0.0.1:9/directory\" }]\n")
	if out, errs, code := d.run("", "check", "--online"); code != exitFailed || !strings.Contains(out, "certificate authority https://127.0.0.1:9/directory: ") {
		t.Errorf("check --online of an authority that is not there: exit code %d\n%s%s", code, out, errs)
	}
}

// The root certificate goes to the first store that the machine has, and away again. The store is a folder of the test's own, and
// what reads it again a command that leaves a trace.
func TestTrustStore(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "darwin" {
		t.Skip("macOS has a keychain instead")
	}
	dir := t.TempDir()
	cert, _ := pair(t, dir, time.Now().Add(time.Hour), "root")
	root, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	store := t.TempDir()
	stores := []trustStore{
		{filepath.Join(store, "none"), []string{"false"}, []string{"false"}},
		{store, []string{"sh", "-c", "ls " + store + "/*.crt | wc -l >>" + dir + "/updated"}, []string{"sh", "-c", "echo gone $(ls " + store + "/*.crt | wc -l) >>" + dir + "/updated"}},
	}
	var out bytes.Buffer
	c := &cli{stdout: &out, stderr: &out}
	if err := c.changeTrust(t.Context(), stores, root, true); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(store + "/mcpd-*.crt")
	if err != nil || len(files) != 1 {
		t.Fatalf("the store has %q, %v", files, err)
	}
	if got, err := os.ReadFile(files[0]); err != nil || !bytes.Equal(got, root) {
		t.Errorf("another certificate is in the store: %v", err)
	}
	if !strings.Contains(out.String(), "NODE_EXTRA_CA_CERTS="+files[0]) {
		t.Errorf("%s", out.String())
	}
	if err := c.changeTrust(t.Context(), stores, root, false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(files[0]); err == nil {
		t.Error("it is still there")
	}
	if err := c.changeTrust(t.Context(), stores, root, false); err == nil {
		t.Error("what is not there was taken away")
	}
	if updated, err := os.ReadFile(filepath.Join(dir, "updated")); err != nil || strings.Join(strings.Fields(string(updated)), " ") != "1 gone 0" {
		t.Errorf("the store was read again with %q, %v", updated, err)
	}
	if err := c.changeTrust(t.Context(), stores[:1], root, true); err == nil || !strings.Contains(err.Error(), "cannot find where this machine keeps") {
		t.Errorf("no store: %v", err)
	}
	if err := c.changeTrust(t.Context(), stores, []byte("nothing"), true); err == nil || !strings.Contains(err.Error(), "no PEM") {
		t.Errorf("no certificate: %v", err)
	}
}

// Who administers the machine means its service, where there is no mcpd of their own.
func TestRootCertificateOfTheMachine(t *testing.T) {
	t.Parallel()
	own, machine := t.TempDir(), t.TempDir()
	put := func(state, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(state, certsDir, certs.RootFile)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(state, certsDir, certs.RootFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := &cli{env: environment{"STATE_DIRECTORY=" + own}}
	if _, err := c.rootCertificate(machine); err == nil || !strings.Contains(err.Error(), "cannot find a root certificate") {
		t.Errorf("there is none: %v", err)
	}
	put(machine, "the machine's")
	if root, err := c.rootCertificate(machine); err != nil || string(root) != "the machine's" {
		t.Errorf("%q, %v", root, err)
	}
	if root, err := c.rootCertificate(""); err == nil {
		t.Errorf("somebody who is not root got %q", root)
	}
	put(own, "own")
	if root, err := c.rootCertificate(machine); err != nil || string(root) != "own" {
		t.Errorf("%q, %v", root, err)
	}
}
