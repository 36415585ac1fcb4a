package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const demoConfig = `
[servers.demo]
command = "mcpd"
args    = ["demo-server"]
`

// peers writes a server entry for each name, all of them the test's own server.
func peers(names ...string) string {
	var b strings.Builder
	for _, n := range names {
		name, flag, _ := strings.Cut(n, " ")
		fmt.Fprintf(&b, "[servers.%s]\ncommand = \"peer\"\nargs = [%q, %q]\n\n", name, "-tag="+name, "-noise="+fmt.Sprint(flag != ""))
	}
	return b.String()
}

// crowd is 16 callers that call unchanged servers without a pause, half of them in sessions and half stateless.
type crowd struct {
	calls, failed atomic.Int64
	mu            sync.Mutex
	first         []string // the first failures, as texts
	quit          context.CancelFunc
	all           sync.WaitGroup
}

func gather(t *testing.T, d *instance, servers []string) *crowd {
	t.Helper()
	ctx, quit := context.WithCancel(t.Context())
	c := &crowd{quit: quit}
	for i := range 16 {
		server, version := servers[i%len(servers)], "2026-07-28"
		if i%2 == 0 {
			version = "2025-11-25"
		}
		s, err := sdkSession(ctx, d.url(server), d.token(server), version)
		if err != nil {
			t.Fatalf("caller %d of %s: %v", i, server, err)
		}
		c.all.Go(func() {
			defer s.Close()
			for n := 0; ctx.Err() == nil; n++ {
				want := fmt.Sprintf("%d of caller %d", n, i)
				limited, cancel := context.WithTimeout(ctx, 10*time.Second)
				got, err := sdkCall(limited, s, "echo", map[string]any{"text": want})
				cancel()
				switch {
				case ctx.Err() != nil:
				case err != nil || got != want:
					c.note(fmt.Sprintf("%s of %s: want %q, got %q, %v", version, server, want, got, err))
				default:
					c.calls.Add(1)
				}
				select { // what happens meanwhile needs the processor too
				case <-time.After(20 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	return c
}

func (c *crowd) note(failure string) {
	c.failed.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.first) < 5 {
		c.first = append(c.first, failure)
	}
}

// after waits until n more calls were answered.
func (c *crowd) after(t *testing.T, n int64) {
	t.Helper()
	begin := c.calls.Load()
	eventually(t, 30*time.Second, fmt.Sprintf("%d more calls", n), func() (bool, string) {
		now := c.calls.Load() - begin
		return now >= n || c.failed.Load() > 0, fmt.Sprintf("%d calls", now)
	})
}

func (c *crowd) end(t *testing.T) {
	t.Helper()
	c.quit()
	c.all.Wait()
	if n := c.failed.Load(); n > 0 {
		t.Errorf("%d calls on unchanged servers failed, and %d did not; the first:\n%s", n, c.calls.Load(), strings.Join(c.first, "\n"))
	}
}

// TestReload: one server added, one removed, one changed, ten unchanged, while 16 callers call the unchanged ones:
// no call fails, no process of an unchanged server changes, and an open event stream stays open.
func TestReload(t *testing.T) {
	t.Parallel()
	var kept []string
	for i := range 10 {
		kept = append(kept, fmt.Sprintf("kept%d", i))
	}
	d := startDaemon(t, peers(append(slices.Clone(kept), "removed", "changed")...))
	d.addUser()
	for _, s := range []string{"removed", "changed"} {
		d.must("call", "--user", d.user, s, "echo", `{"text":"hi"}`)
	}
	stream := openStream(t, d, kept[0])
	callers := gather(t, d, kept)
	callers.after(t, 100)
	before := workers(d, kept)
	old := d.pids("changed")

	d.configure(peers(append(slices.Clone(kept), "changed noisy", "added")...))
	if out := d.must("check", "--diff"); out != changeText("added", "removed", "changed", kept) {
		t.Errorf("check --diff:\n%s", out)
	}
	callers.after(t, 50)
	if now := workers(d, kept); now != before {
		t.Errorf("check --diff changed the workers:\n%s\nthen\n%s", before, now)
	}
	if out := d.must("reload"); out != changeText("added", "removed", "changed", kept) {
		t.Errorf("reload:\n%s", out)
	}
	callers.after(t, 200)
	callers.end(t)

	if now := workers(d, kept); now != before {
		t.Errorf("the workers of unchanged servers before the reload:\n%s\nand after:\n%s", before, now)
	}
	stream.stillOpen(t)
	for _, s := range []string{"added", "changed"} {
		if out := d.must("call", "--user", d.user, s, "echo", `{"text":"here"}`); out != "here\n" {
			t.Errorf("call of %s: %q", s, out)
		}
	}
	for _, pid := range d.pids("changed") {
		if slices.Contains(old, pid) {
			t.Errorf("process %d of the changed server runs on", pid)
		}
	}
	eventually(t, 5*time.Second, "the removed server's processes are gone", func() (bool, string) {
		pids := descendants(d.cmd.Process.Pid, "-tag=removed")
		return len(pids) == 0, fmt.Sprint(pids)
	})
	if st := d.status(); len(st.Servers) != 12 || st.Orphans != 0 {
		t.Errorf("%d servers and %d orphans, want 12 and 0", len(st.Servers), st.Orphans)
	}

	t.Run("bad file", func(t *testing.T) {
		before := workers(d, append(slices.Clone(kept), "changed", "added"))
		d.configure(peers(kept...) + "[servers.bad]\ncomand = \"peer\"\n")
		line := strings.Count(peers(kept...), "\n") + 2
		_, errs, code := d.run("", "reload")
		if code != 1 || !strings.Contains(errs, fmt.Sprintf("servers.toml:%d:", line)) || !strings.Contains(errs, `"command"`) {
			t.Errorf("reload of a bad file: exit code %d, want 1 and servers.toml:%d and what was meant:\n%s", code, line, errs)
		}
		if now := workers(d, append(slices.Clone(kept), "changed", "added")); now != before {
			t.Errorf("a bad file changed the workers:\n%s\nthen\n%s", before, now)
		}
		stream.stillOpen(t)
	})
}

// changeText is what reload and check --diff print.
func changeText(start, stop, restart string, keep []string) string {
	return fmt.Sprintf("+ start    %s\n- stop     %s\n~ restart  %s\n= keep     %s\n", start, stop, restart, strings.Join(keep, " "))
}

// workers renders which process serves whom, to compare.
func workers(d *instance, servers []string) string {
	d.t.Helper()
	var b strings.Builder
	for _, s := range d.status().Servers {
		if slices.Contains(servers, s.Name) {
			fmt.Fprintf(&b, "%s:", s.Name)
			for _, w := range s.Workers {
				fmt.Fprintf(&b, " %d for %q", w.PID, w.Key)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// eventStream is the stand-alone GET stream of a session.
type eventStream struct{ ended chan error }

func openStream(t *testing.T, d *instance, server string) *eventStream {
	t.Helper()
	w := newWire(d.url(server), d.token(server))
	w.open(t, "2025-11-25")
	resp, err := w.do(t.Context(), http.MethodGet, "", map[string]string{"Accept": "text/event-stream", "Content-Type": ""})
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || !resp.Close { // a stream that is kept lean takes its connection with it
		t.Fatalf("GET of an event stream: %s, and its connection closes then: %v", resp.Status, resp.Close)
	}
	s := &eventStream{ended: make(chan error, 1)}
	go func() {
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
		}
		s.ended <- fmt.Errorf("it ended: %v", lines.Err())
	}()
	return s
}

func (s *eventStream) stillOpen(t *testing.T) {
	t.Helper()
	select {
	case err := <-s.ended:
		t.Errorf("the event stream of an unchanged server: %v", err)
		s.ended <- err
	default:
	}
}

// TestRestart: a client's session id and token go on working after mcpd was restarted.
func TestRestart(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, demoConfig)
	d.addUser()
	w := newWire(d.url("demo"), d.token("demo"))
	w.open(t, "2025-11-25")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, when := range []string{"before", "after"} {
		if got, err := w.tool(ctx, "echo", map[string]string{"text": when}); err != nil || got != when {
			t.Fatalf("echo %s the restart: %q, %v", when, got, err)
		}
		if when == "before" {
			d.restart()
		}
	}
	// And after the worst kind of end.
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-d.done
	d.start()
	if got, err := w.tool(ctx, "echo", map[string]string{"text": "risen"}); err != nil || got != "risen" {
		t.Fatalf("echo after kill -9: %q, %v", got, err)
	}
}
