package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/mcpd/mcpd/router/certs/dns"
)

// authority gets certificates by ACME (RFC 8555). With a DNS provider the domain and
// its wildcard are proved by DNS-01, and only hosts elsewhere one by one; without,
// every host is, by TLS-ALPN-01 or HTTP-01 on our own listeners. certmagic does the
// protocol, the renewals and the locks, with a cache and configurations of its own.
type authority struct {
	log     *zap.Logger
	domain  string
	hosts   func() []string
	storage certmagic.Storage
	left    func() // closes storage
	cache   *certmagic.Cache
	wild    *certmagic.Config // by DNS-01; nil without a provider
	each    *certmagic.Config // by TLS-ALPN-01 and HTTP-01

	ctx     context.Context // of all that goes on behind
	cancel  context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	wanted  map[string]context.CancelFunc // ends the getting of a name's first certificate
	failed  map[string]string             // why there is no certificate, or no new one
}

func openACME(ctx context.Context, o Options) (*authority, error) {
	a := &authority{
		log: o.Logger, domain: normal(o.Domain), hosts: o.Hosts, storage: &certmagic.FileStorage{Path: o.Dir},
		wanted: map[string]context.CancelFunc{}, failed: map[string]string{}, left: func() {},
	}
	if o.DSN != "" {
		s, err := openShared(ctx, o.DSN)
		if err != nil {
			return nil, err
		}
		a.storage, a.left = s, s.close
	}
	if err := a.open(o); err != nil {
		a.left()
		return nil, err
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	return a, nil
}

// open makes the cache and the configurations that use it.
func (a *authority) open(o Options) error {
	theirs := o.Logger // certmagic tells every step at info
	if !o.Logger.Core().Enabled(zapcore.DebugLevel) {
		theirs = o.Logger.WithOptions(zap.IncreaseLevel(zapcore.WarnLevel))
	}
	var solver acmez.Solver
	if o.Config.ACME.DNS.Provider != "" {
		s, err := dns.New(o.Config.ACME.DNS, a.storage)
		if err != nil {
			return err
		}
		solver = s
	}
	a.cache = certmagic.NewCache(certmagic.CacheOptions{Logger: theirs, RenewCheckInterval: o.every, GetConfigForCert: func(c certmagic.Certificate) (*certmagic.Config, error) {
		return a.configFor(c.Names[0]), nil
	}})
	config := func(solver acmez.Solver) (*certmagic.Config, error) {
		magic := certmagic.New(a.cache, certmagic.Config{
			Storage: a.storage, Logger: theirs, DisableARI: !o.Config.ACME.ARI, RenewalWindowRatio: o.window, OnEvent: a.event,
		})
		issuers, err := o.issuers(magic, solver, theirs)
		magic.Issuers = issuers
		return magic, err
	}
	var err error
	if a.each, err = config(nil); err == nil && solver != nil {
		a.wild, err = config(solver)
	}
	if err != nil {
		a.cache.Stop()
	}
	return err
}

// issuers are the certificate authorities in the order in which they are tried.
func (o Options) issuers(magic *certmagic.Config, solver acmez.Solver, log *zap.Logger) (all []certmagic.Issuer, err error) {
	for _, is := range o.Config.ACME.authorities() {
		t := certmagic.ACMEIssuer{
			CA: is.Directory, Email: o.Config.ACME.Email, Agreed: true, Profile: is.Profile, Logger: log, DNS01Solver: solver,
			DisableHTTPChallenge: solver != nil || o.HTTPPort == 0, DisableTLSALPNChallenge: solver != nil || o.HTTPSPort == 0,
			// Our listeners answer. On these ports certmagic finds them, and opens none of its own.
			AltHTTPPort: o.HTTPPort, AltTLSALPNPort: o.HTTPSPort,
		}
		if is.EABKeyID != "" {
			t.ExternalAccount = &acme.EAB{KeyID: is.EABKeyID, MACKey: is.EABMACKey}
		}
		if is.Root != "" {
			if t.TrustedRoots, err = poolFrom(is.Root); err != nil {
				return nil, err
			}
		}
		all = append(all, certmagic.NewACMEIssuer(magic, t))
	}
	return all, nil
}

func poolFrom(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read the root of a certificate authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("cannot use the root of a certificate authority: %q has no certificate (PEM)", file)
	}
	return pool, nil
}

// byDNS tells whether a name is proved by DNS-01.
func (a *authority) byDNS(name string) bool {
	return a.wild != nil && (name == a.domain || name == "*."+a.domain)
}

func (a *authority) configFor(name string) *certmagic.Config {
	if a.byDNS(name) {
		return a.wild
	}
	return a.each
}

// names are those that certificates are wanted for, sorted.
func (a *authority) names() []string {
	want := map[string]bool{}
	if a.wild != nil {
		want[a.domain], want["*."+a.domain] = true, true
	}
	for _, h := range a.hosts() {
		if h = normal(h); a.wild == nil || h != a.domain && parent(h) != "*."+a.domain {
			want[h] = true
		}
	}
	return sortedNames(want)
}

