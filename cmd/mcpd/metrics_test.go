package main

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/mcpd/mcpd/idp"
	"github.com/mcpd/mcpd/router/certs"
	"github.com/mcpd/mcpd/supervisor"
)

// fullScrape has a value for every family.
func fullScrape() *scrape {
	h := &health{}
	now := time.Now()
	h.answers.add(200)
	for _, took := range []time.Duration{50 * time.Microsecond, 3 * time.Millisecond, time.Hour} {
		h.record(now, callTaking(took, false), listsAll)
	}
	h.record(now, call{kind: promptGet, outcome: internally}, listsAll)
	w := &world{tenants: map[string]*tenant{"fine": {name: "fine", health: h}}}
	w.counters(nil)
	w.answered("gone", 421)
	counts := []idp.Count{{By: "password", Result: "ok", N: 1}}
	twice := []certs.Certificate{{Names: []string{"a.example", "b.example"}, NotAfter: now}, {Names: []string{"a.example"}, NotAfter: now.Add(-time.Hour), Error: "no"}}
	return &scrape{world: w, certificates: byName(twice), signIns: counts, tokens: counts, started: now, servers: []served{{
		ServerStatus: supervisor.ServerStatus{Name: "fine", State: supervisor.StateReady, Restarts: 2, Max: 4, Workers: []supervisor.WorkerStatus{
			{State: supervisor.StateReady, Memory: 5}, {State: supervisor.StateReady, Active: 1, Memory: 7}, {State: supervisor.StateStarting},
		}},
		calls: h.tallied(), check: &CheckStatus{Time: now, Workers: 1, Error: "no answer"},
	}}}
}

// Everything that the help promises is there, nothing else is, and the linter of promtool finds nothing.
func TestMetricsAreAsHelpSays(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(newCollector(fullScrape))
	got, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(got).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
	help := metricsHelp()
	var said []string
	for _, m := range regexp.MustCompile(`(?m)^  (mcpd_[a-z_]+)(?:\{([a-z_, ]+)\})?  ([a-z]+)\n      (.+)$`).FindAllStringSubmatch(help, -1) {
		said = append(said, m[1])
		for _, f := range got {
			if f.GetName() != m[1] {
				continue
			}
			if kind := strings.ToLower(f.GetType().String()); kind != m[3] {
				t.Errorf("%s is a %s, and the help says %s", m[1], kind, m[3])
			}
			var labels []string
			for _, l := range f.GetMetric()[0].GetLabel() {
				labels = append(labels, l.GetName())
			}
			if len(labels) != len(strings.Fields(m[2])) {
				t.Errorf("%s has the labels %q, and the help says %q", m[1], labels, m[2])
			}
		}
	}
	var there []string
	for _, f := range got {
		there = append(there, f.GetName())
	}
	for _, name := range there {
		if !strings.Contains(" "+strings.Join(said, " ")+" ", " "+name+" ") {
			t.Errorf("the help does not tell of %s", name)
		}
	}
	if len(said) != len(there) || len(said) != len(families) {
		t.Errorf("help tells of %d metrics, there are %d in the table and %d measured:\n%q\n%q", len(said), len(families), len(there), said, there)
	}
}

func TestMetricsValues(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(newCollector(fullScrape))
	got, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for _, f := range got {
		for _, m := range f.GetMetric() {
			values[f.GetName()] += strings.Join(strings.Fields(m.String()), " ") + "\n"
		}
	}
	for name, want := range map[string]string{
		"mcpd_http_requests_total":           `value:"421"}.* counter:{value:1`,
		"mcpd_calls_total":                   `value:"echo"}.* counter:{value:3`,
		"mcpd_calls_seconds_total":           `counter:{value:3600\.00305`,
		"mcpd_call_duration_seconds":         `sample_count:4 sample_sum:3600\.00305 bucket:{cumulative_count:2 upper_bound:0\.0001}.*cumulative_count:3 upper_bound:300}`,
		"mcpd_certificate_failing":           `value:"a.example"} gauge:{value:1.*\n.*value:"b.example"} gauge:{value:0`,
		"mcpd_workers":                       `value:"busy"} gauge:{value:1`,
		"mcpd_worker_check_failing":          `gauge:{value:1`,
		"mcpd_workers_memory_bytes":          `gauge:{value:12`,
		"mcpd_server_state":                  `value:"ready"} gauge:{value:1`,
		"mcpd_worker_restarts_total":         `counter:{value:2`,
		"mcpd_config_last_reload_successful": `gauge:{value:1`,
	} {
		if !regexp.MustCompile(want).MatchString(values[name]) {
			t.Errorf("%s: want %s in\n%s", name, want, values[name])
		}
	}
}

// A web page whose own name resolves to this machine is not answered.
func TestMetricsOnLoopbackOnly(t *testing.T) {
	h := onLoopback(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for host, want := range map[string]int{
		"localhost:9464": 200, "localhost": 200, "127.0.0.1:9464": 200, "[::1]:9464": 200, "[::1]": 200, "127.0.0.2": 200,
		"evil.example": 421, "evil.example:9464": 421, "localhost.evil.example": 421, "10.0.0.1:9464": 421, "": 421, "127.0.0.1.evil.example:1": 421,
	} {
		r := httptest.NewRequest("GET", "/metrics", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("host %q: %d, want %d", host, w.Code, want)
		}
	}
}

func TestCheckMetrics(t *testing.T) {
	for addr, fine := range map[string]bool{
		"": true, "localhost:9464": true, "127.0.0.1:0": true, "[::1]:9464": true, "0.0.0.0:9464": true,
		"localhost": false, ":9464": false, "localhost:70000": false, "localhost:-1": false, "9464": false, "::1:9464": false,
	} {
		if got := checkMetrics(addr); (got == "") != fine {
			t.Errorf("%q: %q", addr, got)
		}
	}
}
