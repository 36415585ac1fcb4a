package dns

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-acme/lego/v5/challenge/dns01"
	"github.com/mholt/acmez/v3/acme"
)

// Turns are taken by all who share a storage; certmagic.Storage has them.
type Turns interface {
	Lock(ctx context.Context, name string) error
	Unlock(ctx context.Context, name string) error
}

// Solver solves DNS-01 challenges; it is an acmez.Solver and an acmez.Waiter.
type Solver struct {
	cfg      Config
	provider provider
	turns    Turns // nil where nobody else writes
	lookup   lookup
	every    time.Duration // between two looks of Wait

	mu        sync.Mutex
	presented map[string]record // by the challenge's token
	free      chan struct{}     // closed and made anew when a record goes
}

// record is one TXT value to publish.
type record struct {
	domain, token, keyAuth string // as the challenge has them
	name, value            string // what the record is in the end; name is absolute, after CNAMEs
}

// provider writes records.
type provider interface {
	add(ctx context.Context, r record) error
	remove(ctx context.Context, r record) error
	// serial tells that a second value at a name would take the place of the first.
	serial() bool
}

// New makes the solver of a Config that is valid and names a provider. Where a second value at a
// name would take the place of the first, it takes turns with the others.
func New(cfg Config, turns Turns) (*Solver, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("cannot use the DNS provider: %w", err)
	}
	p, err := providers()[cfg.Provider].build(cfg.Settings)
	if err != nil {
		return nil, fmt.Errorf("cannot use the DNS provider %s: %s", cfg.Provider, redact(err.Error(), cfg.Settings))
	}
	s := &Solver{cfg: cfg, provider: p, turns: turns, every: 2 * time.Second, presented: map[string]record{}, free: make(chan struct{})}
	if s.lookup, err = newLookup(cfg.Resolvers); err != nil {
		return nil, err
	}
	if _, ours := p.(*rfc2136); !ours && len(cfg.Resolvers) > 0 {
		// lego's providers find zones by resolvers that are global to it. One daemon has one provider.
		o := dns01.NewOptions()
		o.RecursiveNameservers = s.lookup.resolvers
		dns01.SetDefaultClient(dns01.NewClient(o))
	}
	return s, nil
}

// Present publishes the challenge's value.
func (s *Solver) Present(ctx context.Context, c acme.Challenge) error {
	r := record{domain: c.Identifier.Value, token: c.Token, keyAuth: c.KeyAuthorization, value: c.DNS01KeyAuthorization()}
	var err error
	if r.name, err = s.lookup.delegated(ctx, absolute(c.DNS01TXTRecordName())); err != nil {
		return err
	}
	if err := s.reserve(ctx, r); err != nil {
		return err
	}
	if err := s.provider.add(ctx, r); err != nil {
		s.forget(r)
		return s.explain("write", r, err)
	}
	return nil
}

// reserve notes a record, and where values replace each other waits until its name is free.
func (s *Solver) reserve(ctx context.Context, r record) error {
	for {
		s.mu.Lock()
		taken := s.provider.serial() && slices.ContainsFunc(slices.Collect(maps.Values(s.presented)), func(o record) bool { return o.name == r.name })
		if !taken {
			s.presented[r.token] = r
			s.mu.Unlock()
			return s.takeTurn(ctx, r)
		}
		free := s.free
		s.mu.Unlock()
		select {
		case <-free:
		case <-ctx.Done():
			return fmt.Errorf("cannot write the TXT record %s: another challenge for the same name is under way: %w", r.name, ctx.Err())
		}
	}
}

// takeTurn waits for other processes as reserve does for this one.
func (s *Solver) takeTurn(ctx context.Context, r record) error {
	if s.turns == nil || !s.provider.serial() {
		return nil
	}
	if err := s.turns.Lock(ctx, turnAt(r)); err != nil {
		s.drop(r)
		return fmt.Errorf("cannot write the TXT record %s: cannot wait for others who may: %w", r.name, err)
	}
	return nil
}

func turnAt(r record) string { return "dns_" + r.name }

// forget gives up what reserve has got.
func (s *Solver) forget(r record) {
	if s.turns != nil && s.provider.serial() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = s.turns.Unlock(ctx, turnAt(r)) // a lock that cannot be given back runs out
	}
	s.drop(r)
}

func (s *Solver) drop(r record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.presented, r.token)
	close(s.free)
	s.free = make(chan struct{})
}

func (s *Solver) record(token string) (record, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.presented[token]
	return r, ok
}

// CleanUp removes what Present has published; after a Present that failed there is nothing to do.
func (s *Solver) CleanUp(ctx context.Context, c acme.Challenge) error {
	r, ok := s.record(c.Token)
	if !ok {
		return nil
	}
	defer s.forget(r)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := s.provider.remove(ctx, r); err != nil {
		return s.explain("remove", r, err)
	}
	return nil
}

// Wait returns once everybody who matters sees the record. One resolver that does not is
// enough for a failure: the authority looks from several places.
func (s *Solver) Wait(ctx context.Context, c acme.Challenge) error {
	r, ok := s.record(c.Token)
	if !ok {
		return errors.New("cannot wait for a record that was not written")
	}
	began := time.Now()
	late := time.After(s.cfg.Timeout) // no deadline of the context: that would cut the last look, and tell of itself
	servers, err := s.lookup.witnesses(ctx, r.name)
	if err != nil {
		return err
	}
	for {
		blind := s.blind(ctx, servers, r)
		if len(blind) == 0 {
			return nil
		}
		select {
		case <-time.After(s.every):
			continue
		case <-ctx.Done():
		case <-late:
		}
		return fmt.Errorf("cannot prove %s: %s; waited %s", r.domain, strings.Join(blind, "; "), time.Since(began).Round(time.Second))
	}
}

// blind asks all servers at the same time, and tells of those that do not see the record.
func (s *Solver) blind(ctx context.Context, servers []witness, r record) []string {
	found := make([]string, len(servers))
	var all sync.WaitGroup
	for i, w := range servers {
		all.Go(func() { found[i] = s.lookup.sees(ctx, w, r) })
	}
	all.Wait()
	return slices.DeleteFunc(found, func(text string) bool { return text == "" })
}

// explain makes a sentence of what a provider says: the usual causes first, then its own words.
func (s *Solver) explain(do string, r record, err error) error {
	text, cause := redact(err.Error(), s.cfg.Settings), ""
	low := strings.ToLower(text)
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(low, w) })
	}
	switch {
	case !s.provider.serial(): // ours says it itself
	case has("403", "forbidden", "permission", "not authorized", "access denied", "accessdenied", "not allowed"):
		cause = "the credentials are known, but may not write there: "
	case has("401", "unauthorized", "authentication", "invalid token", "invalid api", "bad credentials", "invalidclienttokenid"):
		cause = "the credentials are not accepted: "
	case has("could not find zone", "zone not found", "no zone", "not find the zone", "domain not found", "could not find the start of authority"):
		cause = "these credentials see no zone for this name: "
	}
	return fmt.Errorf("cannot %s the TXT record %s by %s: %s%s", do, r.name, s.cfg.Provider, cause, text)
}

// Try does with a value of no meaning what a challenge would do: write, wait until all see it, remove.
func (s *Solver) Try(ctx context.Context, domain string) error {
	c := acme.Challenge{Type: acme.ChallengeTypeDNS01, Token: rand.Text(), KeyAuthorization: rand.Text(), Identifier: acme.Identifier{Type: "dns", Value: domain}}
	if err := s.Present(ctx, c); err != nil {
		return err
	}
	return errors.Join(s.Wait(ctx, c), s.CleanUp(ctx, c))
}