// manage begins with the names that are new and lets go of those that are not routed any more.
func (a *authority) manage(context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ctx.Err() != nil {
		return nil
	}
	names := a.names()
	for name, stop := range a.wanted {
		if !slices.Contains(names, name) {
			stop()
			a.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: name}})
			delete(a.wanted, name)
			delete(a.failed, name)
		}
	}
	for _, name := range names {
		if a.wanted[name] != nil {
			continue
		}
		ctx, stop := context.WithCancel(a.ctx)
		a.wanted[name] = stop
		// Ends when the name has a certificate, which the cache then renews, or is let go of.
		a.running.Go(func() { a.begin(ctx, name) })
	}
	return nil
}

// begin loads a name's certificate or gets its first one, however many tries that takes.
func (a *authority) begin(ctx context.Context, name string) {
	magic := a.configFor(name)
	cert, err := magic.CacheManagedCertificate(ctx, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err = magic.ObtainCertAsync(ctx, name); err == nil {
			_, err = magic.CacheManagedCertificate(ctx, name)
		}
	case err == nil && cert.NeedsRenewal(magic):
		err = a.cache.RenewManagedCertificates(ctx)
	}
	if ctx.Err() != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.wanted[name] == nil { // let go of while its certificate came
			a.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: name}})
		}
	} else if err != nil {
		a.note(name, plain(err))
	}
}

func (a *authority) note(name, problem string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if problem == "" {
		delete(a.failed, name)
	} else if a.wanted[name] != nil {
		a.failed[name] = problem
	}
}

// event is what certmagic tells of.
func (a *authority) event(_ context.Context, event string, data map[string]any) error {
	name, _ := data["identifier"].(string)
	switch event {
	case "cert_obtained":
		a.note(name, "")
		a.log.Info("certificate obtained", zap.String("name", name), zap.Any("authority", data["issuer"]), zap.Any("renewal", data["renewal"]))
	case "cert_failed":
		err, _ := data["error"].(error)
		problem := plain(err)
		if tried, ok := data["issuers"].([]string); ok && len(tried) > 1 {
			problem = fmt.Sprintf("none of %s gave a certificate; the last one: %s", strings.Join(tried, ", "), problem)
		}
		a.note(name, problem)
		a.log.Error("no certificate; it is tried again", zap.String("name", name), zap.String("why", problem))
	}
	return nil
}

// plain says what an authority's problem document says, without its frame.
func plain(err error) string {
	var p acme.Problem
	if !errors.As(err, &p) {
		return fmt.Sprint(err)
	}
	text := p.Detail
	for _, sub := range p.Subproblems {
		text += "; " + sub.Identifier.Value + ": " + sub.Detail
	}
	return fmt.Sprintf("the certificate authority says: %s (%s)", text, p.Type[strings.LastIndexByte(p.Type, ':')+1:])
}

func (a *authority) certificate(hello *tls.ClientHelloInfo, name string) (*tls.Certificate, error) {
	exact, below := a.wants(name), a.wants(parent(name))
	if !exact && !below {
		return nil, nil
	}
	return a.configFor(name).GetCertificate(hello)
}

func (a *authority) wants(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.wanted[name] != nil
}

// http01 answers an authority that asks on port 80 for a host that is ours.
func (a *authority) http01(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if certmagic.LooksLikeHTTPChallenge(r) {
			for _, is := range a.each.Issuers {
				if is, ok := is.(*certmagic.ACMEIssuer); ok && is.HandleHTTPChallenge(w, r) {
					return
				}
			}
		}
		next.ServeHTTP(w, r)
	})
}

func (a *authority) status() []Certificate {
	a.mu.Lock()
	failed, names := maps.Clone(a.failed), sortedNames(a.wanted)
	a.mu.Unlock()
	var all []Certificate
	for _, name := range names {
		c := Certificate{Names: []string{name}}
		for _, cert := range a.cache.AllMatchingCertificates(name) {
			if slices.Contains(cert.Names, name) && cert.Leaf.NotAfter.After(c.NotAfter) {
				c = certificateOf(cert.Leaf)
				c.Renews = a.renews(name, cert.Leaf)
			}
		}
		if msg := failed[name]; msg != "" {
			c.Error = msg
		} else if c.NotAfter.IsZero() {
			c.Error = "not there yet: the certificate authority is being asked"
		}
		all = append(all, c)
	}
	return sorted(all)
}

// renews is the time that the authority has proposed (ARI, RFC 9773), else the last part of the certificate's life.
func (a *authority) renews(name string, leaf *x509.Certificate) time.Time {
	magic := a.configFor(name)
	id, _ := acme.ARIUniqueIdentifier(leaf)
	for _, is := range magic.Issuers {
		var meta struct {
			Issued struct {
				Renewal acme.RenewalInfo `json:"renewal_info"`
			} `json:"issuer_data"`
		}
		data, err := a.storage.Load(a.ctx, certmagic.StorageKeys.SiteMeta(is.IssuerKey(), name))
		if err != nil || magic.DisableARI || json.Unmarshal(data, &meta) != nil {
			continue
		}
		if t := meta.Issued.Renewal.SelectedTime; id != "" && meta.Issued.Renewal.UniqueIdentifier == id && !t.IsZero() {
			return t
		}
	}
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	return leaf.NotAfter.Add(-time.Duration(float64(life) * magic.RenewalWindowRatio))
}

func (a *authority) close() {
	a.cancel()
	a.running.Wait()
	a.cache.Stop()
	a.left()
}
