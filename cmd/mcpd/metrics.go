package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mcpd/mcpd/bridge"
	"github.com/mcpd/mcpd/idp"
	"github.com/mcpd/mcpd/router/certs"
	"github.com/mcpd/mcpd/supervisor"
)

// family is one metric: its name, what it means, and how it is measured. The names keep to the conventions of
// Prometheus (base units, _total for what only grows) and are a promise: metrics are added, never renamed.
// No label is made of what a client or a person is called: a label's values are few, and no secrets.
type family struct {
	name   string
	kind   metricKind
	labels string // separated by spaces
	help   string
	read   func(s *scrape, e emitter)
}

// metricKind is what Prometheus does with the values.
type metricKind string

const (
	counter   metricKind = "counter"
	gauge     metricKind = "gauge"
	histogram metricKind = "histogram"
)

// families are all metrics but those of the Go runtime and of the process.
var families = []family{
	{"mcpd_build_info", gauge, "version revision goversion", "1; what this program was built from", func(_ *scrape, e emitter) {
		b := readBuild()
		e.value(1, b.Version, b.Revision, b.Go)
	}},
	{"mcpd_config_last_reload_successful", gauge, "", "0 when the last reload was refused and changed nothing, else 1", func(s *scrape, e emitter) {
		e.value(truth(s.reload == nil || s.reload.Error == ""))
	}},
	{"mcpd_config_last_reload_timestamp_seconds", gauge, "", "when the configuration was read last, whatever came of it", func(s *scrape, e emitter) {
		at := s.started
		if s.reload != nil {
			at = s.reload.Time
		}
		e.value(seconds(at))
	}},
	{"mcpd_orphan_processes", gauge, "", "processes that a worker left behind and that still live; absent where that cannot be counted", func(s *scrape, e emitter) {
		if s.orphans >= 0 {
			e.value(float64(s.orphans))
		}
	}},
	{"mcpd_certificate_expiry_timestamp_seconds", gauge, "name", "when the certificate for a name ends; absent while there is none, and where TLS is not mcpd's", func(s *scrape, e emitter) {
		for name, c := range s.certificates {
			if !c.NotAfter.IsZero() {
				e.value(seconds(c.NotAfter), name)
			}
		}
	}},
	{"mcpd_certificate_failing", gauge, "name", "1 while the last try to get, read or renew the certificate for a name has failed, else 0", func(s *scrape, e emitter) {
		for name, c := range s.certificates {
			e.value(truth(c.Error != ""), name)
		}
	}},
	{"mcpd_http_requests_total", counter, "server code", "requests by HTTP status; server is empty where none was asked, and code 499 a client that left before the answer", func(s *scrape, e emitter) {
		for name, a := range s.world.answers {
			a.each(func(code string, n uint64) { e.value(float64(n), name, code) })
		}
	}},
	{"mcpd_calls_total", counter, "server method tool status", "calls that a worker has to work for, as they ended: " + outcomeNames() + `. tool is "other" for what the server does not list`, func(s *scrape, e emitter) {
		s.each(func(v *served) {
			for _, r := range v.calls.rows {
				for o, n := range r.ended {
					if n > 0 {
						e.value(float64(n), v.Name, r.kind.String(), r.tool, outcome(o).String())
					}
				}
			}
		})
	}},
	{"mcpd_calls_seconds_total", counter, "server method tool", "how long those calls took, all together", func(s *scrape, e emitter) {
		s.each(func(v *served) {
			for _, r := range v.calls.rows {
				e.value(r.took.Seconds(), v.Name, r.kind.String(), r.tool)
			}
		})
	}},
	{"mcpd_call_duration_seconds", histogram, "server", "how long those calls took, from the request to the last byte of its answer", func(s *scrape, e emitter) {
		s.each(func(v *served) { e.durations(&v.calls.took, v.calls.sum, v.Name) })
	}},
	{"mcpd_calls_pending", gauge, "server", "calls that a worker has not answered yet, parked ones included", func(s *scrape, e emitter) {
		s.each(func(v *served) { e.value(float64(v.stats.Pending), v.Name) })
	}},
	{"mcpd_calls_parked", gauge, "server", "calls that wait for a person's answer to a question", func(s *scrape, e emitter) {
		s.each(func(v *served) { e.value(float64(v.stats.Parked), v.Name) })
	}},
	{"mcpd_calls_queued", gauge, "server", "calls that wait for a worker", func(s *scrape, e emitter) {
		s.each(func(v *served) { e.value(float64(v.Queue), v.Name) })
	}},
	{"mcpd_streams", gauge, "server", "event streams that are open", func(s *scrape, e emitter) {
		s.each(func(v *served) { e.value(float64(v.stats.Streams), v.Name) })
	}},
	{"mcpd_sessions_active", gauge, "server", "sessions with a call, a subscription or a log level; any other session is nothing but its id", func(s *scrape, e emitter) {
		s.each(func(v *served) { e.value(float64(v.stats.Sessions), v.Name) })
	}},
	{"mcpd_server_state", gauge, "server state", "1 for the state that the server is in, else 0: " + joined(serverStates), func(s *scrape, e emitter) {
		s.each(func(v *served) {
			for _, st := range serverStates {
				e.value(truth(st == v.State), v.Name, string(st))
			}
		})
	}},
	{"mcpd_workers", gauge, "server state", "workers by what they do: starting, busy with a call, idle, stopping", func(s *scrape, e emitter) {
		s.each(func(v *served) {
			var starting, busy, idle, stopping float64
			for _, w := range v.Workers {
				switch {
				case w.State == supervisor.StateStarting:
					starting++
				case w.State != supervisor.StateReady:
					stopping++
				case w.Active > 0:
					busy++
				default:
					idle++
				}
			}
			e.value(starting, v.Name, "starting")
			e.value(busy, v.Name, "busy")
			e.value(idle, v.Name, "idle")
			e.value(stopping, v.Name, "stopping")
		})
	}},
	{"mcpd_workers_limit", gauge, "server", "the most workers that the server may have", func(s *scrape, e emitter) {
		s.each(func(v *served) { e.value(float64(v.Max), v.Name) })
	}},
	{"mcpd_worker_restarts_total", counter, "server", "workers started in place of one that ended by itself", func(s *scrape, e emitter) {
		s.each(func(v *served) { e.value(float64(v.Restarts), v.Name) })
	}},
	{"mcpd_worker_check_failing", gauge, "server", "1 while the last check of the server's workers has failed, else 0; absent before the first", func(s *scrape, e emitter) {
		s.each(func(v *served) {
			if v.check != nil {
				e.value(truth(v.check.Error != ""), v.Name)
			}
		})
	}},
	{"mcpd_worker_check_timestamp_seconds", gauge, "server", "when that check ended", func(s *scrape, e emitter) {
		s.each(func(v *served) {
			if v.check != nil {
				e.value(seconds(v.check.Time), v.Name)
			}
		})
	}},
	{"mcpd_workers_memory_bytes", gauge, "server", "memory that is resident, of all the server's processes", func(s *scrape, e emitter) {
		s.each(func(v *served) {
			var sum int64
			for _, w := range v.Workers {
				sum += w.Memory
			}
			e.value(float64(sum), v.Name)
		})
	}},
	{"mcpd_sign_ins_total", counter, "by result", "people who tried to sign in: by password or link, and the result ok, refused or throttled", func(s *scrape, e emitter) {
		for _, c := range s.signIns {
			e.value(float64(c.N), c.By, c.Result)
		}
	}},
	{"mcpd_tokens_issued_total", counter, "grant", "access tokens by the grant they were issued for; personal is what mcpd token and mcpd call make", func(s *scrape, e emitter) {
		for _, c := range s.tokens {
			e.value(float64(c.N), c.By)
		}
	}},
	{"mcpd_worker_noise_lines_total", counter, "server", "lines on the workers' standard output that were no message", func(s *scrape, e emitter) {
		s.each(func(v *served) { e.value(float64(v.stats.Noise), v.Name) })
	}},
}

