package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// RootFile is where mode "internal" keeps the root certificate, below Options.Dir.
const RootFile = rootCert

// Keys of the root in the storage.
const (
	rootCert = "internal/root.pem"
	rootKey  = "internal/root.key"
	rootLock = "internal_root"
)

// The root is trusted by hand on each machine, so it lives long. It may sign for
// names below the domain and loopback addresses only: who trusts it, and then has
// its key stolen, still trusts nobody who claims to be their bank.
const rootLife = 10 * 365 * 24 * time.Hour

// internal signs certificates itself. The root is in the storage; leaves are in
// memory only, made anew at each start and after two thirds of their life.
type internal struct {
	log     *zap.Logger
	domain  string
	hosts   func() []string
	life    time.Duration
	root    *x509.Certificate
	key     *ecdsa.PrivateKey
	mu      sync.Mutex // over making leaves, and failed
	failed  map[string]string
	leaves  atomic.Pointer[map[string]*tls.Certificate] // by name, wildcards too; swapped whole
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func openInternal(ctx context.Context, o Options) (*internal, error) {
	in := &internal{log: o.Logger, domain: normal(o.Domain), hosts: o.Hosts, life: o.Config.Internal.Life, failed: map[string]string{}}
	if err := in.openRoot(ctx, &certmagic.FileStorage{Path: o.Dir}); err != nil {
		return nil, err
	}
	in.leaves.Store(&map[string]*tls.Certificate{})
	if err := in.manage(ctx); err != nil {
		return nil, err
	}
	ctx, in.cancel = context.WithCancel(context.WithoutCancel(ctx))
	// Ends with close.
	in.running.Go(func() {
		tick := time.NewTicker(in.life / 12)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_ = in.manage(ctx) // what fails is in the status and in the log
			}
		}
	})
	return in, nil
}

