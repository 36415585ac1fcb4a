package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/mcpd/mcpd/supervisor/pin"
)

// updateStep is one line of the answer to an update: what is being done, or in the end what came of it.
type updateStep struct {
	Server string   `json:"server"`
	Doing  string   `json:"doing,omitempty"`
	Result string   `json:"result,omitempty"`
	Error  string   `json:"error,omitempty"`
	Diff   []string `json:"diff,omitempty"` // of the catalogues
}

// trialTime is what a version may take to start and to list what it has.
const trialTime = 2 * time.Minute

// adminPackage updates or rolls back a server's package.
func (d *daemon) adminPackage(w http.ResponseWriter, r *http.Request) (any, error) {
	switch r.PathValue("do") {
	case "update":
		return d.steps(w, r, func(ctx context.Context, t *tenant, tell func(updateStep)) error {
			return d.update(ctx, t, r.URL.Query().Get("force") != "", tell)
		})
	case "rollback":
		return d.steps(w, r, d.rollback)
	}
	return nil, &adminError{http.StatusNotFound, "no such action"}
}

// steps does something with a server's package and tells of it line by line.
func (d *daemon) steps(w http.ResponseWriter, r *http.Request, do func(context.Context, *tenant, func(updateStep)) error) (any, error) {
	name := r.PathValue("server")
	t := d.world.Load().tenant(name)
	if t == nil {
		return nil, d.noServer(name)
	}
	if !d.updating.TryLock() {
		return nil, &adminError{http.StatusConflict, "another update is under way"}
	}
	defer d.updating.Unlock()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(d.closing, cancel)()
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc, flush := json.NewEncoder(w), http.NewResponseController(w)
	tell := func(s updateStep) {
		s.Server = name
		if errors.Join(enc.Encode(s), flush.Flush()) != nil {
			cancel() // nobody waits for the end of it
		}
	}
	if err := do(ctx, t, tell); err != nil {
		tell(updateStep{Error: err.Error()})
	}
	return nil, nil
}

// update tries the newest version of a server's package beside the present one and makes it the server's if it starts and has
// all that the present one has. force: whatever it has.
func (d *daemon) update(ctx context.Context, t *tenant, force bool, tell func(updateStep)) error {
	w, ok, err := wish(t.spec)
	switch {
	case err != nil:
		return err
	case !ok:
		return errNotPinned
	}
	tell(updateStep{Doing: "looking for the newest " + w.Request.String()})
	p, fresh, err := d.pins.Newest(ctx, w)
	if err != nil {
		return err
	}
	entry, _ := d.pins.Of(t.name)
	if !fresh {
		tell(updateStep{Result: p.Version + " is the newest"})
		return nil
	}
	old := "what ran before"
	if entry.Request == w.Request.String() {
		old = entry.Now.Version
	}
	diff, err := d.compare(ctx, t, w, entry, p, tell)
	if err != nil {
		return fmt.Errorf("%s stays: %w", old, err)
	}
	if lost := diff.lost(); lost != "" && !force {
		tell(updateStep{Diff: diff.lines()})
		return fmt.Errorf("%s stays: %s does not have %s any more; --force takes it all the same", old, p.Version, lost)
	}
	tell(updateStep{Doing: "changing over to " + p.Version, Diff: diff.lines()})
	if err := d.pins.Accept(w, p); err != nil {
		return err
	}
	if err := d.changeOver(ctx, t); err != nil {
		return errors.Join(fmt.Errorf("%s stays: %w", old, err), d.goBack(ctx, t))
	}
	d.log.Info("package updated", serverField(t.name), zap.String("from", old), zap.String("to", p.Version))
	tell(updateStep{Result: fmt.Sprintf("%s, before %s", p.Version, old)})
	return nil
}

// compare starts the pinned version and p, one after the other and beside the workers, and compares what they have.
func (d *daemon) compare(ctx context.Context, t *tenant, w pin.Wish, entry pin.Entry, p pin.Pin, tell func(updateStep)) (catalogueDiff, error) {
	if t.spec.Exclusive { // it cannot run beside itself: to change over is the trial
		return catalogueDiff{}, nil
	}
	var was, is catalogue
	if entry.Request == w.Request.String() {
		tell(updateStep{Doing: "asking " + entry.Now.Version + " what it has"})
		var err error
		if was, err = d.survey(ctx, t, w, entry.Now); err != nil { // then there is nothing to lose
			d.log.Warn("the present version does not answer", serverField(t.name), zap.Error(err))
		}
	}
	tell(updateStep{Doing: "asking " + p.Version + " what it has"})
	is, err := d.survey(ctx, t, w, p)
	if err != nil {
		return catalogueDiff{}, fmt.Errorf("%s does not work: %w", p.Version, err)
	}
	return was.diff(is), nil
}

