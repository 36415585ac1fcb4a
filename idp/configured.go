package idp

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/mcpd/mcpd/idp/cimd"
)

// ClientConfig is one [auth.clients.NAME]: a client that the operator knows. NAME is its client_id.
type ClientConfig struct {
	// Name is what people are shown. Default: the client_id.
	Name string `koanf:"name"`

	// Secret is what the client proves itself with, at least 32 characters. Default: none.
	Secret string `koanf:"secret"`

	// Keys are what the client proves itself with instead, by signing (private_key_jwt): the https URL of a set of
	// public keys (RFC 7517), or that set as JSON text. Default: none.
	Keys string `koanf:"keys"`

	// Redirects are its redirect URIs. Default: none; then nobody can sign in to it.
	Redirects []string `koanf:"redirects"`

	// LogoutRedirects are where a browser may go after signing out. Default: none.
	LogoutRedirects []string `koanf:"logout_redirects"`

	// Service lets it get tokens in its own name (client credentials). It is then the user "service:NAME", whom a
	// server's allow must list. It needs a secret or keys. Default: false.
	Service bool `koanf:"service"`

	// Introspect lets it ask about every token (RFC 7662), as a resource server that is not behind mcpd must. It needs a
	// secret or keys. Default: false, which is about its own tokens.
	Introspect bool `koanf:"introspect"`

	// Exchange lists the servers between which it may exchange tokens (RFC 8693): it has a person's token for one, and gets one
	// for another that the person may use too, without asking them. * stands for any run of characters. It needs a secret or
	// keys. Default: none.
	Exchange []string `koanf:"exchange"`
}

// configuredID is what an operator may call a client: nothing that could be an identifier of another kind.
var configuredID = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

const minSecret = 32

// validate returns what is wrong with one configured client, each error naming its key.
func (c ClientConfig) validate(id string, schemes []string) (errs []error) {
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("clients.%s%s: %s", id, key, fmt.Sprintf(format, args...)))
	}
	if !configuredID.MatchString(id) || strings.HasPrefix(id, "cli_") {
		errs = append(errs, fmt.Errorf("clients: %q cannot be a client_id: small letters, digits, dots and dashes, at most 64, not beginning with cli_", id))
	}
	if c.Secret != "" && len(c.Secret) < minSecret {
		bad(".secret", "must have at least %d characters: make one with `openssl rand -hex 32`", minSecret)
	}
	if c.Secret != "" && c.Keys != "" {
		bad(".keys", "a client proves itself by secret or by keys, not both")
	}
	if c.Keys != "" && !strings.HasPrefix(c.Keys, "https://") {
		if _, err := parseKeys([]byte(c.Keys)); err != nil {
			bad(".keys", "%v", err)
		}
	} else if c.Keys != "" && cimd.CheckID(c.Keys) != nil {
		bad(".keys", "is not the https URL of a set of keys")
	}
	for n, uri := range c.Redirects {
		if err := checkRedirect(uri, schemes); err != nil {
			bad(fmt.Sprintf(".redirects[%d]", n), "%v", err)
		}
	}
	if err := checkLogoutURIs(c.LogoutRedirects); err != nil {
		bad(".logout_redirects", "%v", err)
	}
	if (c.Service || c.Introspect || len(c.Exchange) > 0) && c.Secret == "" && c.Keys == "" {
		bad("", "needs a secret or keys to be a service, to introspect, or to exchange tokens")
	}
	return errs
}

func (c ClientConfig) client(id string) Client {
	out := Client{
		ID: id, Kind: Configured, Name: cleanName(c.Name), RedirectURIs: c.Redirects, LogoutURIs: c.LogoutRedirects,
		AuthMethod: string(oidc.AuthMethodNone), Service: c.Service, Introspects: c.Introspect, Exchange: c.Exchange,
	}
	if out.Name == "" {
		out.Name = id
	}
	switch {
	case c.Secret != "":
		out.AuthMethod, out.Secret = string(oidc.AuthMethodBasic), DigestOf(c.Secret)
	case strings.HasPrefix(c.Keys, "https://"):
		out.AuthMethod, out.KeysURI = methodSigned, c.Keys
	case c.Keys != "":
		out.AuthMethod, out.Keys = methodSigned, []byte(c.Keys)
	}
	return out
}

// configure brings the store in line with the configured clients. One that is configured no longer goes with all its tokens.
func (i *Issuer) configure(ctx context.Context) error {
	known, err := i.store.Clients().List(ctx, Configured)
	if err != nil {
		return fmt.Errorf("cannot list configured clients: %w", err)
	}
	have := make(map[string]Client, len(known))
	for _, c := range known {
		have[c.ID] = c
	}
	for id, config := range i.config.Clients {
		c := config.client(id)
		old, ok := have[id]
		delete(have, id)
		if !ok {
			c.Created, c.Used = i.now(), i.now() // used: it is never swept
			err = i.store.Clients().Create(ctx, c, math.MaxInt)
		} else if c.Created, c.Used = old.Created, old.Used; !reflect.DeepEqual(c, old) {
			err = i.store.Clients().Update(ctx, c)
		}
		if err != nil {
			return fmt.Errorf("cannot keep client %q: %w", id, err)
		}
		if config.Service {
			if _, err := i.service(ctx, id); err != nil {
				return err
			}
		}
	}
	for id := range have {
		if err := i.store.Clients().Delete(ctx, id); err != nil {
			return fmt.Errorf("cannot remove client %q: %w", id, err)
		}
	}
	return nil
}
