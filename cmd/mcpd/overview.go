package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func (c *cli) statusCommand() *cobra.Command {
	var asJSON, watch bool
	cmd := &cobra.Command{
		Use: "status [SERVER]", Short: "the health table; exit code 1 when a server that should serve does not", Args: between(0, 1),
		Long:              statusHelp(),
		ValidArgsFunction: c.completeServers,
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, err := c.admin()
			if err != nil {
				return err
			}
			show := c.printStatus
			switch {
			case asJSON:
				show = func(w io.Writer, _ terminal, st, _ Status) error { return printJSON(w, st) }
			case len(args) == 1:
				show = c.printServer
			}
			path := "/v1/status"
			if len(args) == 1 {
				path += "?server=" + url.QueryEscape(args[0])
			}
			if watch {
				return c.watch(cmd.Context(), admin, path, show)
			}
			var st Status
			if err := admin.get(cmd.Context(), path, &st); err != nil {
				return err
			}
			return cmp.Or(show(c.stdout, terminalOf(c.stdout), st, Status{}), unhealthy(st))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&watch, "watch", false, "print it again every two seconds, with CPU as a share of one processor")
	return cmd
}

func statusHelp() string {
	var b strings.Builder
	b.WriteString(`The health of all servers, or all that is known of one. Everything is measured when it is asked for.

Exit code 1 means that a server that should serve does not: its state is backoff or failed, or its check fails.

WORKERS are busy/running/most, and +N calls that wait. P50 and P99 are of the last ten minutes.

Members of the JSON; they are never renamed or removed, and more may come:
`)
	statusMembers(&b, reflect.TypeFor[Status](), "")
	return b.String()
}

func unhealthy(st Status) error {
	for _, s := range st.Servers {
		if !s.healthy() {
			return silentError{}
		}
	}
	return nil
}

// view prints a status; before is the one of last time, zero at first.
type view = func(w io.Writer, on terminal, now, before Status) error

const watchEvery = 2 * time.Second

// watch prints again and again until ctx ends. It goes on when mcpd is not there: it may be on its way back.
func (c *cli) watch(ctx context.Context, admin *adminClient, path string, show view) error {
	var before Status
	for {
		var st Status
		var page strings.Builder
		on := terminalOf(c.stdout)
		switch err := admin.get(ctx, path, &st); {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, new(*adminError)):
			return err
		case err != nil:
			fmt.Fprintf(&page, "%v\n", err)
		default:
			if err := show(&page, on, st, before); err != nil {
				return err
			}
			before = st
		}
		if _, err := io.WriteString(c.stdout, on.frame(page.String())); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchEvery):
		}
	}
}

