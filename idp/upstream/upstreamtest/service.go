package upstreamtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// ClientID and ClientSecret are the one client's that every Service knows.
const (
	ClientID     = "mcpd"
	ClientSecret = "the secret of mcpd"
)

// Person is somebody at the service.
type Person struct {
	Subject  string // of GitHub a number
	Email    string
	Verified bool
	Groups   []string // of GitHub the organisations
	Teams    []string // of GitHub only, as organisation/team
}

// Service is a provider. Its fields may be changed between requests with Set.
type Service struct {
	URL string

	// Person is who signs in there; nil refuses.
	Person *Person

	// Change changes the claims of an ID token before it is signed, and may return another signer.
	Change func(claims map[string]any) (jose.Signer, error)

	// InUserinfo puts everything but the subject into userinfo only.
	InUserinfo bool

	// Program is the client_id, at whoever takes the assertion, of the program that exchanges an ID token for one.
	Program string

	// Strange makes the token endpoint know no client, as after a change of its secret.
	Strange bool

	// Lost makes userinfo a failure.
	Lost bool

	// Bare makes the answer to a refresh token come without an ID token.
	Bare bool

	// Shy makes GitHub's API refuse to tell of teams, as it does without the right to.
	Shy bool

	// Down makes every answer a failure.
	Down bool

	// Requests counts what came in.
	Requests int

	t     testing.TB
	mu    sync.Mutex
	codes map[string]url.Values // the authorization requests
	key   *ecdsa.PrivateKey
	again string // the refresh token that is good
}

func start(t testing.TB) (*Service, *http.ServeMux) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, mux := &Service{t: t, codes: map[string]url.Values{}, key: key}, http.NewServeMux()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.Requests++
		if s.Down {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s, mux
}

// Set changes the service while it runs.
func (s *Service) Set(change func(s *Service)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// OpenID starts an OpenID Connect provider.
func OpenID(t testing.TB) *Service {
	s, mux := start(t)
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		base := strings.TrimSuffix(s.URL, "/")
		answer(w, map[string]any{
			"issuer": s.URL, "authorization_endpoint": base + "/authorize", "token_endpoint": base + "/token", "jwks_uri": base + "/jwks",
			"userinfo_endpoint": base + "/userinfo", "response_types_supported": []string{"code"}, "code_challenge_methods_supported": []string{"S256"},
			"authorization_response_iss_parameter_supported": true,
		})
	})
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: s.key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}})
	})
	mux.HandleFunc("/authorize", s.authorize)
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("grant_type") == "urn:ietf:params:oauth:grant-type:token-exchange" {
			s.exchange(w, r)
			return
		}
		if r.FormValue("grant_type") == "refresh_token" {
			s.refresh(w, r)
			return
		}
		asked, ok := s.redeem(w, r)
		if !ok {
			return
		}
		token, err := s.idToken(asked.Get("nonce"))
		if err != nil {
			s.t.Error(err)
		}
		out := map[string]any{"access_token": "access", "token_type": "Bearer", "expires_in": 60, "id_token": token}
		if strings.Contains(asked.Get("scope"), "offline_access") {
			s.again = rand.Text()
			out["refresh_token"] = s.again
		}
		answer(w, out)
	})
	mux.HandleFunc("/userinfo", func(w http.ResponseWriter, r *http.Request) {
		if s.Lost || r.Header.Get("Authorization") != "Bearer access" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		answer(w, s.claims(true))
	})
	return s
}

// claims are what the provider says of the person.
func (s *Service) claims(all bool) map[string]any {
	c := map[string]any{"sub": s.Person.Subject}
	if all {
		c["email"], c["email_verified"], c["groups"] = s.Person.Email, s.Person.Verified, s.Person.Groups
	}
	return c
}

// Signer makes a signer with the provider's own key.
func (s *Service) Signer() (jose.Signer, error) {
	return jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: s.key}, (&jose.SignerOptions{}).WithHeader("kid", "1"))
}

