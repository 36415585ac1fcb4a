package supervisor

import (
	"context"
	"runtime"
	"time"

	"go.uber.org/zap"

	"github.com/mcpd/mcpd/supervisor/confine"
)

// Options are what a Supervisor is made with. The zero value works.
type Options struct {
	// Logger gets what happens to workers. Default: nothing is logged.
	Logger *zap.Logger

	// Guardian is the command line of a process that reads what RunGuardian reads, normally this
	// program with a hidden command. It ends the workers' process groups if this process is
	// killed. Default: none, and then only the children themselves end with this process (on
	// Linux), not what they started.
	Guardian []string

	// Confine is the command line of a process that calls confine.Run with the arguments after
	// it, normally this program with another hidden command. Default: none, and then there are no
	// sandboxes, and limits only where a cgroup is delegated.
	Confine []string

	// Resolve is asked before every start what is to be started for a Spec: itself, or another. It
	// may take its time, of which timeouts.start does not count. The error is why nothing can be
	// started. Default: the Spec itself.
	Resolve func(ctx context.Context, s Spec) (Spec, error)

	// Abreast is how many workers are in the first seconds of their start at a time, over all
	// servers; a start takes its place until the handshake is done, at most 5 s. One server has at most
	// half of them. Default: four for each processor.
	Abreast int

	// Scratch is a directory for the temporary directories of sandboxed workers. It is emptied
	// first. Default: that of the system, which is not.
	Scratch string

	// Backoff is the pause between starts that fail.
	Backoff Backoff

	// Drain is how long a worker that is replaced or removed may take to finish its calls.
	// Default: 30s.
	Drain time.Duration

	// BusyRetry is the hint in a *Busy. Default: 2s.
	BusyRetry time.Duration

	// Budget is what all servers may use together. Default: DefaultBudget.
	Budget BudgetConfig

	// LogLines and LogBytes bound what is kept of a server's standard error. Default: 1000
	// lines, 256 KiB.
	LogLines, LogBytes int

	// LogFiles is where standard error goes besides. Default: nowhere.
	LogFiles LogFiles

	system system         // what starts processes. Default: this machine
	chance func() float64 // in [0, 1), for jitter
	budget *budget        // what is left of Budget
	starts chan struct{}  // holds one for each start that counts for Abreast
	trials chan struct{}  // holds the one start on trial
}

// system starts processes and knows what became of them. The real one is *host.
type system interface {
	start(order) (child, error)
	measure() measurement
	report(confine.Want) confine.Report
	killAll()
	close()
}

// measurement is one look at the processes of the machine.
type measurement struct {
	orphans int
	groups  map[int]usage // by process group
}

// usage is what the processes of a group use.
type usage struct {
	memory int64         // bytes resident
	tasks  int           // processes and threads
	cpu    time.Duration // used so far, also by those that have ended and been waited for
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	o.Backoff = o.Backoff.withDefaults()
	if o.Drain <= 0 {
		o.Drain = 30 * time.Second
	}
	if o.BusyRetry <= 0 {
		o.BusyRetry = 2 * time.Second
	}
	if o.Budget == (BudgetConfig{}) {
		o.Budget = DefaultBudget()
	}
	if o.Resolve == nil {
		o.Resolve = func(_ context.Context, s Spec) (Spec, error) { return s, nil }
	}
	if o.Abreast <= 0 {
		o.Abreast = 4 * runtime.NumCPU()
	}
	o.starts, o.trials = make(chan struct{}, o.Abreast), make(chan struct{}, 1)
	if o.LogLines <= 0 {
		o.LogLines = 1000
	}
	if o.LogBytes <= 0 {
		o.LogBytes = 256 << 10
	}
	if o.chance == nil {
		o.chance = chance
	}
	o.budget = newBudget(o.Budget)
	return o
}
