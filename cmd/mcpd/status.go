package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Status is what `mcpd status --json` prints. The names are a promise: members are added, never renamed or removed.
type Status struct {
	Version    string         `json:"version"`
	PID        int            `json:"pid"`
	Since      time.Time      `json:"since"`
	Config     string         `json:"config"` // the configuration file's path
	Domain     string         `json:"domain"`
	Issuer     string         `json:"issuer"` // "" when auth.mode = "none"
	Auth       string         `json:"auth"`   // "oauth" or "none"
	Listen     ListenStatus   `json:"listen"`
	LastReload *ReloadStatus  `json:"last_reload,omitempty"`
	Servers    []ServerStatus `json:"servers"` // by name
	Orphans    int            `json:"orphans"` // processes below mcpd that belong to no worker; measured
}

// ListenStatus has the addresses as they really are, a port 0 replaced by the one the system gave.
type ListenStatus struct {
	HTTP  string `json:"http"`
	Admin string `json:"admin"`
}

// ReloadStatus tells how the last reload ended; Error is "" when it was applied.
type ReloadStatus struct {
	Time  time.Time `json:"time"`
	Error string    `json:"error,omitempty"`
}

// ServerStatus is one server. State is one of ready, starting, idle, backoff, failed, stopping, disabled.
type ServerStatus struct {
	Name         string         `json:"name"`
	URL          string         `json:"url"`
	State        string         `json:"state"`
	Reason       string         `json:"reason,omitempty"`
	Since        time.Time      `json:"since"`
	NextTry      *time.Time     `json:"next_try,omitempty"`
	Restarts     int            `json:"restarts"`
	RestartsHour int            `json:"restarts_hour"`
	Calls        uint64         `json:"calls"`
	Queue        int            `json:"queue"`
	Busy         int            `json:"busy"`
	Max          int            `json:"max"`
	Parked       int            `json:"parked"`  // calls that wait for a person's answer
	Streams      int            `json:"streams"` // open event streams
	Workers      []WorkerStatus `json:"workers"`
}

// WorkerStatus is one process. Key names whom it serves: a user, or "" where all share it.
type WorkerStatus struct {
	PID   int       `json:"pid"`
	State string    `json:"state"`
	Key   string    `json:"key"`
	Calls uint64    `json:"calls"`
	Since time.Time `json:"since"`
}

// healthy tells whether a server serves, or would if it were asked.
func (s ServerStatus) healthy() bool {
	return s.State != "failed" && s.State != "backoff"
}

