package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The tests of this file take minutes and what a machine has, so they run when they are asked for: by `just chaos`, and by CI with nothing beside them.
// MCPD_CHAOS is for how long, about, MCPD_CHAOS_KILLS how often mcpd is killed, MCPD_CHAOS_SEED repeats the choices of a run.

// chaosTime is how long a run shall take, but for the waiting until mcpd is at rest again.
func chaosTime(t *testing.T) time.Duration {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("processes and memory are read from /proc")
	}
	text := os.Getenv("MCPD_CHAOS")
	if text == "" {
		t.Skip("MCPD_CHAOS=2m runs it for so long")
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 10*time.Second {
		t.Fatalf("MCPD_CHAOS=%q: want a duration of at least 10s", text)
	}
	return d
}

// chaosNumber is a number from the environment, or another one.
func chaosNumber(name string, otherwise uint64) uint64 {
	if n, err := strconv.ParseUint(os.Getenv(name), 10, 64); err == nil {
		return n
	}
	return otherwise
}

const chaosHead = `
[listen]
limits.user_rate = 100000

[defaults]
workers.idle = "5s"
timeouts.stdin = "500ms"
timeouts.term = "500ms"
`

// hostile are the entries of servers that harm whom they can.
var hostile = map[string]string{
	"forks":   "args = [\"-tag=TAG\", \"-vice=forks\"]\nlimits.pids = 40\n",
	"memory":  "args = [\"-tag=TAG\", \"-vice=memory\"]\nlimits.memory = \"96MiB\"\n",
	"deaf":    "args = [\"-tag=TAG\", \"-deaf\"]\n",
	"mute":    "args = [\"-tag=TAG\", \"-vice=mute\"]\n",
	"flood":   "args = [\"-tag=TAG\", \"-vice=flood\"]\n",
	"daemons": "args = [\"-tag=TAG\", \"-vice=daemons\"]\n",
	"late":    "args = [\"-tag=TAG\", \"-delay=5s\"]\n",
	"crash":   "args = [\"-tag=TAG\", \"-crash=no luck\"]\n",
}

// mess is a configuration that changes by chance, and what was done to whom.
type mess struct {
	tag     string
	rng     *rand.Rand
	healthy []string
	version map[string]int  // of a healthy server's arguments
	most    map[string]int  // its workers.max
	extra   map[string]bool // servers that come and go

	mu      sync.Mutex
	killed  map[string]time.Time
	changed map[string]time.Time
}

func newMess(tag string, healthy int, seed uint64) *mess {
	m := &mess{tag: tag, rng: rand.New(rand.NewPCG(seed, 1)), version: map[string]int{}, most: map[string]int{}, extra: map[string]bool{},
		killed: map[string]time.Time{}, changed: map[string]time.Time{}}
	for i := range healthy {
		m.healthy = append(m.healthy, fmt.Sprintf("h%02d", i))
	}
	return m
}

// config is servers.toml as it is now. The healthy servers are set up as those are that have to answer at once: with
// a worker ready that nobody has yet, or, where all share, a second one.
func (m *mess) config() string {
	var b strings.Builder
	b.WriteString(chaosHead)
	for i, name := range m.healthy {
		fmt.Fprintf(&b, "[servers.%s]\ncommand = \"peer\"\nargs = [\"-tag=%s\", \"-say=version %d\"]\nworkers.min = %d\nworkers.max = %d\nisolation = %q\nera = %q\n", name, m.tag,
			m.version[name], least(i), 8+m.most[name], []string{"user", "shared"}[i%2], []string{"auto", "legacy", "modern"}[i%3])
	}
	for _, name := range sortedKeys(hostile) {
		fmt.Fprintf(&b, "[servers.%s]\ncommand = \"peer\"\nlimits.call = \"5s\"\n%s", name, strings.ReplaceAll(hostile[name], "TAG", m.tag))
	}
	for _, name := range sortedKeys(m.extra) {
		if m.extra[name] {
			fmt.Fprintf(&b, "[servers.%s]\ncommand = \"peer\"\nargs = [\"-tag=%s\"]\nworkers.min = 1\n", name, m.tag)
		}
	}
	return b.String()
}

// edit changes one to three things, of which one may be a mistake.
func (m *mess) edit() string {
	for range 1 + m.rng.IntN(3) {
		name := m.healthy[m.rng.IntN(len(m.healthy))]
		switch m.rng.IntN(4) {
		case 0, 1:
			m.version[name]++
			m.note(m.changed, name)
		case 2:
			m.most[name] = m.rng.IntN(3)
		case 3:
			extra := fmt.Sprint("extra", m.rng.IntN(4))
			m.extra[extra] = !m.extra[extra]
		}
	}
	if m.rng.IntN(8) == 0 {
		return m.config() + "[servers.wrong]\ncomand = \"peer\"\n"
	}
	return m.config()
}