var serverStates = []supervisor.State{
	supervisor.StateReady, supervisor.StateStarting, supervisor.StateIdle, supervisor.StateBackoff,
	supervisor.StateFailed, supervisor.StateStopping, supervisor.StateDisabled,
}

func outcomeNames() string {
	var all []outcome
	for o := range outcomes {
		all = append(all, o)
	}
	return joined(all)
}

func joined[T any](all []T) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(all), " ", ", "), "[]")
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds is a time as Prometheus has it.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// scrape is what was measured at one moment.
type scrape struct {
	world   *world
	started time.Time
	reload  *ReloadStatus
	orphans int
	servers []served

	signIns, tokens []idp.Count
	certificates    map[string]certs.Certificate // by name; of several for one, that which ends first
}

// served is one server at that moment.
type served struct {
	supervisor.ServerStatus
	stats bridge.Stats
	calls tallied
	check *CheckStatus // nil before the first
}

func (s *scrape) each(visit func(v *served)) {
	for i := range s.servers {
		visit(&s.servers[i])
	}
}

func (d *daemon) scrape() *scrape {
	snap := d.supervisor.Snapshot()
	s := &scrape{world: d.world.Load(), started: d.started, reload: d.lastReload.Load(), orphans: snap.Orphans}
	if d.issuer != nil {
		s.signIns, s.tokens = d.issuer.SignIns(), d.issuer.Tokens()
	}
	s.certificates = byName(d.certs.Status())
	for _, st := range snap.Servers {
		if t := s.world.tenants[st.Name]; t != nil && !slices.ContainsFunc(s.servers, func(v served) bool { return v.Name == st.Name }) {
			s.servers = append(s.servers, served{st, t.bridge.Stats(), t.health.tallied(), t.health.lastCheck()}) // but for one that is removed, and still draining
		}
	}
	return s
}

