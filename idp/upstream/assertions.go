package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Assertions is the [auth.providers.NAME.assertions] table: what programs bring from an OpenID Connect provider instead of a
// sign-in (Identity Assertion JWT Authorization Grant, of MCP's enterprise-managed authorization).
type Assertions struct {
	// Clients lists which programs may bring one, by client_id; * stands for any run of characters. Each must prove itself
	// with a secret or keys, and an assertion is good only for the one that it names. Default: none.
	Clients []string `koanf:"clients"`

	// Keys are the provider's public keys, a set (RFC 7517) as JSON text. Default: those that it publishes, looked up when needed.
	Keys string `koanf:"keys"`

	// Algorithms are the signatures that count. Default: RS256, PS256, ES256, ES384, EdDSA.
	Algorithms []string `koanf:"algorithms"`

	// Subject is the claim that says who it is about, as sub does in the provider's ID tokens. Default "sub".
	Subject string `koanf:"subject"`
}

func (a Assertions) resolved() Assertions {
	if len(a.Algorithms) == 0 {
		a.Algorithms = strings.Fields("RS256 PS256 ES256 ES384 EdDSA")
	}
	if a.Subject == "" {
		a.Subject = "sub"
	}
	return a
}

func (a Assertions) validate(kind string, bad func(key, format string, args ...any)) {
	if len(a.Clients) > 0 && kind == typeGitHub {
		bad("assertions.clients", "GitHub makes no assertions")
	}
	if slices.Contains(a.Clients, "") {
		bad("assertions.clients", "has an empty client_id")
	}
	for _, alg := range a.Algorithms {
		if !slices.Contains(signatures, alg) {
			bad("assertions.algorithms", "%q is not one of %s", alg, strings.Join(signatures, ", "))
		}
	}
}

const (
	maxKeys   = 256 << 10 // bytes
	freshKeys = 15 * time.Minute
)

// Keys fetches the provider's set of keys as it publishes it, and says until when that may be used.
func (p *Provider) Keys(ctx context.Context) ([]byte, time.Time, error) {
	o, ok := p.way.(*openID)
	if !ok {
		return nil, time.Time{}, errors.New("the provider publishes no keys")
	}
	if _, _, err := o.discover(ctx); err != nil {
		return nil, time.Time{}, err
	}
	o.mu.Lock()
	from := o.keys
	o.mu.Unlock()
	if err := checkURL(from); err != nil {
		return nil, time.Time{}, fmt.Errorf("cannot use the address of the provider's keys: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, time.Time{}, err
	}
	resp, err := o.client.Do(r)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("cannot fetch the provider's keys: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxKeys))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("cannot fetch the provider's keys: %w", err)
	}
	return text, time.Now().Add(freshKeys), nil
}

// Said reads whom the claims of an assertion are about. The e-mail address is "" unless the provider has checked it; groups
// tells whether they say all of the groups.
func (p *Provider) Said(claims map[string]any) (id Identity, groups bool) {
	o, ok := p.way.(*openID)
	if !ok {
		return Identity{}, false
	}
	id.Subject, _ = claims[p.Assertions.Subject].(string)
	email, _ := claims["email"].(string)
	checked, _ := claims["email_verified"].(bool)
	if len(id.Subject) > maxSubject {
		id.Subject = ""
	}
	if checked && o.google(email, claims) == nil {
		id.Email = email
	}
	id.Groups = tidy(p.prefix, o.groups(claims))
	_, groups = claims[o.config.Groups]
	return id, groups || o.config.Groups == noGroups
}
