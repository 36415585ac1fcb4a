package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/mcpd/mcpd/router"
)

// scrapeTimeout is how long a client may take to read the metrics.
const scrapeTimeout = 30 * time.Second

// metricsHandler answers with all metrics, in the text format of Prometheus. Those who ask at the same time
// get the same answer, so that many of them cost no more than one.
func (d *daemon) metricsHandler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(newCollector(d.scrape), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	serve := promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: zap.NewStdLog(d.log.Named("metrics")), ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 8, CoalesceGather: true,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(scrapeTimeout)) // best effort
		serve.ServeHTTP(w, r)
	})
}

// openMetrics opens the listener of [admin] metrics; nil where there is none. Prometheus brings no token, so
// whoever can connect can read.
func (d *daemon) openMetrics(addr string) (*router.Listener, error) {
	if addr == "" {
		return nil, nil
	}
	metrics := d.metricsHandler()
	cfg := router.Config{HTTPS: "none", HTTP: addr, HeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeader: 16 << 10}
	mux := http.NewServeMux()
	if cfg.Loopback() {
		metrics = onLoopback(metrics)
	} else {
		d.log.Warn("admin.metrics is no loopback address: whoever can connect to it can read the names of servers and tools, and how they are used",
			zap.String("address", addr))
	}
	mux.Handle("GET /metrics", metrics)
	l, err := router.Listen(router.ListenOptions{Config: cfg, Handler: mux, Logger: d.log.Named("metrics")})
	if err != nil {
		return nil, fmt.Errorf("cannot serve metrics: %w", err)
	}
	d.log.Info("serving metrics", zap.Stringer("address", l.Addr()))
	return l, nil
}

// onLoopback refuses requests for any other host than this machine: a web page could have a name of its own
// resolve to us, and then read what it gets (DNS rebinding).
func onLoopback(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); host != "localhost" && (err != nil || !ip.IsLoopback()) {
			http.Error(w, "this host is not served here", http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// checkMetrics reports what is wrong with an address of [admin] metrics, "" if nothing is.
func checkMetrics(addr string) string {
	if addr == "" {
		return ""
	}
	host, port, err := net.SplitHostPort(addr)
	if n, bad := net.LookupPort("tcp", port); err != nil || bad != nil || n < 0 {
		return `must be an address such as "localhost:9464", or "" for none`
	}
	if host == "" {
		return `must name a host: "localhost:` + port + `" for this machine alone, "0.0.0.0:` + port + `" for everybody who can connect`
	}
	return ""
}

func (c *cli) metricsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "metrics", Short: "what the daemon counts and measures, in the format of Prometheus", Args: exactly(0), Long: metricsHelp(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			admin, err := c.admin()
			if err != nil {
				return err
			}
			resp, err := admin.open(cmd.Context(), http.MethodGet, "/metrics", nil)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if _, err := io.Copy(c.stdout, resp.Body); err != nil {
				return fmt.Errorf("cannot read the metrics: %w", err)
			}
			return nil
		},
	}
}

func metricsHelp() string {
	var b strings.Builder
	b.WriteString(`All metrics, measured when they are asked for. With [admin] metrics = "localhost:9464" Prometheus finds
them at http://localhost:9464/metrics; this command and the admin socket have them always.

Labels are names of servers and of tools that the servers list, of which the first ` + fmt.Sprint(maxTools) + ` of a server that are
called have counts of their own; what clients send makes no label. Nothing is by person.

Metrics are never renamed or removed, and more may come:
`)
	for _, f := range families {
		labels := ""
		if f.labels != "" {
			labels = "{" + strings.ReplaceAll(f.labels, " ", ", ") + "}"
		}
		fmt.Fprintf(&b, "\n  %s%s  %s\n      %s\n", f.name, labels, f.kind, f.help)
	}
	b.WriteString("\nBesides there are the usual go_… and process_… of the Go runtime and of mcpd's own process.\n")
	return b.String()
}

// stopMetrics ends the listener once nobody needs it any more.
func (d *daemon) stopMetrics(ctx context.Context) {
	if d.metrics == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	d.late("a scrape", d.metrics.Shutdown(ctx))
}