func byName(all []certs.Certificate) map[string]certs.Certificate {
	named := map[string]certs.Certificate{}
	for _, c := range all {
		for _, name := range c.Names {
			if have, ok := named[name]; !ok || c.NotAfter.Before(have.NotAfter) {
				named[name] = c
			}
		}
	}
	return named
}

// emitter takes the values of one family.
type emitter struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	to   chan<- prometheus.Metric
}

func (e emitter) value(v float64, labels ...string) {
	e.to <- prometheus.MustNewConstMetric(e.desc, e.kind, v, labels...)
}

// durations turns counts into those that a classic histogram has: each bound has all that was faster.
func (e emitter) durations(took *[len(latencies) + 1]uint64, sum time.Duration, labels ...string) {
	below := make(map[float64]uint64, len(latencies))
	var n uint64
	for i, bound := range latencies {
		n += took[i]
		below[bound.Seconds()] = n
	}
	n += took[len(latencies)]
	e.to <- prometheus.MustNewConstHistogram(e.desc, n, sum.Seconds(), below, labels...)
}

// collector measures everything when it is asked: between two scrapes a metric costs nothing. It implements prometheus.Collector.
type collector struct {
	measure func() *scrape
	descs   []*prometheus.Desc // beside families
}

func newCollector(measure func() *scrape) *collector {
	c := &collector{measure: measure}
	for _, f := range families {
		c.descs = append(c.descs, prometheus.NewDesc(f.name, f.sentence(), strings.Fields(f.labels), nil))
	}
	return c
}

// sentence is the help text with a capital and a stop.
func (f family) sentence() string { return strings.ToUpper(f.help[:1]) + f.help[1:] + "." }

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	s := c.measure()
	for i, f := range families {
		kind := prometheus.GaugeValue
		if f.kind == counter {
			kind = prometheus.CounterValue
		}
		f.read(s, emitter{c.descs[i], kind, to})
	}
}
