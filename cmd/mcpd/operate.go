package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func (c *cli) reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reload", Short: "apply the edited configuration, wait, and print what changed", Args: exactly(0),
		Long: `Applies the edited configuration, waits until the servers that were changed while they served are replaced, and
prints what changed.

Exit code 1 means that the configuration is wrong and changed nothing, or that what is to replace a server does not
start: that server goes on as it was, and mcpd goes on trying. mcpd restart SERVER puts the new one in its place anyway.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			admin, err := c.admin()
			if err != nil {
				return err
			}
			var ch change
			if err := admin.post(cmd.Context(), "/v1/reload", nil, &ch); err != nil {
				return c.refused(err, "nothing was changed")
			}
			if err := ch.print(c.stdout); err != nil || len(ch.Held) == 0 {
				return err
			}
			return silentError{}
		},
	}
}

// refused prints the daemon's problems a line each, as file:line:column sentences, and ends with exit code 1.
func (c *cli) refused(err error, after string) error {
	var ae *adminError
	if !errors.As(err, &ae) {
		return err
	}
	fmt.Fprintf(c.stderr, "%s\nmcpd: %s\n", strings.TrimSpace(ae.Message), after)
	return silentError{}
}

func (c *cli) checkCommand() *cobra.Command {
	var diff, online bool
	cmd := &cobra.Command{
		Use: "check", Short: "validate the configuration; with --diff, show what a reload would do", Args: exactly(0),
		Long: `Validates the configuration. That needs no network and no running mcpd, so that it can be done anywhere.

--online tries what the certificates take as well: it asks the certificate authorities for their directories,
looks up the hosts, and with a DNS provider writes a TXT record at _acme-challenge, waits until everybody who
matters sees it, and removes it. No certificate is ordered.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if diff {
				return c.checkDiff(cmd)
			}
			file, cfg, err := c.load(nil)
			if err != nil {
				fmt.Fprintf(c.stderr, "%v\n", err)
				return silentError{}
			}
			noun := "servers"
			if len(cfg.Servers) == 1 {
				noun = "server"
			}
			fmt.Fprintf(c.stdout, "%s: fine, %d %s\n", file, len(cfg.Servers), noun)
			for _, name := range slices.Sorted(maps.Keys(cfg.Servers)) {
				for _, what := range cfg.Servers[name].Never() {
					fmt.Fprintf(c.stdout, "! servers.%s: %s\n", name, what)
				}
			}
			if online {
				return c.preflight(cmd.Context(), cfg)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&diff, "diff", false, "ask the running daemon what a reload would start, stop, restart and keep")
	cmd.Flags().BoolVar(&online, "online", false, "try what the certificates take: authorities, DNS provider, hosts")
	cmd.MarkFlagsMutuallyExclusive("diff", "online")
	return cmd
}

func (c *cli) checkDiff(cmd *cobra.Command) error {
	admin, err := c.admin()
	if err != nil {
		return err
	}
	var ch change
	if err := admin.post(cmd.Context(), "/v1/check", nil, &ch); err != nil {
		return c.refused(err, "a reload would change nothing")
	}
	return ch.print(c.stdout)
}

func (c *cli) powerCommand(do, short string) *cobra.Command {
	return &cobra.Command{
		Use: do + " SERVER", Short: short, Args: exactly(1), ValidArgsFunction: c.completeServers,
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, err := c.admin()
			if err != nil {
				return err
			}
			var s ServerStatus
			if err := admin.post(cmd.Context(), "/v1/servers/"+url.PathEscape(args[0])+"/"+do, nil, &s); err != nil {
				return err
			}
			fmt.Fprintf(c.stdout, "%s: %s\n", s.Name, strings.TrimSuffix(s.State+", "+s.why(time.Now()), ", "))
			return nil
		},
	}
}

