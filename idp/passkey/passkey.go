package passkey

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

// Site is who asks for passkeys. It is safe for concurrent use.
type Site struct{ authn *webauthn.WebAuthn }

// Timeout is how long a person may take to find their key.
const Timeout = 5 * time.Minute

// New makes a Site of an origin. nil, without an error, means that there are no passkeys there: browsers have none for bare addresses.
func New(origin string) (*Site, error) {
	u, err := url.Parse(origin)
	if err != nil {
		return nil, fmt.Errorf("cannot read origin: %w", err)
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		return nil, nil
	}
	limit := webauthn.TimeoutConfig{Timeout: Timeout, TimeoutUVD: Timeout}
	a, err := webauthn.New(&webauthn.Config{
		RPID: u.Hostname(), RPDisplayName: u.Hostname(), RPOrigins: []string{origin}, AttestationPreference: protocol.PreferNoAttestation,
		Timeouts: webauthn.TimeoutsConfig{Login: limit, Registration: limit},
	})
	if err != nil {
		return nil, fmt.Errorf("cannot use passkeys: %w", err)
	}
	return &Site{authn: a}, nil
}

// Person is whose passkeys they are.
type Person struct {
	ID, Name    string
	Credentials [][]byte // as Credential.Data, all that they have
}

// Credential is a passkey.
type Credential struct {
	Handle string // names it among all
	Data   []byte // is the rest, public
}

// Ceremony is what the browser is asked, and what must be kept until it answers. The person must not change it.
type Ceremony struct {
	Options string // JSON, for the browser
	State   []byte
}

// Create asks for a new passkey.
func (s *Site) Create(p Person) (Ceremony, error) {
	u, err := p.user()
	if err != nil {
		return Ceremony{}, err
	}
	exclude := make([]protocol.CredentialDescriptor, len(u.credentials))
	for n, c := range u.credentials {
		exclude[n] = c.Descriptor()
	}
	options, session, err := s.authn.BeginRegistration(u, webauthn.WithExclusions(exclude), webauthn.WithAuthenticatorSelection(protocol.AuthenticatorSelection{
		ResidentKey: protocol.ResidentKeyRequirementPreferred, UserVerification: protocol.VerificationPreferred,
	}))
	if err != nil {
		return Ceremony{}, fmt.Errorf("cannot ask for a new passkey: %w", err)
	}
	return ceremony(options.Response, session)
}

// Created checks the browser's answer.
func (s *Site) Created(p Person, state []byte, answer string) (Credential, error) {
	u, session, err := p.resume(state)
	if err != nil {
		return Credential{}, err
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes([]byte(answer))
	if err != nil {
		return Credential{}, fmt.Errorf("cannot read new passkey: %w", err)
	}
	c, err := s.authn.CreateCredential(u, session, parsed)
	if err != nil {
		return Credential{}, fmt.Errorf("cannot accept new passkey: %w", err)
	}
	return keep(c)
}

// Ask asks a person for one of their passkeys; or, when p has no ID, anybody for one that says who they are, unlocked
// by a finger, a face or a PIN: it is then two proofs in one.
func (s *Site) Ask(p Person) (Ceremony, error) {
	if p.ID == "" {
		options, session, err := s.authn.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
		if err != nil {
			return Ceremony{}, fmt.Errorf("cannot ask for a passkey: %w", err)
		}
		return ceremony(options.Response, session)
	}
	u, err := p.user()
	if err != nil {
		return Ceremony{}, err
	}
	options, session, err := s.authn.BeginLogin(u, webauthn.WithUserVerification(protocol.VerificationPreferred))
	if err != nil {
		return Ceremony{}, fmt.Errorf("cannot ask for a passkey: %w", err)
	}
	return ceremony(options.Response, session)
}

var errCloned = errors.New("its counter went backwards: there are two of it")

// Answered checks the browser's answer. Find returns the person that a passkey is of, by its handle.
func (s *Site) Answered(state []byte, answer string, find func(handle string) (Person, error)) (Credential, error) {
	parsed, err := protocol.ParseCredentialRequestResponseBytes([]byte(answer))
	if err != nil {
		return Credential{}, fmt.Errorf("cannot read passkey: %w", err)
	}
	p, err := find(handleOf(parsed.RawID))
	if err != nil {
		return Credential{}, err
	}
	u, session, err := p.resume(state)
	if err != nil {
		return Credential{}, err
	}
	var c *webauthn.Credential
	if len(session.UserID) > 0 {
		c, err = s.authn.ValidateLogin(u, session, parsed)
	} else {
		_, c, err = s.authn.ValidatePasskeyLogin(func([]byte, []byte) (webauthn.User, error) { return u, nil }, session, parsed)
	}
	if err == nil && c.Authenticator.CloneWarning {
		err = errCloned
	}
	if err != nil {
		return Credential{}, fmt.Errorf("cannot accept passkey: %w", err)
	}
	return keep(c)
}

func ceremony(options any, session *webauthn.SessionData) (Ceremony, error) {
	o, err := json.Marshal(options)
	if err != nil {
		return Ceremony{}, err
	}
	state, err := json.Marshal(session)
	return Ceremony{Options: string(o), State: state}, err
}

func keep(c *webauthn.Credential) (Credential, error) {
	c.Attestation = webauthn.CredentialAttestation{} // none was asked for, and nobody will look
	data, err := json.Marshal(c)
	return Credential{Handle: handleOf(c.ID), Data: data}, err
}

func handleOf(id []byte) string { return base64.RawURLEncoding.EncodeToString(id) }

// user is a Person as the library wants one.
type user struct {
	Person
	credentials []webauthn.Credential
}

func (p Person) user() (user, error) {
	u := user{Person: p}
	for _, data := range p.Credentials {
		var c webauthn.Credential
		if err := json.Unmarshal(data, &c); err != nil {
			return u, fmt.Errorf("cannot read stored passkey: %w", err)
		}
		u.credentials = append(u.credentials, c)
	}
	return u, nil
}

func (p Person) resume(state []byte) (user, webauthn.SessionData, error) {
	var session webauthn.SessionData
	if err := json.Unmarshal(state, &session); err != nil {
		return user{}, session, fmt.Errorf("cannot read ceremony: %w", err)
	}
	u, err := p.user()
	return u, session, err
}

// WebAuthnID implements webauthn.User.
func (u user) WebAuthnID() []byte { return []byte(u.ID) }

// WebAuthnName implements webauthn.User.
func (u user) WebAuthnName() string { return u.Name }

// WebAuthnDisplayName implements webauthn.User.
func (u user) WebAuthnDisplayName() string { return u.Name }

// WebAuthnCredentials implements webauthn.User.
func (u user) WebAuthnCredentials() []webauthn.Credential { return u.credentials }