func (c *cli) printStatus(w io.Writer, on terminal, st, before Status) error {
	now := time.Now()
	var b strings.Builder
	t := table{
		header: []string{"SERVER", "STATE", "WORKERS", "CALLS", "ERRORS", "P50", "P99", "MEM", "CPU", "RESTARTS", "SINCE", "URL", "WHY"},
		spare:  []string{"URL", "CPU", "SINCE", "P50", "RESTARTS", "MEM", "ERRORS", "P99", "CALLS"}, colour: stateColours,
	}
	for _, s := range st.Servers {
		t.rows = append(t.rows, []string{
			s.Name, s.State, s.occupancy(), fmt.Sprint(s.Calls), fmt.Sprint(s.Errors), milliseconds(s.Window.P50), milliseconds(s.Window.P99),
			bytesText(s.Memory), s.cpu(before), fmt.Sprint(s.Restarts), since(now, s.Since), s.URL, s.why(now),
		})
	}
	t.render(&b, on)
	issuer := cmp.Or(st.Issuer, `none (auth.mode = "none")`)
	fmt.Fprintf(&b, "\nmcpd %s, pid %d, up %s; listening on %s; issuer %s; orphans %d\n",
		st.Version, st.PID, since(now, st.Since), st.Listen.addrs(), issuer, st.Orphans)
	b.WriteString(certificatesLine(now, st.Certificates))
	if r := st.LastReload; r != nil && r.Error != "" {
		fmt.Fprintf(&b, "last reload, %s ago, changed nothing:\n%s\n", since(now, r.Time), r.Error)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// occupancy is busy/running/most, and how many calls wait.
func (s ServerStatus) occupancy() string {
	text := fmt.Sprintf("%d/%d/%d", s.Busy, len(s.Workers), s.Max)
	if s.Queue > 0 {
		text += fmt.Sprintf(" +%d", s.Queue)
	}
	return text
}

// cpu is the time that the workers that run now have used; with a status of before, the share of one
// processor since then.
func (s ServerStatus) cpu(before Status) string {
	var used, then float64
	var elapsed time.Duration
	known := map[int]float64{}
	for _, old := range before.Servers {
		if old.Name == s.Name {
			elapsed = watchEvery
			for _, w := range old.Workers {
				known[w.PID] = w.CPU
			}
		}
	}
	for _, w := range s.Workers {
		used += w.CPU
		then += known[w.PID]
	}
	switch {
	case len(s.Workers) == 0:
		return "-"
	case elapsed == 0:
		return fmt.Sprintf("%.1fs", used)
	}
	return fmt.Sprintf("%.0f%%", max(used-then, 0)/elapsed.Seconds()*100)
}

// why is the reason of the state and, in back-off, when the next try is.
func (s ServerStatus) why(now time.Time) string {
	if s.Check != nil && s.Check.Error != "" {
		return "its check " + s.Check.text(now) + "; " + s.Reason
	}
	if s.NextTry == nil || !s.NextTry.After(now) || strings.Contains(s.Reason, "next try") {
		return s.Reason
	}
	return fmt.Sprintf("%s; next try in %s", s.Reason, s.NextTry.Sub(now).Round(time.Second))
}

// printServer is the long view of one server.
func (c *cli) printServer(w io.Writer, on terminal, st, before Status) error {
	now, s := time.Now(), st.Servers[0]
	var b strings.Builder
	latency := "no calls in the last 10 minutes"
	if s.Window.Calls > 0 {
		latency = fmt.Sprintf("%s half of the calls, %s 99 of 100; %d calls in the last 10 minutes, %d errors",
			milliseconds(s.Window.P50), milliseconds(s.Window.P99), s.Window.Calls, s.Window.Errors)
	}
	t := table{colour: stateColours, rows: [][]string{
		{"server", s.Name}, {"url", s.URL}, {"state", s.State}, {"why", s.why(now)},
		{"since", s.Since.Local().Format(time.DateTime) + " (" + since(now, s.Since) + ")"},
		{"calls", fmt.Sprintf("%d, %d of them answered with an error", s.Calls, s.Errors)}, {"took", latency},
		{"restarts", fmt.Sprintf("%d (%d in the last hour)", s.Restarts, s.RestartsHour)},
		{"workers", fmt.Sprintf("%d busy, %d idle, at most %d; %d calls wait for one, %d for a person's answer", s.Busy, s.Idle, s.Max, s.Queue, s.Parked)},
		{"uses", fmt.Sprintf("%s of memory, %s of processor time", bytesText(s.Memory), s.cpu(before))},
	}}
	if s.Package != nil {
		t.rows = append(t.rows, []string{"package", s.Package.String()})
	}
	if s.Check != nil {
		t.rows = append(t.rows, []string{"check", s.Check.text(now)})
	}
	if len(s.InForce) > 0 {
		t.rows = append(t.rows, []string{"in force", strings.Join(s.InForce, ", ")})
	}
	if len(s.NotInForce) > 0 {
		t.rows = append(t.rows, []string{"missing", strings.Join(s.NotInForce, ", ")})
	}
	t.render(&b, on)
	if len(s.Workers) > 0 {
		workers := table{header: []string{"PID", "STATE", "CALLS", "ACTIVE", "MEM", "SHARE", "CPU", "SINCE", "FOR"}, colour: stateColours}
		for _, k := range s.Workers {
			workers.rows = append(workers.rows, []string{
				fmt.Sprint(k.PID), k.State, fmt.Sprint(k.Calls), fmt.Sprint(k.Active), bytesText(k.Memory), bytesText(k.PSS), fmt.Sprintf("%.1fs", k.CPU),
				since(now, k.Since), cmp.Or(k.Key, "everyone"),
			})
		}
		b.WriteString("\n")
		workers.render(&b, on)
	}
	if len(s.Stderr) > 0 {
		b.WriteString("\nlast lines on standard error:\n")
		for _, l := range s.Stderr {
			b.WriteString(l.String() + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// since renders how long ago t was, in the two largest units: 3s, 4m10s, 2h5m, 3d4h.
func since(now, t time.Time) string {
	d := now.Sub(t).Round(time.Second)
	switch {
	case t.IsZero():
		return "-"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(max(d, 0).Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
}

// milliseconds renders a duration in about two digits: 0.4ms, 35ms, 1.2s.
func milliseconds(ms float64) string {
	switch {
	case ms == 0:
		return "-"
	case ms < 10:
		return fmt.Sprintf("%.1fms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0fms", ms)
	}
	return fmt.Sprintf("%.1fs", ms/1000)
}

// bytesText renders a size as people say it: 640K, 48M, 1.5G.
func bytesText(n int64) string {
	switch {
	case n == 0:
		return "-"
	case n < 1<<20:
		return fmt.Sprintf("%dK", (n+1023)>>10)
	case n < 1<<30:
		return fmt.Sprintf("%dM", n>>20)
	}
	return fmt.Sprintf("%.1fG", float64(n)/(1<<30))
}

// stateColours are the SGR codes of the states.
var stateColours = map[string]string{
	"ready": "32", "idle": "36", "starting": "33", "stopping": "33", "backoff": "31", "failed": "31", "disabled": "90",
}
