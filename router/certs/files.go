package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// filesEvery is how often the files are looked at. A look is two stat calls a pair.
const filesEvery = 5 * time.Second

// files serves pairs of PEM files, and reads a pair again when one of its files has
// changed. A pair that is no good then changes nothing: the one before is served on.
type files struct {
	log    *zap.Logger
	byName atomic.Pointer[map[string][]*tls.Certificate] // what is served; swapped whole
	mu     sync.Mutex                                    // over pairs
	pairs  []*loaded
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// loaded is a pair as it was read last.
type loaded struct {
	Pair
	cert  *tls.Certificate
	stamp [2]stamp
	err   error
}

// stamp tells whether a file has changed, also when a link to it was moved.
type stamp struct {
	changed time.Time
	size    int64
}

func openFiles(o Options) (*files, error) {
	f := &files{log: o.Logger}
	for _, p := range o.Config.Files {
		l := &loaded{Pair: p}
		if l.read(); l.err != nil {
			return nil, l.err
		}
		f.pairs = append(f.pairs, l)
	}
	f.publish()
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	// Ends with close.
	f.done.Go(func() {
		tick := time.NewTicker(filesEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				f.look()
			}
		}
	})
	return f, nil
}

// read reads the pair if a file of it has changed, and tells whether there is something new.
func (l *loaded) read() bool {
	var now [2]stamp
	for i, path := range []string{l.Cert, l.Key} {
		info, err := os.Stat(path)
		if err != nil {
			return l.fail(now, fmt.Errorf("cannot read a certificate: %w", err))
		}
		now[i] = stamp{info.ModTime(), info.Size()}
	}
	if l.stamp == now {
		return false
	}
	cert, err := tls.LoadX509KeyPair(l.Cert, l.Key)
	if err != nil {
		return l.fail(now, fmt.Errorf("cannot use the certificate %q with the key %q: %w", l.Cert, l.Key, err))
	}
	if len(namesOf(cert.Leaf)) == 0 {
		return l.fail(now, fmt.Errorf("cannot use the certificate %q: it has no host name (subject alternative name)", l.Cert))
	}
	l.cert, l.stamp, l.err = &cert, now, nil
	return true
}

// fail notes an error, and tells whether it is a new one.
func (l *loaded) fail(at [2]stamp, err error) bool {
	same := l.err != nil && l.err.Error() == err.Error()
	l.stamp, l.err = at, err
	return !same
}

// look reads what has changed and serves it.
func (f *files) look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed := false
	for _, l := range f.pairs {
		if !l.read() {
			continue
		}
		changed = true
		if l.err != nil {
			f.log.Error("the new certificate is not used; the one before serves on", zap.Error(l.err))
			continue
		}
		f.log.Info("certificate read", zap.Strings("names", namesOf(l.cert.Leaf)), zap.Time("not_after", l.cert.Leaf.NotAfter))
	}
	if changed {
		f.publish()
	}
}

// publish makes the table of names from the pairs.
func (f *files) publish() {
	byName := map[string][]*tls.Certificate{}
	for _, l := range f.pairs {
		for _, name := range namesOf(l.cert.Leaf) {
			byName[normal(name)] = append(byName[normal(name)], l.cert)
		}
	}
	f.byName.Store(&byName)
}

// certificate prefers the exact name to the wildcard, and of several certificates for
// one name (RSA and ECDSA) the first that the client can verify.
func (f *files) certificate(hello *tls.ClientHelloInfo, name string) (*tls.Certificate, error) {
	byName := *f.byName.Load()
	fit := byName[name]
	if len(fit) == 0 {
		fit = byName[parent(name)]
	}
	if len(fit) == 0 {
		return nil, nil
	}
	for _, cert := range fit {
		if hello.SupportsCertificate(cert) == nil {
			return cert, nil
		}
	}
	return fit[0], nil
}

func (f *files) manage(context.Context) error {
	f.look()
	return nil
}

func (f *files) status() []Certificate {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []Certificate
	for _, l := range f.pairs {
		c := certificateOf(l.cert.Leaf)
		if l.err != nil {
			c.Error = l.err.Error()
		}
		all = append(all, c)
	}
	return sorted(all)
}

func (f *files) close() {
	f.cancel()
	f.done.Wait()
}

// certificateOf fills in what a certificate says of itself.
func certificateOf(leaf *x509.Certificate) Certificate {
	c := Certificate{Names: namesOf(leaf), Issuer: leaf.Issuer.CommonName, NotAfter: leaf.NotAfter}
	if c.Issuer == "" {
		c.Issuer = leaf.Issuer.String()
	}
	if now := time.Now(); now.After(leaf.NotAfter) {
		c.Error = "the certificate has expired"
	} else if now.Before(leaf.NotBefore) {
		c.Error = "the certificate is not valid before " + leaf.NotBefore.Format(time.RFC3339) + "; is this machine's clock right?"
	}
	return c
}

// namesOf are the names of a leaf: DNS names, then addresses.
func namesOf(leaf *x509.Certificate) []string {
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

func sorted(all []Certificate) []Certificate {
	slices.SortStableFunc(all, func(a, b Certificate) int { return slices.Compare(a.Names, b.Names) })
	return all
}