func (m *mess) note(what map[string]time.Time, server string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	what[server] = time.Now()
}

// excuse names what was done to the server that a failure tells of. Nothing else excuses one.
func (m *mess) excuse(server string, f failure) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch killed, changed := m.killed[server], m.changed[server]; {
	case strings.Contains(f.text, "killed by signal 9") && !killed.IsZero():
		return "its process was killed, and the answer says so"
	case strings.Contains(f.text, "this server is being stopped or replaced") && time.Since(changed) < time.Minute:
		return "its server was changed, and the answer says so"
	}
	return ""
}

// kill kills a worker of a healthy server by chance.
func (m *mess) kill(st Status) bool {
	var all [][2]any
	for _, s := range st.Servers {
		for _, w := range s.Workers {
			if strings.HasPrefix(s.Name, "h") && w.PID > 1 {
				all = append(all, [2]any{s.Name, w.PID})
			}
		}
	}
	if len(all) == 0 {
		return false
	}
	victim := all[m.rng.IntN(len(all))]
	m.note(m.killed, victim[0].(string)) // before: the calls on it end at once
	return syscall.Kill(victim[1].(int), syscall.SIGKILL) == nil
}

// gauges are what must not grow. Of the memory that is resident it is what mcpd alone has: how much of its program is in it
// too depends on what ran last.
type gauges struct{ goroutines, fds, own, processor float64 }

// gauges are as mcpd tells them, but for its memory.
func (d *instance) gauges() (g gauges) {
	d.t.Helper()
	resp, err := d.admin().open(context.Background(), http.MethodGet, "/metrics", nil)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	for name, to := range map[string]*float64{"go_goroutines": &g.goroutines, "process_open_fds": &g.fds, "process_cpu_seconds_total": &g.processor} {
		if m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(text); m == nil {
			d.t.Fatalf("no %s in the metrics", name)
		} else if *to, err = strconv.ParseFloat(string(m[1]), 64); err != nil {
			d.t.Fatal(err)
		}
	}
	return g
}

// own is the memory that mcpd alone has, read without its help: that it is asked is work too.
func (d *instance) own() float64 {
	d.t.Helper()
	own := memoryOf(d.cmd.Process.Pid, "RssAnon")
	if own == 0 {
		d.t.Fatal("the memory of mcpd cannot be read")
	}
	return float64(own)
}

// atRest are the gauges of an mcpd that has had the time to give back what work has left. Each answer it gives has a
// connection of its own, which may be there still while it tells the next: the least of a few counts.
func (d *instance) atRest() gauges {
	d.t.Helper()
	g := gauges{own: d.own()}
	for end := time.Now().Add(2*afterWork.look + 3*time.Second); time.Now().Before(end); <-time.After(100 * time.Millisecond) {
		g.own = min(g.own, d.own())
	}
	for i := range 5 {
		if now := d.gauges(); i == 0 || now.goroutines <= g.goroutines && now.fds <= g.fds {
			g.goroutines, g.fds = now.goroutines, now.fds
		}
		<-time.After(100 * time.Millisecond)
	}
	return g
}

// returned waits until mcpd has no more than it had before, within 10 %.
func (d *instance) returned(before gauges) error {
	d.t.Helper()
	now := gauges{}
	err := until(time.Minute, "mcpd has no more memory than at the start, within 10 %", func() (bool, string) {
		now.own = d.own()
		return now.own <= 1.1*before.own, fmt.Sprint(now)
	})
	err = errors.Join(err, until(time.Minute, "mcpd has no more goroutines and files than at the start", func() (bool, string) {
		g := d.gauges()
		now.goroutines, now.fds = g.goroutines, g.fds
		return g.goroutines <= before.goroutines+2 && g.fds <= before.fds, fmt.Sprint(now)
	}))
	d.t.Logf("at the end %v", now)
	return err
}

func (g gauges) String() string {
	return fmt.Sprintf("%.0f goroutines, %.0f file descriptors, %.1f MB of its own", g.goroutines, g.fds, g.own/1e6)
}

// quiet waits until so many processes of the tag run.
func (d *instance) quiet(tag string, want int) {
	d.t.Helper()
	eventually(d.t, 2*time.Minute, fmt.Sprintf("%d workers run", want), func() (bool, string) {
		pids := everywhere("-tag=" + tag)
		return len(pids) == want, fmt.Sprintf("%d processes", len(pids))
	})
}

