package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/mcpd/mcpd/bridge"
	"github.com/mcpd/mcpd/cmd/mcpd/systemd"
	"github.com/mcpd/mcpd/idp"
	"github.com/mcpd/mcpd/router"
	"github.com/mcpd/mcpd/router/certs"
	"github.com/mcpd/mcpd/supervisor"
	"github.com/mcpd/mcpd/supervisor/confine"
	"github.com/mcpd/mcpd/supervisor/pin"
)

// Calls in flight get drainTime to finish once mcpd is asked to stop, and everything is over after
// stopTime: service managers and people lose patience after ten seconds. A second signal waits for no call.
const (
	drainTime = 5 * time.Second
	stopTime  = 8 * time.Second
)

// daemon is everything `mcpd run` runs. Fields are set in start, in this order, and then only read;
// what a reload changes is behind world.
type daemon struct {
	cli        *cli
	logs       *logs
	log        *zap.Logger
	manager    systemd.Manager
	state      string
	configFile string
	started    time.Time
	flags      map[string]any

	lock       *stateLock
	sealer     bridge.Sealer
	memory     *memory
	prints     []byte        // keys supervisor.Spec.Fingerprint
	certs      *certs.Keeper // nil when tls.mode = "off"
	listener   *router.Listener
	issuer     *idp.Issuer // nil when auth.mode = "none"
	urls       urls
	apex       http.Handler // nil in local mode, where the issuer has the root
	router     *router.Router
	supervisor *supervisor.Supervisor[*bridge.Conn]
	pins       *pin.Store
	unpinned   sync.Map   // by server: why its package is not pinned
	updating   sync.Mutex // one update at a time
	socket     string
	metrics    *router.Listener // nil without [admin] metrics
	traces     *tracer          // nil without [admin] traces
	firstUser  *newcomer        // set on the first start only

	neighbours bridge.Neighbours
	world      atomic.Pointer[world]
	reloading  sync.Mutex         // one reload at a time
	beside     map[string]*tenant // guarded by reloading; what is to replace a server, once it is ready
	lastReload atomic.Pointer[ReloadStatus]

	closing    context.Context // done once the daemon stops: ends what would wait for ever
	draining   context.Context // done a little earlier: when calls are waited for no more
	letGo      context.CancelFunc
	background sync.WaitGroup // bridges of replaced servers that still drain
}

func (c *cli) runCommand() *cobra.Command {
	var listen, level string
	cmd := &cobra.Command{
		Use: "run", Short: "the daemon; SIGHUP reloads, SIGTERM drains and stops", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			flags := map[string]any{}
			if cmd.Flags().Changed("listen") {
				flags["listen.http"] = listen
			}
			if cmd.Flags().Changed("log-level") {
				flags["log.level"] = level
			}
			return c.serve(cmd.Context(), flags)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "HTTP `ADDRESS`, over [listen] http")
	cmd.Flags().StringVar(&level, "log-level", "", "`LEVEL` of the log, over [log] level: debug, info, warn, error")
	return cmd
}

// serve runs the daemon until a signal ends it.
func (c *cli) serve(ctx context.Context, flags map[string]any) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	closing, finish := context.WithCancel(context.WithoutCancel(ctx))
	defer finish()
	d := &daemon{cli: c, started: time.Now(), flags: flags, closing: closing}
	d.draining, d.letGo = context.WithCancel(closing)
	if err := d.start(ctx); err != nil {
		return errors.Join(err, d.stop(ctx, finish, nil))
	}
	failed := make(chan error, 3)
	d.background.Go(func() { failed <- d.listener.Serve(closing) }) // ends with listener.Shutdown
	admin, err := d.openAdmin(ctx)
	if err != nil {
		return errors.Join(err, d.stop(ctx, finish, nil))
	}
	d.background.Go(func() { failed <- admin.serve() }) // ends with admin.close
	if d.metrics != nil {
		d.background.Go(func() { failed <- d.metrics.Serve(closing) }) // ends with closing
	}
	d.banner(c.stdout)
	d.manager.Ready(d.summary())
	d.background.Go(func() { d.traces.run(closing) })                                        // ends with closing
	d.background.Go(func() { d.stayLean(closing) })                                          // ends with closing
	d.background.Go(func() { d.tuneHeap(closing) })                                          // ends with closing
	d.background.Go(func() { d.check(closing) })                                             // ends with closing
	d.background.Go(func() { d.manager.Watch(closing, func() { d.supervisor.Snapshot() }) }) // ends with closing
	for {
		select {
		case err := <-failed:
			return errors.Join(err, d.stop(ctx, finish, admin))
		case <-ctx.Done():
			return d.stop(ctx, finish, admin)
		case sig := <-signals:
			if sig == syscall.SIGHUP {
				if _, err := d.reload(ctx); err != nil {
					d.log.Error("reload refused, nothing changed", zap.String("problems", err.Error()))
				}
				continue
			}
			d.log.Info("stopping", zap.String("signal", sig.String()), zap.Duration("drain", drainTime))
			hurry, cancel := context.WithCancel(ctx)
			d.background.Go(func() { // ends with the next signal, or when the daemon has stopped
				select {
				case <-signals:
					cancel()
				case <-closing.Done():
				}
			})
			defer cancel()
			return d.stop(hurry, finish, admin)
		}
	}
}