func (c *cli) statusCommand() *cobra.Command {
	var asJSON, watch bool
	cmd := &cobra.Command{
		Use: "status [SERVER]", Short: "the health table; exit code 1 when a server that should serve does not", Args: between(0, 1),
		ValidArgsFunction: c.completeServers,
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, err := c.admin()
			if err != nil {
				return err
			}
			for {
				st, err := c.fetchStatus(cmd.Context(), admin, args)
				if err != nil {
					return err
				}
				if watch && isTerminal(c.stdout) {
					fmt.Fprint(c.stdout, "\x1b[H\x1b[2J")
				}
				switch {
				case asJSON:
					err = printJSON(c.stdout, st)
				case len(args) == 1:
					err = c.printServer(st.Servers[0])
				default:
					err = c.printStatus(st)
				}
				if err != nil || !watch {
					return firstError(err, unhealthy(st))
				}
				select {
				case <-cmd.Context().Done():
					return nil
				case <-time.After(2 * time.Second):
				}
			}
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&watch, "watch", false, "print it again every two seconds")
	return cmd
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func unhealthy(st Status) error {
	for _, s := range st.Servers {
		if !s.healthy() {
			return silentError{}
		}
	}
	return nil
}

// fetchStatus asks the daemon; with a server's name in args it keeps only that one.
func (c *cli) fetchStatus(ctx context.Context, admin *adminClient, args []string) (Status, error) {
	var st Status
	if err := admin.get(ctx, "/v1/status", &st); err != nil || len(args) == 0 {
		return st, err
	}
	var names []string
	for _, s := range st.Servers {
		if s.Name == args[0] {
			st.Servers = []ServerStatus{s}
			return st, nil
		}
		names = append(names, s.Name)
	}
	if near := closest(args[0], names); near != "" {
		return st, fmt.Errorf("there is no server %q; did you mean %q?", args[0], near)
	}
	return st, fmt.Errorf("there is no server %q; there are %s", args[0], strings.Join(names, ", "))
}

func (c *cli) printStatus(st Status) error {
	now := time.Now()
	t := table{header: []string{"SERVER", "STATE", "WORKERS", "CALLS", "RESTARTS", "SINCE", "URL", "WHY"}, colour: stateColours}
	for _, s := range st.Servers {
		t.rows = append(t.rows, []string{
			s.Name, s.State, fmt.Sprintf("%d/%d", s.Busy, s.Max), fmt.Sprint(s.Calls), fmt.Sprint(s.Restarts), since(now, s.Since), s.URL, s.why(now),
		})
	}
	if err := t.print(c.stdout); err != nil {
		return err
	}
	issuer := st.Issuer
	if issuer == "" {
		issuer = "none (auth.mode = \"none\")"
	}
	if _, err := fmt.Fprintf(c.stdout, "\nmcpd %s, pid %d, up %s; listening on %s; issuer %s; orphans %d\n",
		st.Version, st.PID, since(now, st.Since), st.Listen.HTTP, issuer, st.Orphans); err != nil {
		return err
	}
	if r := st.LastReload; r != nil && r.Error != "" {
		_, err := fmt.Fprintf(c.stdout, "last reload, %s ago, changed nothing:\n%s\n", since(now, r.Time), r.Error)
		return err
	}
	return nil
}

// why is the reason of the state and, in back-off, when the next try is.
func (s ServerStatus) why(now time.Time) string {
	if s.NextTry == nil || !s.NextTry.After(now) || strings.Contains(s.Reason, "next try") {
		return s.Reason
	}
	return fmt.Sprintf("%s; next try in %s", s.Reason, s.NextTry.Sub(now).Round(time.Second))
}

// printServer is the long view of one server.
func (c *cli) printServer(s ServerStatus) error {
	now := time.Now()
	t := table{colour: stateColours}
	t.rows = [][]string{{"server", s.Name}, {"url", s.URL}, {"state", s.State}, {"why", s.why(now)}, {"since", s.Since.Local().Format(time.DateTime) + " (" + since(now, s.Since) + ")"},
		{"calls", fmt.Sprint(s.Calls)}, {"restarts", fmt.Sprintf("%d (%d in the last hour)", s.Restarts, s.RestartsHour)},
		{"busy", fmt.Sprintf("%d of at most %d workers; %d calls wait for one, %d for a person's answer", s.Busy, s.Max, s.Queue, s.Parked)}}
	if err := t.print(c.stdout); err != nil || len(s.Workers) == 0 {
		return err
	}
	w := table{header: []string{"PID", "STATE", "FOR", "CALLS", "SINCE"}, colour: stateColours}
	for _, k := range s.Workers {
		w.rows = append(w.rows, []string{fmt.Sprint(k.PID), k.State, cmp.Or(k.Key, "everyone"), fmt.Sprint(k.Calls), since(now, k.Since)})
	}
	fmt.Fprintln(c.stdout)
	return w.print(c.stdout)
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

// stateColours are the SGR codes of the states, used on a terminal only (and never with NO_COLOR, no-color.org).
var stateColours = map[string]string{
	"ready": "32", "idle": "36", "starting": "33", "stopping": "33", "backoff": "31", "failed": "31", "disabled": "90",
}

// table prints aligned columns. The last column is cut to the terminal's width; elsewhere nothing is cut.
type table struct {
	header []string
	rows   [][]string
	colour map[string]string // cell text to SGR code
}

func (t table) print(w io.Writer) error {
	lines := t.rows
	if t.header != nil {
		lines = append([][]string{t.header}, t.rows...)
	}
	var width []int
	for _, row := range lines {
		for i, cell := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	room, coloured := 0, false
	if f, ok := w.(*os.File); ok && isTerminal(f) {
		room, _, _ = term.GetSize(int(f.Fd()))
		coloured = os.Getenv("NO_COLOR") == ""
	}
	var b strings.Builder
	for _, row := range lines {
		t.line(&b, row, width, room, coloured)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t table) line(b *strings.Builder, row []string, width []int, room int, coloured bool) {
	at := 0
	for i, cell := range row {
		runes := []rune(strings.ReplaceAll(cell, "\n", " "))
		last := i == len(row)-1
		if last && room > 0 && at+len(runes) > room {
			runes = append(runes[:max(room-at-1, 0)], '…')
		}
		code := t.colour[cell]
		if coloured && code != "" {
			b.WriteString("\x1b[" + code + "m" + string(runes) + "\x1b[0m")
		} else {
			b.WriteString(string(runes))
		}
		if !last && strings.Join(row[i+1:], "") != "" {
			b.WriteString(strings.Repeat(" ", width[i]-len(runes)+2))
		}
		at += width[i] + 2
	}
	b.WriteString("\n")
}
