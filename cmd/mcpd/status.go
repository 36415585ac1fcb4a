package main

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/mcpd/mcpd/bridge"
	"github.com/mcpd/mcpd/router/certs"
	"github.com/mcpd/mcpd/supervisor"
)

// Status is what `mcpd status --json` prints. The names are a promise: members are added, never renamed
// or removed. What help says of a member is in the command's help.
type Status struct {
	Version      string              `json:"version" help:"of mcpd"`
	PID          int                 `json:"pid" help:"of mcpd"`
	Since        time.Time           `json:"since" help:"when mcpd was started"`
	Config       string              `json:"config" help:"path of the configuration file"`
	Domain       string              `json:"domain" help:"below which the servers live"`
	Issuer       string              `json:"issuer" help:"URL; empty with auth \"none\""`
	Auth         string              `json:"auth" help:"oauth or none"`
	Listen       ListenStatus        `json:"listen"`
	TLS          string              `json:"tls" help:"where certificates come from: acme, files, internal, or off"`
	Certificates []certs.Certificate `json:"certificates"`
	LastReload   *ReloadStatus       `json:"last_reload,omitempty" help:"absent before the first"`
	Servers      []ServerStatus      `json:"servers" help:"by name"`
	Orphans      int                 `json:"orphans" help:"processes that a worker left behind and that still live, counted now; -1 where that cannot be"`
}

// ListenStatus has the addresses as they really are.
type ListenStatus struct {
	HTTPS   string `json:"https,omitempty" help:"address, a port 0 replaced by the real one; absent where there is no TLS"`
	HTTP    string `json:"http,omitempty" help:"the same of the plain listener"`
	Admin   string `json:"admin" help:"path of the socket the commands use"`
	Metrics string `json:"metrics,omitempty" help:"address of [admin] metrics; absent where there is none"`
}

// ReloadStatus tells how the last reload ended.
type ReloadStatus struct {
	Time   time.Time `json:"time" help:"when it ended"`
	Error  string    `json:"error,omitempty" help:"why nothing was changed; absent when it was applied"`
	Change string    `json:"change,omitempty" help:"what it changed, in one line"`
}

// ServerStatus is one server.
type ServerStatus struct {
	Name         string         `json:"name"`
	URL          string         `json:"url" help:"what clients are given"`
	State        string         `json:"state" help:"ready, starting, idle (starts at the next call), backoff, failed, stopping, disabled"`
	Reason       string         `json:"reason,omitempty" help:"why, for a person"`
	Since        time.Time      `json:"since" help:"in this state"`
	NextTry      *time.Time     `json:"next_try,omitempty" help:"in backoff: when the next start is possible"`
	Restarts     int            `json:"restarts" help:"workers started in place of one that ended by itself"`
	RestartsHour int            `json:"restarts_hour" help:"those of the last hour"`
	Calls        uint64         `json:"calls" help:"tools/call and the like that clients made since mcpd started"`
	Errors       uint64         `json:"errors" help:"those answered with an error of the protocol"`
	Window       WindowStatus   `json:"window" help:"the calls of the last minutes"`
	Queue        int            `json:"queue" help:"calls that wait for a worker"`
	Busy         int            `json:"busy" help:"workers with at least one call"`
	Idle         int            `json:"idle" help:"workers that are ready and have none"`
	Max          int            `json:"max" help:"most workers it may have"`
	Parked       int            `json:"parked" help:"calls that wait for a person's answer"`
	Streams      int            `json:"streams" help:"open event streams"`
	Memory       int64          `json:"memory" help:"bytes resident, of all its processes"`
	InForce      []string       `json:"in_force" help:"limits and sandbox that hold its workers, and by which means"`
	NotInForce   []string       `json:"not_in_force" help:"those that are configured and that this machine cannot give, and why"`
	Package      *PackageStatus `json:"package,omitempty"`
	Check        *CheckStatus   `json:"check,omitempty" help:"the last check of its workers; absent before the first"`
	Workers      []WorkerStatus `json:"workers"`
	Stderr       []logLine      `json:"stderr,omitempty" help:"the last lines its workers wrote, secrets masked; only in status SERVER"`
}

// WindowStatus is how calls went lately. Times are at most an eighth too high.
type WindowStatus struct {
	Seconds int     `json:"seconds" help:"how far back it looks"`
	Calls   uint64  `json:"calls"`
	Errors  uint64  `json:"errors"`
	P50     float64 `json:"p50_ms" help:"half of the calls took no longer, in milliseconds"`
	P99     float64 `json:"p99_ms" help:"99 of 100 took no longer"`
}

// WorkerStatus is one process with what it has started.
type WorkerStatus struct {
	PID    int       `json:"pid"`
	State  string    `json:"state" help:"starting, ready, stopping"`
	Key    string    `json:"key" help:"the user it serves; empty where all share it"`
	Calls  uint64    `json:"calls" help:"calls it was given"`
	Active int       `json:"active" help:"calls that are on it"`
	Memory int64     `json:"memory" help:"bytes resident, of its process group; 0 where that cannot be measured"`
	PSS    int64     `json:"pss,omitempty" help:"its share of memory, where what it has in common with others is divided; only in status SERVER"`
	CPU    float64   `json:"cpu_seconds" help:"used so far, likewise"`
	Since  time.Time `json:"since" help:"in this state"`
}

// healthy tells whether a server serves, or would if it were asked.
func (s ServerStatus) healthy() bool {
	return s.State != "failed" && s.State != "backoff" && (s.Check == nil || s.Check.Error == "")
}

