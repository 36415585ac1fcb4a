package certs

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mholt/acmez/v3"
	"go.uber.org/zap"
)

// Options are what a Keeper is made of.
type Options struct {
	Config Config
	Dir    string // where keys and certificates are kept; made where it is not there
	DSN    string // a PostgreSQL database that keeps them instead in mode "acme", for several daemons; "": there is none
	Domain string // the apex: certificates cover it and the names one label below
	// The ports of our listeners, 0 where there is none: a certificate authority that
	// asks on 443 and 80 has to come out there.
	HTTPSPort, HTTPPort int
	Hosts               func() []string // every exact host that is routed now
	Logger              *zap.Logger     // nil: nothing is logged

	// For tests: how often certificates are looked at, and from which part of their life on they are renewed.
	every  time.Duration
	window float64
}

// Keeper has the certificates. A nil Keeper has none: that is mode "off".
type Keeper struct {
	source source
	ended  sync.Once
}

// source is one way to come by certificates. All of it may be called at the same time.
type source interface {
	// certificate is for the name, or address, that a client means; nil, nil where it is not ours.
	certificate(hello *tls.ClientHelloInfo, name string) (*tls.Certificate, error)
	// manage makes sure of the certificates of the hosts that are routed now.
	manage(ctx context.Context) error
	status() []Certificate
	close()
}

// Certificate tells how one certificate is.
type Certificate struct {
	Names    []string  `json:"names" help:"what it is for"`
	Issuer   string    `json:"issuer,omitempty" help:"who signed it"`
	NotAfter time.Time `json:"not_after,omitzero" help:"when it ends; absent while there is none yet"`
	Renews   time.Time `json:"renews,omitzero" help:"when the next one is fetched or made; absent where that is not mcpd's to do"`
	Error    string    `json:"error,omitempty" help:"what went wrong last, absent when all is well"`
}

// Open makes the certificates ready that can be had at once, and keeps them until
// Close. With mode "off" the Keeper is nil.
func Open(ctx context.Context, o Options) (*Keeper, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, fmt.Errorf("cannot keep certificates: %w", err)
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Hosts == nil {
		o.Hosts = func() []string { return nil }
	}
	var s source
	var err error
	switch o.Config.ModeFor(o.Domain) {
	case ModeOff:
		return nil, nil
	case ModeFiles:
		s, err = openFiles(o)
	case ModeACME:
		s, err = openACME(ctx, o)
	case ModeInternal:
		s, err = openInternal(ctx, o)
	}
	if err != nil {
		return nil, err
	}
	return &Keeper{source: s}, nil
}

// TLSConfig is for the listener: TLS 1.2 or later with suites that authenticate
// what they encrypt, HTTP/2 before HTTP/1.1, session tickets. A client that asks
// for a name that is not ours, or for none, gets the alert unrecognized_name. It is
// nil for a nil Keeper.
func (k *Keeper) TLSConfig() *tls.Config {
	if k == nil {
		return nil
	}
	protos := []string{"h2", "http/1.1"}
	if _, ok := k.source.(*authority); ok {
		protos = append(protos, acmez.ACMETLS1Protocol)
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     protos,
		GetCertificate: k.certificate,
		CipherSuites: []uint16{ // of TLS 1.2; those of 1.3 are all of this kind
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
	}
}

// certificate is tls.Config.GetCertificate: nil, nil makes crypto/tls send the
// alert unrecognized_name (RFC 6066 §3).
func (k *Keeper) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := normal(hello.ServerName)
	if name == "" && hello.Conn != nil { // by address: SNI has names only
		if host, _, err := net.SplitHostPort(hello.Conn.LocalAddr().String()); err == nil {
			name = host
		}
	}
	return k.source.certificate(hello, name)
}

// HTTP01 answers what a certificate authority asks over plain HTTP before it signs;
// everything else goes to next.
func (k *Keeper) HTTP01(next http.Handler) http.Handler {
	if k != nil {
		if a, ok := k.source.(*authority); ok {
			return a.http01(next)
		}
	}
	return next
}

// Manage makes sure of the certificates of the hosts that are routed now. What takes
// long goes on behind; Status tells how it went.
func (k *Keeper) Manage(ctx context.Context) error {
	if k == nil {
		return nil
	}
	return k.source.manage(ctx)
}

// Status tells of every certificate, in the order of their names.
func (k *Keeper) Status() []Certificate {
	if k == nil {
		return nil
	}
	return k.source.status()
}

// Close ends what goes on behind, and waits for it.
func (k *Keeper) Close() {
	if k != nil {
		k.ended.Do(k.source.close)
	}
}

// parent is the wildcard that covers a name: one label more is not covered (RFC 6125 §6.4.3).
func parent(name string) string {
	_, rest, ok := strings.Cut(name, ".")
	if !ok {
		return ""
	}
	return "*." + rest
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// normal is a name as certificates have it: small letters, no final dot.
func normal(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