func (c *cli) logsCommand() *cobra.Command {
	var follow bool
	var lines, worker int
	var since string
	cmd := &cobra.Command{
		Use: "logs SERVER", Short: "what a server's workers wrote to stderr, with time and process id", Args: exactly(1),
		ValidArgsFunction: c.completeServers,
		RunE: func(cmd *cobra.Command, args []string) error {
			if lines < 0 {
				return usageError{fmt.Sprintf("--lines must not be negative, got %d", lines)}
			}
			admin, err := c.admin()
			if err != nil {
				return err
			}
			q := url.Values{"lines": {strconv.Itoa(lines)}}
			if since != "" {
				t, err := parseSince(since, time.Now())
				if err != nil {
					return err
				}
				if q.Set("since", t.Format(time.RFC3339Nano)); !cmd.Flags().Changed("lines") {
					q.Set("lines", strconv.Itoa(math.MaxInt32))
				}
			}
			if worker != 0 {
				q.Set("worker", strconv.Itoa(worker))
			}
			if follow {
				q.Set("follow", "1")
			}
			resp, err := admin.open(cmd.Context(), http.MethodGet, "/v1/logs/"+url.PathEscape(args[0])+"?"+q.Encode(), nil)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			return c.printLogs(resp.Body)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with new lines as they come")
	cmd.Flags().IntVarP(&lines, "lines", "n", 100, "how many `LINES` back to begin")
	cmd.Flags().StringVar(&since, "since", "", "only lines since `TIME`: a duration such as 10m, a time of today such as 14:05, or RFC 3339")
	cmd.Flags().IntVar(&worker, "worker", 0, "only lines of the worker with this process `ID`")
	return cmd
}

// parseSince reads a time as people say it: how long ago, when today, or exactly.
func parseSince(text string, now time.Time) (time.Time, error) {
	if d, err := parseDuration(text); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{"15:04", time.TimeOnly} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			y, m, d := now.Date()
			return time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), 0, now.Location()), nil
		}
	}
	for _, layout := range []string{time.DateTime, time.DateOnly, time.RFC3339} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usageError{fmt.Sprintf("--since %q is no time: write 10m, 14:05 or 2026-01-02T15:04:05Z", text)}
}

func (c *cli) printLogs(body io.Reader) error {
	dec := json.NewDecoder(body)
	for {
		var l logLine
		err := dec.Decode(&l)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("cannot read the log: %w", err)
		}
		if _, err := fmt.Fprintln(c.stdout, l); err != nil {
			return err
		}
	}
}

// change is what a reload does or would do, by server name, each list sorted. Update and Policy
// name servers whose limits or rules change while their processes run on.
type change struct {
	Start   []string `json:"start"`
	Stop    []string `json:"stop"`
	Restart []string `json:"restart"`
	Update  []string `json:"update"`
	Keep    []string `json:"keep"`
	Policy  []string `json:"policy"`
	Notes   []string `json:"notes"` // settings that only a restart of mcpd applies, and what did not start
	Held    []string `json:"held"`  // of Restart, those that go on as they were: what replaces them does not start
}

// line is the change in one line; what is empty is left out.
func (ch change) line() string {
	var b strings.Builder
	for _, part := range []struct {
		verb  string
		names []string
	}{{"start", ch.Start}, {"stop", ch.Stop}, {"restart", ch.Restart}, {"update", ch.Update}, {"policy", ch.Policy}} {
		if len(part.names) > 0 {
			fmt.Fprintf(&b, "%s %s, ", part.verb, strings.Join(part.names, " "))
		}
	}
	fmt.Fprintf(&b, "keep %d", len(ch.Keep))
	return b.String()
}

func (ch change) print(w io.Writer) error {
	var b strings.Builder
	for _, part := range []struct {
		sign, verb string
		names      []string
	}{{"+", "start", ch.Start}, {"-", "stop", ch.Stop}, {"~", "restart", ch.Restart}, {"^", "update", ch.Update}, {"*", "policy", ch.Policy}, {"=", "keep", ch.Keep}} {
		if len(part.names) > 0 {
			fmt.Fprintf(&b, "%s %-8s %s\n", part.sign, part.verb, strings.Join(part.names, " "))
		}
	}
	for _, n := range ch.Notes {
		fmt.Fprintf(&b, "! %s\n", n)
	}
	if b.Len() == 0 {
		b.WriteString("no servers\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