// statusMembers lists the members of a type as a path and what help says of each, one per line.
func statusMembers(b *strings.Builder, t reflect.Type, at string) {
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		in := f.Type
		for in.Kind() == reflect.Pointer || in.Kind() == reflect.Slice {
			if in.Kind() == reflect.Slice {
				name += "[]"
			}
			in = in.Elem()
		}
		if help := f.Tag.Get("help"); help != "" {
			fmt.Fprintf(b, "  %-32s %s\n", at+name, help)
		} else if in.Kind() != reflect.Struct {
			fmt.Fprintf(b, "  %s\n", at+name)
		}
		if in.Kind() == reflect.Struct && in != reflect.TypeFor[time.Time]() {
			statusMembers(b, in, at+name+".")
		}
	}
}

// addrs are the addresses that are listened on.
func (s ListenStatus) addrs() string {
	return strings.Join(slices.DeleteFunc([]string{s.HTTPS, s.HTTP}, func(a string) bool { return a == "" }), " and ")
}

func (d *daemon) listening() ListenStatus {
	s := ListenStatus{HTTP: d.listener.Addr().String(), Admin: d.socket}
	if d.listener.TLS() {
		s.HTTPS, s.HTTP = s.HTTP, ""
	}
	if plain := d.listener.PlainAddr(); plain != nil {
		s.HTTP = plain.String()
	}
	return s
}

// status measures now; nothing in it is remembered.
func (d *daemon) status() Status {
	w := d.world.Load()
	st := Status{
		Version: readBuild().Version, PID: pid(), Since: d.started, Config: d.configFile, Domain: w.cfg.Domain, Auth: "none",
		Listen: d.listening(), LastReload: d.lastReload.Load(), Servers: []ServerStatus{},
		TLS: w.cfg.TLS.ModeFor(w.cfg.Domain), Certificates: append([]certs.Certificate{}, d.certs.Status()...),
	}
	if d.metrics != nil {
		st.Listen.Metrics = d.metrics.Addr().String()
	}
	if d.issuer != nil {
		st.Issuer, st.Auth = d.urls.issuer(), "oauth"
	}
	snap := d.supervisor.Snapshot()
	st.Orphans = snap.Orphans
	people := d.peopleByID()
	for _, s := range snap.Servers {
		t := w.tenants[s.Name]
		if t == nil {
			continue // removed, and still draining
		}
		out := serverStatus(t, s, people)
		if out.Package = d.packageOf(t); out.Package != nil && out.Package.Doing != "" && s.State == supervisor.StateStarting {
			out.Reason = out.Package.Doing
		}
		st.Servers = append(st.Servers, out)
	}
	slices.SortFunc(st.Servers, func(a, b ServerStatus) int { return cmp.Compare(a.Name, b.Name) })
	return st
}

// stderrLines is how many lines of a server's standard error its own status shows.
const stderrLines = 10

// statusOf is the status with one server only, in full.
func (d *daemon) statusOf(name string) (Status, error) {
	st := d.status()
	i, ok := slices.BinarySearchFunc(st.Servers, name, func(s ServerStatus, name string) int { return cmp.Compare(s.Name, name) })
	if !ok {
		return st, d.noServer(name)
	}
	st.Servers = st.Servers[i : i+1]
	for i, w := range st.Servers[0].Workers {
		st.Servers[0].Workers[i].PSS = supervisor.Proportional(w.PID)
	}
	if logs, ok := d.supervisor.Logs(name); ok {
		for _, l := range logs.Tail(stderrLines) {
			st.Servers[0].Stderr = append(st.Servers[0].Stderr, logLine{l.Time, l.Worker, l.Text})
		}
	}
	return st, nil
}

func serverStatus(t *tenant, s supervisor.ServerStatus, people map[string]string) ServerStatus {
	stats := t.bridge.Stats()
	out := ServerStatus{
		Name: s.Name, URL: t.url, State: string(s.State), Reason: s.Reason, Since: s.Since, Restarts: s.Restarts, RestartsHour: s.RestartsHour,
		Window: t.health.window(time.Now()), Queue: s.Queue, Busy: s.Busy, Max: s.Max, Parked: stats.Parked, Streams: stats.Streams,
		InForce: append([]string{}, s.InForce...), NotInForce: append([]string{}, s.Missing...), Workers: []WorkerStatus{},
	}
	out.Calls, out.Errors = t.health.counts()
	out.Check = t.health.lastCheck()
	if !s.NextTry.IsZero() {
		out.NextTry = &s.NextTry
	}
	for _, k := range s.Workers {
		out.Workers = append(out.Workers, WorkerStatus{
			PID: k.PID, State: string(k.State), Key: cmp.Or(people[bridge.Owner(k.Key)], k.Key), Calls: k.Calls, Active: k.Active,
			Memory: k.Memory, CPU: k.CPU.Seconds(), Since: k.Since,
		})
		out.Memory += k.Memory
		if k.State == supervisor.StateReady && k.Active == 0 {
			out.Idle++
		}
	}
	return out
}

// peopleByID names the users that worker keys stand for. Status is for a person; when the store cannot say, the id must do.
func (d *daemon) peopleByID() map[string]string {
	names := map[string]string{}
	if d.issuer == nil {
		return names
	}
	ctx, cancel := context.WithTimeout(d.closing, 2*time.Second)
	defer cancel()
	users, err := d.issuer.Users(ctx)
	if err != nil {
		d.log.Warn("cannot list users for the status", zap.Error(err))
	}
	for _, u := range users {
		names[u.ID] = u.Name
	}
	return names
}