// openRoot loads the root, or makes one where there is none that may sign for the domain.
func (in *internal) openRoot(ctx context.Context, storage certmagic.Storage) error {
	if err := storage.Lock(ctx, rootLock); err != nil {
		return fmt.Errorf("cannot lock the internal authority: %w", err)
	}
	defer func() { _ = storage.Unlock(context.WithoutCancel(ctx), rootLock) }()
	certPEM, err := storage.Load(ctx, rootCert)
	if errors.Is(err, fs.ErrNotExist) {
		return in.makeRoot(ctx, storage)
	}
	keyPEM, keyErr := storage.Load(ctx, rootKey)
	if err = errors.Join(err, keyErr); err != nil {
		return fmt.Errorf("cannot load the internal authority: %w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return fmt.Errorf("cannot use the internal authority: %w; remove %s and %s to make a new one", err, rootCert, rootKey)
	}
	var ok bool
	if in.key, ok = pair.PrivateKey.(*ecdsa.PrivateKey); !ok {
		return fmt.Errorf("cannot use the internal authority: its key is no ECDSA key")
	}
	in.root = pair.Leaf
	if in.permits(in.domain) && time.Until(in.root.NotAfter) > maxInternalLife {
		return nil
	}
	in.log.Warn("the internal authority may not sign for this domain or ends soon: a new one is made, trust it with `mcpd trust`",
		zap.Strings("permits", in.root.PermittedDNSDomains), zap.Time("not_after", in.root.NotAfter))
	return in.makeRoot(ctx, storage)
}

func (in *internal) makeRoot(ctx context.Context, storage certmagic.Storage) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("cannot make the internal authority's key: %w", err)
	}
	permitted := append([]string{in.domain}, in.outside()...)
	now := time.Now()
	root := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "mcpd internal authority of " + in.domain + ", " + now.Format(time.DateOnly)},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(rootLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: permitted,
		PermittedIPRanges: []*net.IPNet{
			{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
			{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
		},
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	if err != nil {
		return fmt.Errorf("cannot make the internal authority: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("cannot write the internal authority's key: %w", err)
	}
	// The key first: a certificate without one would be an error at the next start.
	for _, f := range []struct {
		key   string
		block pem.Block
	}{{rootKey, pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}}, {rootCert, pem.Block{Type: "CERTIFICATE", Bytes: der}}} {
		if err := storage.Store(ctx, f.key, pem.EncodeToMemory(&f.block)); err != nil {
			return fmt.Errorf("cannot store the internal authority: %w", err)
		}
	}
	if in.root, err = x509.ParseCertificate(der); err != nil {
		return fmt.Errorf("cannot read back the internal authority: %w", err)
	}
	in.key = key
	in.log.Info("internal authority made: clients that are to connect must trust it, see `mcpd trust`", zap.Strings("permits", permitted))
	return nil
}

// permits follows RFC 5280 §4.2.1.10: the name itself and whatever is below it.
func (in *internal) permits(name string) bool {
	return slices.ContainsFunc(in.root.PermittedDNSDomains, func(d string) bool { return name == d || strings.HasSuffix(name, "."+d) })
}

// outside lists the hosts that the domain's own certificate does not cover.
func (in *internal) outside() (names []string) {
	for _, h := range in.hosts() {
		if h = normal(h); h != in.domain && parent(h) != "*."+in.domain && !slices.Contains(names, h) {
			names = append(names, h)
		}
	}
	slices.Sort(names)
	return names
}

// manage makes what is missing or due: one certificate for the domain and all one
// label below, and one for each host elsewhere. What is not routed any more goes.
func (in *internal) manage(context.Context) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	old, leaves, failed := *in.leaves.Load(), map[string]*tls.Certificate{}, map[string]string{}
	sets := [][]string{{in.domain, "*." + in.domain}}
	if in.domain == localDomain { // where clients come by address too
		sets[0] = append(sets[0], "127.0.0.1", "::1")
	}
	for _, h := range in.outside() {
		sets = append(sets, []string{h})
	}
	var errs []error
	for _, names := range sets {
		cert := old[names[0]]
		if cert == nil || time.Until(renewal(cert.Leaf)) <= 0 {
			made, err := in.sign(names)
			if err != nil {
				errs = append(errs, err)
				failed[names[0]] = err.Error()
				in.log.Error("no certificate", zap.Error(err))
			} else {
				cert = made
			}
		}
		for _, n := range names {
			if cert != nil {
				leaves[n] = cert
			}
		}
	}
	in.failed = failed
	in.leaves.Store(&leaves)
	return errors.Join(errs...)
}

// renewal is when two thirds of a certificate's life are over.
func renewal(leaf *x509.Certificate) time.Time {
	return leaf.NotAfter.Add(-leaf.NotAfter.Sub(leaf.NotBefore) / 3)
}

func (in *internal) sign(names []string) (*tls.Certificate, error) {
	if !in.permits(names[0]) {
		return nil, fmt.Errorf("cannot sign for %s: the internal authority was made for %s; remove %s to have one made for all hosts, and trust that",
			names[0], strings.Join(in.root.PermittedDNSDomains, ", "), rootCert)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("cannot make a key for %s: %w", names[0], err)
	}
	now := time.Now()
	leaf := &x509.Certificate{
		Subject: pkix.Name{CommonName: names[0]}, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(in.life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, in.root, key.Public(), in.key)
	if err != nil {
		return nil, fmt.Errorf("cannot sign for %s: %w", names[0], err)
	}
	cert := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	if cert.Leaf, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("cannot read back the certificate for %s: %w", names[0], err)
	}
	return cert, nil
}

func (in *internal) certificate(_ *tls.ClientHelloInfo, name string) (*tls.Certificate, error) {
	leaves := *in.leaves.Load()
	if cert := leaves[name]; cert != nil {
		return cert, nil
	}
	return leaves[parent(name)], nil
}

func (in *internal) status() []Certificate {
	in.mu.Lock()
	defer in.mu.Unlock()
	var all []Certificate
	seen := map[*tls.Certificate]bool{}
	for name, cert := range *in.leaves.Load() {
		if seen[cert] {
			continue
		}
		seen[cert] = true
		c := certificateOf(cert.Leaf)
		c.Renews = renewal(cert.Leaf)
		if msg := in.failed[name]; msg != "" {
			c.Error = msg
		}
		all = append(all, c)
	}
	for name, msg := range in.failed {
		if (*in.leaves.Load())[name] == nil {
			all = append(all, Certificate{Names: []string{name}, Error: msg})
		}
	}
	return sorted(all)
}

func (in *internal) close() {
	in.cancel()
	in.running.Wait()
}