// spares is how many workers are kept ready when nobody calls.
func (m *mess) spares() (n int) {
	for i := range m.healthy {
		n += least(i)
	}
	return n
}

// least is workers.min of the i-th healthy server.
func least(i int) int { return 1 + i%2 }

// TestChaosRun: 30 servers of which 8 are hostile, and three people who call. Workers are killed and the configuration is
// changed all the time. Calls of healthy servers are answered, or the answer says truly why not; in the end nothing is left.
func TestChaosRun(t *testing.T) {
	total := chaosTime(t)
	seed := chaosNumber("MCPD_CHAOS_SEED", rand.Uint64())
	t.Logf("MCPD_CHAOS_SEED=%d repeats the choices", seed)
	m := newMess(fmt.Sprintf("chaos-%d", os.Getpid()), 22, seed)
	first := m.config()
	d := startDaemon(t, first)
	bad := sortedKeys(hostile)
	l := newLoad(t, d, []string{"ann", "ben", "eve"}, append(bad, m.healthy...))
	l.think, l.excuse = 20*time.Millisecond, m.excuse
	spent := 0.0
	report := func(what string, took []time.Duration, in time.Duration) {
		now := d.gauges().processor
		t.Logf("%s: %d calls in %v, half within %v, 99 of 100 within %v; mcpd used %.0f %% of a processor", what, len(took), in,
			took[len(took)/2], percentile99(took), (now-spent)/in.Seconds()*100)
		spent = now
	}
	warm := func() {
		l.forget()
		spent = d.gauges().processor
	}
	victims := &load{t: t, d: d, client: l.client, base: l.base, tokens: l.tokens, users: l.users, excused: map[string]int{},
		think: 20 * time.Millisecond, patient: 2 * time.Minute, excuse: func(_ string, f failure) string {
			if f.status == 0 { // no answer is none of the truths
				return ""
			}
			return "the server is hostile"
		}}
	kills, reloads := 0, 0
	mess := func(what string, during time.Duration) []time.Duration {
		victims.begin(8, bad)
		l.begin(12, m.healthy)
		k, r := d.chaos(m, during/4)
		warm()
		more, again := d.chaos(m, during-during/4)
		k, r = k+more, r+again
		took := l.end()
		victims.end()
		kills, reloads = kills+k, reloads+r
		report(fmt.Sprintf("%s, %d kills and %d reloads", what, k, r), took, during*3/4)
		d.configure(first)
		d.must("reload")
		d.quiet(m.tag, m.spares())
		return took
	}
	prefer(t)
	mess("chaos, from a cold start", total/8) // so that whatever is kept of calls, logs and lists is there already
	// With as many callers, and as long; the first quarter, in which all has to start, does not count either time.
	calm := &load{t: t, d: d, client: l.client, base: l.base, tokens: l.tokens, users: l.users, excused: map[string]int{}, think: l.think, patient: l.patient}
	calm.begin(8, m.healthy)
	l.begin(12, m.healthy)
	<-time.After(total * 3 / 32)
	warm()
	<-time.After(total * 9 / 32)
	usual := l.end()
	calm.end()
	report("healthy servers alone", usual, total*9/32)
	d.quiet(m.tag, m.spares())
	before := d.atRest()
	took := mess("chaos", total*3/8)
	t.Logf("the 99th percentile is %.1f times that of the healthy alone", float64(percentile99(took))/float64(percentile99(usual)))
	l.check()
	calm.check()
	victims.check()
	if kills == 0 || reloads == 0 || len(took) == 0 {
		t.Error("that is too little to show anything")
	}

	if st := d.status(); st.Orphans != 0 || len(st.Servers) != 30 {
		t.Errorf("%d servers and %d orphans, want 30 and 0", len(st.Servers), st.Orphans)
	}
	t.Logf("at the start %v", before)
	// What is in use lies scattered over what was in use, and not each time alike: more work has it collected again.
	for tries := 3; ; tries-- {
		err := d.returned(before)
		if err == nil {
			break
		}
		if tries == 1 {
			t.Fatal(err)
		}
		t.Log(err)
		calm.begin(8, m.healthy)
		<-time.After(10 * time.Second)
		calm.end()
		calm.check()
		d.quiet(m.tag, m.spares())
	}
}

// prefer lets this process, which measures, go before those that it measures, mcpd among them, if it may: what they take of
// the processor shall delay their answers, and not the reading of them.
func prefer(t *testing.T) {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	for _, task := range tasks { // the priority is of each thread; new ones have it from those that there are
		tid, _ := strconv.Atoi(task.Name())
		err = errors.Join(err, syscall.Setpriority(syscall.PRIO_PROCESS, tid, -10))
	}
	if err != nil {
		t.Logf("the callers have the priority of everybody: %v", err)
	}
}

