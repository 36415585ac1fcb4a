package cimd

import (
	"strings"
	"testing"
)

func TestCheckID(t *testing.T) {
	for _, id := range []string{"https://claude.ai/oauth/claude-code-client-metadata", "https://a.example:8443/x", "https://a.example/", "https://a.example/x?y=1", "https://[2606:4700::1111]/x"} {
		if err := CheckID(id); err != nil || !IsID(id) {
			t.Errorf("%s: %v", id, err)
		}
	}
	for _, id := range []string{
		"", "https://", "https://a.example", "http://a.example/x", "https:/a.example/x", "https:a.example/x", "HTTPS://a.example/x", "https:///x", "https://:443/x",
		"https://a.example/x#y", "https://a.example/x#", "https://me@a.example/x", "https://me:pw@a.example/x", "https://a.example/./x", "https://a.example/../x", "https://a.example/x/..",
		"https://a.example/%2e%2E/x", "https://a.example/x y", "https://a.example/x\n", "https://a.example/\\x", "https://ä.example/x", "https://a.example/" + strings.Repeat("x", maxID), "cli_x",
	} {
		if CheckID(id) == nil {
			t.Errorf("%q is a client_id", id)
		}
	}
}

func TestParse(t *testing.T) {
	const id = "https://a.example/x"
	with := func(more string) string {
		return `{"client_id":"https://a.example/x","client_name":"A","redirect_uris":["http://localhost/cb"]` + more + `}`
	}
	for _, good := range []string{
		with(""), with(`,"unknown":1`), with(`,"token_endpoint_auth_method":"none","jwks_uri":"http://ignored"`), with(`,"grant_types":["authorization_code","refresh_token"],"response_types":["code"]`),
		with(`,"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[]}`), with(`,"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://a.example/keys"`),
		with(`,"client_secret":null`),
	} {
		d, err := Parse(id, []byte(good))
		if err != nil {
			t.Errorf("%s: %v", good, err)
		}
		if d.AuthMethod == "none" && (d.KeysURI != "" || d.Keys != nil) {
			t.Errorf("%s: keys of a client that does not sign", good)
		}
	}
	for _, bad := range []string{
		"", "null", "[]", "{}", `"x"`, with("") + "x",
		strings.Replace(with(""), "a.example/x", "a.example/y", 1), strings.Replace(with(""), "https://a", "HTTPS://a", 1),
		strings.Replace(with(""), `"A"`, `" "`, 1), strings.Replace(with(""), `["http://localhost/cb"]`, `[]`, 1), strings.Replace(with(""), `["http://localhost/cb"]`, `"x"`, 1),
		with(`,"client_secret":"x"`), with(`,"client_secret_expires_at":0`),
		with(`,"token_endpoint_auth_method":"client_secret_basic"`), with(`,"token_endpoint_auth_method":"client_secret_post"`), with(`,"token_endpoint_auth_method":"client_secret_jwt"`),
		with(`,"token_endpoint_auth_method":"private_key_jwt"`), with(`,"token_endpoint_auth_method":"private_key_jwt","jwks":{},"jwks_uri":"https://a.example/k"`),
		with(`,"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"http://a.example/k"`),
		with(`,"grant_types":["client_credentials"]`), with(`,"response_types":["token"]`),
	} {
		if d, err := Parse(id, []byte(bad)); err == nil {
			t.Errorf("%s: %+v", bad, d)
		}
	}
	if got, err := IDOf([]byte(with(""))); err != nil || got != id {
		t.Error(got, err)
	}
	for _, bad := range []string{"", "{}", `{"client_id":"x"}`} {
		if _, err := IDOf([]byte(bad)); err == nil {
			t.Errorf("%s has a client_id", bad)
		}
	}
}

// Whatever is found at a URL: what is taken for good has the URL as its name, somewhere to return to, and no secret.
func FuzzParse(f *testing.F) {
	f.Add("https://a.example/x", []byte(`{"client_id":"https://a.example/x","client_name":"A","redirect_uris":["http://localhost/cb"]}`))
	f.Add("https://a.example/x", []byte(`{"client_id":"https://a.example/x","client_name":"A","redirect_uris":[""],"token_endpoint_auth_method":"private_key_jwt","jwks":{}}`))
	f.Fuzz(func(t *testing.T, id string, body []byte) {
		if CheckID(id) == nil && !IsID(id) {
			t.Errorf("%q", id)
		}
		d, err := Parse(id, body)
		if err != nil {
			return
		}
		if d.ID != id || d.Name == "" || len(d.RedirectURIs) == 0 || d.AuthMethod != "none" && d.AuthMethod != "private_key_jwt" {
			t.Errorf("%+v", d)
		}
		if (d.AuthMethod == "none") != (d.Keys == nil && d.KeysURI == "") {
			t.Errorf("%+v", d)
		}
	})
}