// start builds the rooms in the order in which they need each other. What it opened before an error, stop closes.
func (d *daemon) start(ctx context.Context) error {
	file, cfg, err := d.cli.load(d.flags)
	if err != nil {
		return err
	}
	d.configFile = file
	if d.logs, err = openLogs(d.cli.stderr, cfg.Log); err != nil {
		return err
	}
	d.log = d.logs.main
	d.manager = systemd.Manager{Log: d.log}
	bridgeSlog(d.log)
	if d.state, err = stateDir(d.cli.stateFlag, d.cli.env); err != nil {
		return err
	}
	if err := privateDir(d.state); err != nil {
		return err
	}
	if d.lock, err = lockState(d.state); err != nil {
		return err
	}
	key, err := loadKey(d.state + "/session.key")
	if err != nil {
		return err
	}
	if d.sealer, err = bridge.NewSealer(key); err != nil {
		return err
	}
	if d.memory, d.prints, err = newMemory(d.state, key); err != nil {
		return err
	}
	if err := d.openCerts(ctx, cfg); err != nil {
		return err
	}
	sockets, err := systemd.Sockets()
	if err != nil {
		return err
	}
	if d.listener, err = router.Listen(router.ListenOptions{Config: cfg.listen(), TLS: d.certs.TLSConfig(), Logger: d.log.Named("http"), Passed: sockets}); err != nil {
		return portHint(err, len(sockets))
	}
	if d.metrics, err = d.openMetrics(cfg.Admin.Metrics); err != nil {
		return err
	}
	d.urls = newURLs(cfg, d.listener.Addr())
	if err := d.openIssuer(ctx, cfg); err != nil {
		return err
	}
	if err := d.openDoor(cfg); err != nil {
		return err
	}
	if d.supervisor, err = d.newSupervisor(cfg); err != nil {
		return err
	}
	p, err := d.planFor(cfg)
	if err != nil {
		return err
	}
	return d.apply(ctx, p)
}

// stop ends everything in the reverse order: no new requests, streams closed, calls to the deadline,
// children stopped in parallel, then the state. ctx cancelled early means: do not wait. That a call
// was cut by the deadline is no failure of mcpd, and is only logged.
func (d *daemon) stop(ctx context.Context, finish func(), admin *adminServer) error {
	whole, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	if d.logs != nil {
		d.manager.Stopping()
	}
	d.stopFront(whole)
	finish()
	var errs []error
	if d.supervisor != nil {
		d.late("workers", d.supervisor.Close(whole))
	}
	if admin != nil {
		errs = append(errs, admin.close())
	}
	d.stopMetrics(ctx)
	d.background.Wait()
	d.certs.Close()
	if d.issuer != nil {
		errs = append(errs, d.issuer.Close())
	}
	if d.lock != nil {
		errs = append(errs, d.lock.Close())
	}
	if d.logs != nil {
		d.logs.Close()
		d.log.Info("stopped")
	}
	return errors.Join(errs...)
}

// stopFront ends what clients see: nothing new is accepted, streams end, and calls have until drainTime.
func (d *daemon) stopFront(ctx context.Context) {
	calls, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	defer context.AfterFunc(calls, d.letGo)() // servers that were replaced have no longer
	if d.listener != nil {
		d.listener.StopAccepting(calls) // what came before this is answered, not refused
	}
	var front sync.WaitGroup
	if w := d.world.Load(); w != nil {
		front.Go(func() { d.late("calls", errors.Join(w.close(calls), d.dropBeside(calls))) }) // ends with calls
	}
	if d.listener != nil {
		front.Go(func() { d.late("requests", d.listener.Shutdown(ctx)) }) // ends with the last answer, or ctx
	}
	front.Wait()
	if d.router != nil {
		d.late("streams", d.router.Wait(ctx))
	}
}

// late notes that something had to be cut.
func (d *daemon) late(what string, err error) {
	if err != nil {
		d.log.Warn("did not wait any longer", zap.String("for", what), zap.Error(err))
	}
}

// newSupervisor gives the supervisor its guardian: this program again, as a small process that outlives a kill -9 of mcpd just long enough to end the children.
func (d *daemon) newSupervisor(cfg *Config) (*supervisor.Supervisor[*bridge.Conn], error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find this program's own file: %w", err)
	}
	if err := d.openPins(cfg); err != nil {
		return nil, err
	}
	return supervisor.New[*bridge.Conn](supervisor.Options{
		Logger: d.log.Named("supervisor"), Guardian: []string{self, guardianVerb}, Confine: []string{self, confineVerb}, Scratch: filepath.Join(d.state, "tmp"), Budget: cfg.Budget,
		Resolve:  d.resolve,
		LogFiles: supervisor.LogFiles{Dir: cfg.Log.Dir, Size: int64(cfg.Log.Size), Keep: cfg.Log.Keep},
	}), nil
}

// The hidden commands that are this program's own processes.
const (
	guardianVerb = "__guardian"
	confineVerb  = "__confine"
)

func (c *cli) guardianCommand() *cobra.Command {
	return &cobra.Command{
		Use: guardianVerb, Hidden: true, Args: exactly(0),
		RunE: func(*cobra.Command, []string) error {
			lean()
			return supervisor.RunGuardian(c.stdin)
		},
	}
}

func (c *cli) confineCommand() *cobra.Command {
	return &cobra.Command{
		Use: confineVerb, Hidden: true, DisableFlagParsing: true, // what follows is another program's
		RunE: func(_ *cobra.Command, args []string) error { return confine.Run(args) },
	}
}