// chaos kills workers and changes the configuration, for so long.
func (d *instance) chaos(m *mess, during time.Duration) (kills, reloads int) {
	d.t.Helper()
	admin := d.admin()
	end := time.After(during)
	reload := time.After(0)
	for {
		select {
		case <-end:
			return kills, reloads
		case <-d.done:
			d.t.Fatalf("mcpd ended: %v", d.cmd.ProcessState)
		case <-reload:
			d.configure(m.edit())
			if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				d.t.Fatal(err)
			}
			reloads++
			reload = time.After(time.Duration(1000+m.rng.IntN(3000)) * time.Millisecond)
		case <-time.After(time.Duration(200+m.rng.IntN(600)) * time.Millisecond):
			var st Status
			if err := admin.get(context.Background(), "/v1/status", &st); err != nil {
				d.t.Fatal(err)
			}
			if m.kill(st) {
				kills++
			}
		}
	}
}

// TestChaosKills: mcpd is killed under load, again and again; one second later none of its processes lives.
func TestChaosKills(t *testing.T) {
	chaosTime(t)
	m := newMess(fmt.Sprintf("kills-%d", os.Getpid()), 6, 1)
	d := startDaemon(t, m.config())
	servers := append(sortedKeys(hostile), m.healthy...)
	l := newLoad(t, d, []string{"ann", "ben", "eve"}, servers)
	l.excuse = func(string, failure) string { return "mcpd was killed, or the server is hostile" }
	l.think = 10 * time.Millisecond
	addr := strings.TrimPrefix(l.base, "http://")
	d.env = append(d.env, "MCPD_LISTEN__HTTP="+addr)
	n := int(chaosNumber("MCPD_CHAOS_KILLS", 5))
	most, left := 0, 0
	for i := range n {
		l.begin(16, servers)
		eventually(t, time.Minute, "most servers run", func() (bool, string) {
			pids := everywhere("-tag=" + m.tag)
			return len(pids) > 20, fmt.Sprintf("%d processes", len(pids))
		})
		most = max(most, len(everywhere("-tag="+m.tag)))
		if err := d.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		if pids := everywhere("-tag=" + m.tag); len(pids) > 0 {
			left++
			t.Errorf("kill %d: %d processes live one second later: %q", i, len(pids), commands(pids))
		}
		<-d.done
		l.end()
		d.quiet(m.tag, 0)
		d.start()
	}
	t.Logf("mcpd was killed %d times, with up to %d processes; after %d of them some lived a second later", n, most, left)
}

// commands are the command lines and states of processes, for a person.
func commands(pids []int) (all []string) {
	for _, pid := range pids {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		all = append(all, strings.ReplaceAll(string(line), "\x00", " ")+string(stat[:min(len(stat), 60)]))
	}
	return all
}

// TestChaosReloads: 200 SIGHUPs in 20 seconds, with a change each, while 64 callers call what does not change.
func TestChaosReloads(t *testing.T) {
	chaosTime(t)
	m := newMess(fmt.Sprintf("storm-%d", os.Getpid()), 4, 1)
	kept := m.config()
	d := startDaemon(t, kept)
	l := newLoad(t, d, []string{"ann", "ben"}, m.healthy)
	l.think = 50 * time.Millisecond
	l.begin(64, m.healthy)
	eventually(t, time.Minute, "all servers have workers", func() (bool, string) {
		for _, s := range d.status().Servers {
			if strings.HasPrefix(s.Name, "h") && s.Busy+s.Idle == 0 {
				return false, s.Name + " has none"
			}
		}
		return true, ""
	})
	before := workers(d, m.healthy)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := range 200 {
		<-tick.C
		d.configure(kept + fmt.Sprintf("[servers.other]\ncommand = \"peer\"\nargs = [\"-tag=%s\", \"-say=%d\"]\nworkers.min = 1\n", m.tag, i))
		if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	took := l.end()
	applied := strings.Count(d.log.String(), "configuration applied")
	t.Logf("%d reloads applied; %d calls, half within %v, 99 of 100 within %v", applied, len(took), took[len(took)/2], percentile99(took))
	l.check()
	if applied < 20 || len(took) == 0 {
		t.Error("that is too little to show anything")
	}
	now := workers(d, m.healthy) // more where one was not enough, and all of before
	for _, pid := range regexp.MustCompile(` [1-9]\d* for`).FindAllString(before, -1) {
		if !strings.Contains(now, pid) {
			t.Errorf("the workers of unchanged servers were\n%sand are\n%s", before, now)
		}
	}
}
