package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpd/mcpd/router/certs"
)

// certsDir is where certificates are kept, below the state directory.
const certsDir = "certs"

// openCerts makes the certificates ready, before the listener that needs them.
func (d *daemon) openCerts(ctx context.Context, cfg *Config) (err error) {
	o := certsOptions(cfg)
	o.Dir, o.Logger = filepath.Join(d.state, certsDir), d.log.Named("tls")
	o.Hosts = func() []string {
		if w := d.world.Load(); w != nil {
			return hostsOf(w.cfg)
		}
		return hostsOf(cfg)
	}
	d.certs, err = certs.Open(ctx, o)
	return err
}

func certsOptions(cfg *Config) certs.Options {
	listen := cfg.listen()
	return certs.Options{
		Config: cfg.TLS, Domain: cfg.Domain, DSN: cfg.State.DSN, HTTPSPort: listenerPort(listen.HTTPS), HTTPPort: listenerPort(listen.HTTP),
		Hosts: func() []string { return hostsOf(cfg) },
	}
}

// listenerPort is 0 where there is no listener.
func listenerPort(addr string) int {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(port) // 0 where it is none, which the checks have told
	return n
}

// hostsOf lists every host that is routed, and so has to have a certificate.
func hostsOf(cfg *Config) []string {
	if cfg.local() {
		return []string{localDomain}
	}
	var hosts []string
	if cfg.Auth.Mode != "none" {
		hosts = append(hosts, issuerLabel+"."+cfg.Domain)
	}
	for name, s := range cfg.Servers {
		hosts = append(append(hosts, name+"."+cfg.Domain), s.Hosts...)
	}
	slices.Sort(hosts)
	return hosts
}

func (c *cli) certCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "cert", Short: "the certificates: names, issuer, expiry, next renewal, last error", Args: exactly(0),
		Long: "The certificates that mcpd has and those that it is trying to get. Exit code 1 means that something is wrong with one.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			admin, err := c.admin()
			if err != nil {
				return err
			}
			var st Status
			if err := admin.get(cmd.Context(), "/v1/status", &st); err != nil {
				return err
			}
			if asJSON {
				err = printJSON(c.stdout, st.Certificates)
			} else {
				err = c.printCertificates(st)
			}
			for _, k := range st.Certificates {
				if k.Error != "" {
					err = cmp.Or(err, error(silentError{}))
				}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, as it is in `mcpd status --json` under certificates")
	return cmd
}

func (c *cli) printCertificates(st Status) error {
	if st.TLS == certs.ModeOff {
		_, err := fmt.Fprintln(c.stdout, `tls.mode is "off": mcpd has no certificates`)
		return err
	}
	now := time.Now()
	var b strings.Builder
	t := table{header: []string{"NAMES", "ISSUER", "EXPIRES", "RENEWS", "ERROR"}, spare: []string{"ISSUER", "RENEWS"}}
	for _, k := range st.Certificates {
		t.rows = append(t.rows, []string{strings.Join(k.Names, " "), cmp.Or(k.Issuer, "-"), dueText(now, k.NotAfter), dueText(now, k.Renews), k.Error})
	}
	t.render(&b, terminalOf(c.stdout))
	_, err := fmt.Fprint(c.stdout, b.String())
	return err
}

// dueText renders when something is due: the day, and how long that is.
func dueText(now, t time.Time) string {
	switch {
	case t.IsZero():
		return "-"
	case t.Before(now):
		return t.Local().Format(time.DateOnly) + " (" + since(now, t) + " ago)"
	}
	return t.Local().Format(time.DateOnly) + " (in " + since(t, now) + ")"
}

// certificatesLine is what the health table says of them: what is wrong, or when the next one ends.
func certificatesLine(now time.Time, all []certs.Certificate) string {
	var b strings.Builder
	var first time.Time
	for _, k := range all {
		if k.Error != "" {
			fmt.Fprintf(&b, "certificate of %s: %s\n", strings.Join(k.Names, " "), k.Error)
		}
		if !k.NotAfter.IsZero() && (first.IsZero() || k.NotAfter.Before(first)) {
			first = k.NotAfter
		}
	}
	if b.Len() > 0 || len(all) == 0 {
		return b.String()
	}
	return fmt.Sprintf("certificates: %d, the next one ends %s\n", len(all), dueText(now, first))
}

// preflight is `mcpd check --online`: all that the certificates take, tried from here.
func (c *cli) preflight(ctx context.Context, cfg *Config) error {
	var failed error
	certs.Preflight(ctx, certsOptions(cfg), func(step string, err error) {
		if err != nil {
			failed = silentError{}
			fmt.Fprintf(c.stdout, "%s: %v\n", step, err)
			return
		}
		fmt.Fprintf(c.stdout, "%s: fine\n", step)
	})
	return failed
}
