package passkey_test

import (
	"testing"

	"github.com/mcpd/mcpd/idp/passkey"
)

func TestNew(t *testing.T) {
	for origin, want := range map[string]bool{
		"https://auth.mcp.example.com": true, "http://localhost:8080": true, "http://127.0.0.1:8080": false, "http://[::1]:8080": false,
	} {
		if s, err := passkey.New(origin); err != nil || (s != nil) != want {
			t.Errorf("%s: %v %v", origin, s, err)
		}
	}
}

// What a browser cannot have answered is refused, and breaks nothing.
func TestNonsense(t *testing.T) {
	s, err := passkey.New("https://auth.mcp.example.com")
	if err != nil {
		t.Fatal(err)
	}
	p := passkey.Person{ID: "usr_1", Name: "alice"}
	made, err := s.Create(p)
	if err != nil {
		t.Fatal(err)
	}
	asked, err := s.Ask(passkey.Person{})
	if err != nil {
		t.Fatal(err)
	}
	if made.Options == "" || string(made.State) == string(asked.State) {
		t.Error("two ceremonies are one")
	}
	for _, answer := range []string{"", "{}", "null", `{"id":"AA","rawId":"AA","type":"public-key","response":{}}`} {
		if _, err := s.Created(p, made.State, answer); err == nil {
			t.Errorf("created by %q", answer)
		}
		if _, err := s.Answered(asked.State, answer, func(string) (passkey.Person, error) { return p, nil }); err == nil {
			t.Errorf("answered by %q", answer)
		}
	}
	if _, err := s.Created(p, []byte("x"), "{}"); err == nil {
		t.Error("a ceremony that is none")
	}
	if _, err := s.Ask(p); err == nil {
		t.Error("asked somebody who has no passkey")
	}
}