func (s *Service) idToken(nonce string) (string, error) {
	c := s.claims(!s.InUserinfo)
	now := time.Now()
	c["iss"], c["aud"], c["nonce"], c["iat"], c["exp"] = s.URL, ClientID, nonce, now.Unix(), now.Add(10*time.Minute).Unix()
	signer, err := s.Signer()
	if s.Change != nil && err == nil {
		var other jose.Signer
		if other, err = s.Change(c); other != nil {
			signer = other
		}
	}
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(c).Serialize()
}

// IDToken is what a program gets that signs the person in for itself.
func (s *Service) IDToken() (string, error) { return s.idToken("") }

// Assertion signs an identity assertion for one program and one resource of an audience; change changes it before.
func (s *Service) Assertion(audience, resource, program string, change func(claims map[string]any, options *jose.SignerOptions)) (string, error) {
	now := time.Now()
	c := s.claims(!s.InUserinfo)
	c["iss"], c["aud"], c["resource"], c["client_id"], c["jti"] = s.URL, audience, resource, program, rand.Text()
	c["iat"], c["exp"] = now.Unix(), now.Add(5*time.Minute).Unix()
	options := (&jose.SignerOptions{}).WithHeader("kid", "1").WithType("oauth-id-jag+jwt")
	if change != nil {
		change(c, options)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: s.key}, options)
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(c).Serialize()
}

// exchange gives an assertion for an ID token (RFC 8693), to a program that people sign in to.
func (s *Service) exchange(w http.ResponseWriter, r *http.Request) {
	const jag = "urn:ietf:params:oauth:token-type:id-jag"
	var said jwt.Claims
	token, err := jwt.ParseSigned(r.FormValue("subject_token"), []jose.SignatureAlgorithm{jose.ES256})
	if err == nil {
		err = token.Claims(s.key.Public(), &said)
	}
	if err != nil || said.Subject != s.Person.Subject || r.FormValue("requested_token_type") != jag {
		s.t.Errorf("token exchange: %v %v", r.Form, err)
	}
	text, err := s.Assertion(r.FormValue("audience"), r.FormValue("resource"), s.Program, nil)
	if err != nil {
		s.t.Error(err)
	}
	answer(w, map[string]any{"access_token": text, "issued_token_type": jag, "token_type": "N_A", "expires_in": 300})
}

// refresh takes a refresh token, once, while there is somebody.
func (s *Service) refresh(w http.ResponseWriter, r *http.Request) {
	if s.Strange {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error":"invalid_client"}`))
		return
	}
	if s.Person == nil || s.again == "" || r.FormValue("refresh_token") != s.again {
		s.again = ""
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
		return
	}
	s.again = rand.Text()
	out := map[string]any{"access_token": "access", "token_type": "Bearer", "expires_in": 60, "refresh_token": s.again}
	if !s.Bare {
		token, err := s.idToken("")
		if err != nil {
			s.t.Error(err)
		}
		out["id_token"] = token
	}
	answer(w, out)
}

// authorize lets the person in at once.
func (s *Service) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("client_id") != ClientID || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || q.Get("state") == "" {
		s.t.Errorf("authorization request: %v", q)
	}
	back := url.Values{"state": q["state"], "iss": {s.URL}}
	if s.Person == nil {
		back.Set("error", "access_denied")
		back.Set("error_description", "<b>no</b>")
	} else {
		code := rand.Text()
		s.codes[code] = q
		back.Set("code", code)
	}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

// redeem takes a code, once, and the proof that it is the client's.
func (s *Service) redeem(w http.ResponseWriter, r *http.Request) (url.Values, bool) {
	asked, ok := s.codes[r.FormValue("code")]
	delete(s.codes, r.FormValue("code"))
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	id, secret, basic := r.BasicAuth()
	if id, _ = url.QueryUnescape(id); !basic {
		id, secret = r.FormValue("client_id"), r.FormValue("client_secret")
	} else {
		secret, _ = url.QueryUnescape(secret)
	}
	if !ok || id != ClientID || secret != ClientSecret || r.FormValue("redirect_uri") != asked.Get("redirect_uri") ||
		base64.RawURLEncoding.EncodeToString(sum[:]) != asked.Get("code_challenge") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
		return nil, false
	}
	return asked, true
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that left is no error
}

// RefreshToken is the one that is good. To be called in Set.
func (s *Service) RefreshToken() string { return s.again }
