//go:build !race

package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// secureSets are the sets of the conformance suite that are run over TLS with tokens. dns-rebinding-protection cannot pass
// there: the suite's HTTP client takes the name to verify from the Host header that it forges.
var secureSets = []struct {
	requirements string
	scored       int
}{{"2025-11-25", 30}, {"2026-07-28", 37}}

// TestConformanceOverTLS runs the suite as a client that has signed in, against a server at a host of its own.
func TestConformanceOverTLS(t *testing.T) {
	t.Parallel()
	foreign(t)
	need(t, "node", "go", "npm:"+conformance02)
	fixture := filepath.Join(t.TempDir(), "everything-server")
	build := exec.Command("go", "build", "-o", fixture, "github.com/modelcontextprotocol/go-sdk/conformance/everything-server")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the fixture server: %v\n%s", err, out)
	}
	s := startSecure(t, fmt.Sprintf("[servers.modern]\ncommand = %q\n", fixture))
	target := s.server("modern").URL
	u, err := url.Parse(target)
	if err != nil || u.Hostname() != "modern.mcp.test" {
		t.Fatalf("the server is at %s", target)
	}
	token := s.token("modern")
	undici, err := json.Marshal("file://" + npmFile("undici", "index.js"))
	if err != nil {
		t.Fatal(err)
	}
	// The suite has no option for a token, nor for names: what is loaded before it adds both.
	preload := filepath.Join(t.TempDir(), "preload.mjs")
	script := strings.ReplaceAll(secureClient, "UNDICI", string(undici))
	if err := os.WriteFile(preload, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range secureSets {
		t.Run(c.requirements, func(t *testing.T) {
			of := conformance{suite: conformance02, target: target, env: []string{
				"NODE_EXTRA_CA_CERTS=" + s.path("root.pem"), "NODE_OPTIONS=--import=" + preload, "BEARER=" + token, "ORIGIN=https://" + u.Host,
			}}
			of.judge(t, "conformance over TLS with tokens,", "--requirements "+c.requirements, c.scored, func(name string) bool {
				return name == "dns-rebinding-protection"
			})
		})
	}
}

// secureClient sends a token with every request to ORIGIN, and finds names below .test on this machine.
const secureClient = `
import dns from 'node:dns';
import { Agent, setGlobalDispatcher } from UNDICI;
const lookup = dns.lookup;
dns.lookup = (host, options, done) => {
  if (typeof options === 'function') { done = options; options = {}; }
  if (typeof host !== 'string' || !host.endsWith('.test')) return lookup(host, options, done);
  process.nextTick(() => options?.all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4));
};
setGlobalDispatcher(new Agent({ connect: { lookup: dns.lookup } }).compose(dispatch => (o, h) => {
  if (String(o.origin) === process.env.ORIGIN) {
    const name = 'authorization', value = 'Bearer ' + process.env.BEARER;
    if (Array.isArray(o.headers)) {
      if (!o.headers.some((x, i) => i % 2 === 0 && String(x).toLowerCase() === name)) o = { ...o, headers: [...o.headers, name, value] };
    } else {
      const all = o.headers && typeof o.headers[Symbol.iterator] === 'function' ? Object.fromEntries(o.headers) : { ...o.headers };
      if (!Object.keys(all).some(k => k.toLowerCase() === name)) all[name] = value;
      o = { ...o, headers: all };
    }
  }
  return dispatch(o, h);
}));
`