// changeOver replaces the workers, if any run, by such of the version that is pinned now.
func (d *daemon) changeOver(ctx context.Context, t *tenant) error {
	ctx, cancel := context.WithTimeout(ctx, t.spec.Timeouts.Start+trialTime)
	defer cancel()
	return d.supervisor.Restart(ctx, t.name)
}

// goBack undoes an update whose workers do not start.
func (d *daemon) goBack(ctx context.Context, t *tenant) error {
	if _, err := d.pins.Back(t.name); err != nil {
		return err
	}
	return d.changeOver(context.WithoutCancel(ctx), t)
}

// rollback makes the version before the server's, and the present one that which a second time goes back to.
func (d *daemon) rollback(ctx context.Context, t *tenant, tell func(updateStep)) error {
	if _, ok, err := wish(t.spec); err != nil {
		return err
	} else if !ok {
		return errNotPinned
	}
	p, err := d.pins.Back(t.name)
	if err != nil {
		return err
	}
	tell(updateStep{Doing: "changing over to " + p.Version})
	if err := d.changeOver(ctx, t); err != nil {
		return errors.Join(fmt.Errorf("cannot go back to %s: %w", p.Version, err), d.goBack(ctx, t))
	}
	d.log.Info("package rolled back", serverField(t.name), zap.String("to", p.Version))
	entry, _ := d.pins.Of(t.name)
	tell(updateStep{Result: fmt.Sprintf("%s, before %s", p.Version, entry.Before.Version)})
	return nil
}

var errNotPinned = errors.New("nothing is pinned: its command is not npx or uvx, or pin = false")

func (c *cli) updateCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "update [SERVER]", Short: "try the newest version of a server's package, and keep it if nothing is missing", Args: between(0, 1),
		Long: `Install the newest version that servers.toml allows beside the present one, start it, compare what the two list, and change over
while the old workers finish their calls. A version that does not start, or lacks something that the present one has, is not
taken. Without SERVER: every server that npx or uvx runs. 'mcpd rollback' goes back.`,
		ValidArgsFunction: c.completeServers,
		RunE: func(cmd *cobra.Command, args []string) error {
			query := ""
			if force {
				query = "?force=1"
			}
			return c.eachPackage(cmd.Context(), args, "update"+query)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "take a version that lacks something, too")
	return cmd
}

func (c *cli) rollbackCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rollback [SERVER]", Short: "go back to the version of a server's package before the last update", Args: between(0, 1),
		ValidArgsFunction: c.completeServers,
		RunE:              func(cmd *cobra.Command, args []string) error { return c.eachPackage(cmd.Context(), args, "rollback") },
	}
}

// eachPackage does something with the server that is named, or with all that have a package that it can be done with.
func (c *cli) eachPackage(ctx context.Context, names []string, do string) error {
	admin, err := c.admin()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		var st Status
		if err := admin.get(ctx, "/v1/status", &st); err != nil {
			return err
		}
		for _, s := range st.Servers {
			if s.Package != nil && (do != "rollback" || s.Package.Before != "") {
				names = append(names, s.Name)
			}
		}
		if len(names) == 0 {
			_, err := fmt.Fprintln(c.stdout, "nothing to do")
			return err
		}
	}
	var failed error
	for _, name := range names {
		resp, err := admin.open(ctx, http.MethodPost, "/v1/package/"+url.PathEscape(name)+"/"+do, nil)
		if err != nil {
			return err
		}
		err = c.follow(resp.Body)
		drainBody(resp.Body)
		failed = errors.Join(failed, err)
	}
	if failed != nil {
		return silentError{}
	}
	return nil
}

// follow prints the steps as they come: on a terminal what is being done and for how long, elsewhere only what came of it.
func (c *cli) follow(body io.Reader) error {
	line := progress{out: c.stderr, on: isTerminal(c.stderr)}
	defer line.end()
	dec := json.NewDecoder(body)
	for {
		var s updateStep
		switch err := dec.Decode(&s); {
		case errors.Is(err, io.EOF):
			return errors.New("cannot read the end of the answer")
		case err != nil:
			return fmt.Errorf("cannot read the answer: %w", err)
		}
		line.show(s.Server, s.Doing)
		for _, d := range s.Diff {
			fmt.Fprintf(c.stdout, "%s: %s\n", s.Server, d)
		}
		switch {
		case s.Error != "":
			fmt.Fprintf(c.stderr, "%s: %s\n", s.Server, s.Error)
			return silentError{}
		case s.Result != "":
			_, err := fmt.Fprintf(c.stdout, "%s: %s\n", s.Server, s.Result)
			return err
		}
	}
}
