//go:build !race

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpd/mcpd/idp/upstream/upstreamtest"
)

// TestPasskeys: a real browser with a virtual authenticator signs in by passkey, by password and passkey, by password and code,
// by a linked identity and a recovery code, and by nothing that is locked or removed, connects a device, and sets up a second
// step where one must. That is testdata/peers/people.mjs, line by line.
func TestPasskeys(t *testing.T) {
	t.Parallel()
	foreign(t)
	need(t, "node", "chromium", "npm:playwright-core", "npm:axe-core")
	s := upstreamtest.OpenID(t)
	s.Person = &upstreamtest.Person{Subject: "17", Email: "alice@corp.example", Verified: true}
	d := startDaemon(t, fmt.Sprintf(`
[auth]
device = true

[auth.providers.corp]
label         = "Corp"
url           = %q
client_id     = %q
client_secret = %q
link          = true
%s`, s.URL, upstreamtest.ClientID, upstreamtest.ClientSecret, demoConfig))
	stricter := startDaemon(t, "[auth]\nsecond_step = \"required\"\n"+demoConfig)
	d.addUser()
	stricter.addUser()
	environ, _ := browserEnv(t, d, "passkeys")
	cmd := exec.CommandContext(t.Context(), nodeBinary(), filepath.Join(peersDir(), "people.mjs"),
		strings.TrimSuffix(d.url("demo"), "/demo/mcp"), strings.TrimSuffix(stricter.url("demo"), "/demo/mcp"))
	cmd.Env = append(environ, "MCPD_TEST_SHOTS="+os.Getenv("MCPD_TEST_SHOTS"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := strings.Count(string(out), "\n"); n != 12 {
		t.Errorf("%d of 12 things went well:\n%s", n, out)
	}
}
