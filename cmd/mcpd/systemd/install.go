package systemd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Installer puts a Service where systemd finds it, and takes it away again. It changes no file that it has not written.
type Installer struct {
	Service Service
	Root    string // for an image or a package: files go below it, and systemd is not spoken to
	DryRun  bool   // say what would be done, and do nothing
	Force   bool   // change foreign and edited files too
	Run     Run
	Say     func(verb, what string) // one line of what was done
}

// change is what happens to one file.
type change struct {
	verb, name string
	text       []byte // nil: removed
}

// plan compares what is there with what is to be.
func (i Installer) plan(want []File) ([]change, error) {
	var changes []change
	var errs []error
	for _, name := range fileNames {
		at := slices.IndexFunc(want, func(f File) bool { return f.Name == name })
		have, err := os.ReadFile(i.path(name))
		there := err == nil
		ours, untouched := signed(have)
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, fmt.Errorf("cannot read a unit: %w", err))
		case at < 0 && !ours && !i.Force, at >= 0 && there && bytes.Equal(have, want[at].Text):
			// nothing to do: not ours, or as it is to be
		case there && !ours && !i.Force:
			errs = append(errs, fmt.Errorf("cannot replace %q: mcpd has not written it; --force replaces it", i.path(name)))
		case there && !untouched && !i.Force:
			errs = append(errs, fmt.Errorf("cannot replace %q: it was changed after mcpd wrote it; put changes of your own into a drop-in by `systemctl edit`, then --force replaces it", i.path(name)))
		case at < 0 && there:
			changes = append(changes, change{"remove", name, nil})
		case at >= 0 && there:
			changes = append(changes, change{"replace", name, want[at].Text})
		case at >= 0:
			changes = append(changes, change{"write", name, want[at].Text})
		}
	}
	return changes, errors.Join(errs...)
}

func (i Installer) path(name string) string { return filepath.Join(i.Root, i.Service.Dir, name) }

// Install writes the files, and unless there is a Root has systemd read and enable them. With start it starts mcpd, or,
// where it runs and something has changed, restarts it. It may be repeated.
func (i Installer) Install(ctx context.Context, start bool) error {
	want, err := i.Service.Files()
	if err != nil {
		return err
	}
	changes, err := i.plan(want)
	if err != nil {
		return err
	}
	if err := i.apply(changes); err != nil || i.Root != "" {
		return err
	}
	names := present(want)
	if len(changes) > 0 {
		if err := i.order(ctx, "daemon-reload"); err != nil {
			return err
		}
	} else {
		i.Say("keep", strings.Join(names, ", ")+": nothing has changed")
	}
	if err := i.order(ctx, append([]string{"enable", "--quiet"}, names...)...); err != nil {
		return err
	}
	i.Say("enable", strings.Join(names, ", "))
	if !start {
		return nil
	}
	return i.start(ctx, names, changes)
}

// present are the units among files.
func present(files []File) (names []string) {
	for _, name := range []string{socketUnit, serviceUnit} {
		if slices.ContainsFunc(files, func(f File) bool { return f.Name == name }) {
			names = append(names, name)
		}
	}
	return names
}

// start has mcpd run as it is written now. A socket with other ports cannot be exchanged while mcpd has it.
func (i Installer) start(ctx context.Context, names []string, changes []change) error {
	state := "inactive"
	if !i.DryRun {
		state, _ = i.systemctl(ctx, "is-active", serviceUnit) // its exit code only repeats the word
	}
	runs := state == "active" || state == "reloading"
	verb, args := "start", []string{"start", serviceUnit}
	switch {
	case runs && len(changes) == 0:
		i.Say("keep", serviceUnit+" running")
		return nil
	case slices.ContainsFunc(changes, func(c change) bool { return c.name == socketUnit }):
		if err := i.order(ctx, append([]string{"stop"}, names...)...); err != nil && runs {
			return err
		}
	case runs:
		verb, args = "restart", []string{"restart", serviceUnit}
	}
	if err := i.order(ctx, args...); err != nil {
		why, _ := i.manager(ctx, "journalctl", "--unit="+serviceUnit, "--lines=12", "--output=cat", "--no-pager") // where it may be read
		return fmt.Errorf("cannot start mcpd; it is installed, and this is the end of its log:\n%s\n%w", why, err)
	}
	status := ""
	if !i.DryRun {
		status, _ = i.systemctl(ctx, "show", "--property=StatusText", "--value", serviceUnit) // only for a person
	}
	i.Say(verb, strings.TrimSuffix(serviceUnit+": "+status, ": "))
	return nil
}

// apply changes the files.
func (i Installer) apply(changes []change) error {
	for _, c := range changes {
		if !i.DryRun {
			if err := i.applyOne(c); err != nil {
				return err
			}
		}
		i.Say(c.verb, i.path(c.name))
	}
	return nil
}

func (i Installer) applyOne(c change) error {
	at := i.path(c.name)
	if c.text == nil {
		if err := os.Remove(at); err != nil {
			return fmt.Errorf("cannot remove a unit: %w", err)
		}
		_ = os.Remove(filepath.Dir(at)) // stays unless it is empty
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return fmt.Errorf("cannot make a directory for units: %w", err)
	}
	// Written aside and renamed: systemd may look at any time.
	aside := filepath.Join(filepath.Dir(at), ".new-"+filepath.Base(at))
	err := os.WriteFile(aside, c.text, 0o644) //nolint:gosec // units hold no secret and are read by everybody
	if err == nil {
		err = os.Rename(aside, at)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("cannot write a unit: %w", err), os.RemoveAll(aside))
	}
	return nil
}

// order gives systemd an order, or does nothing in a dry run.
func (i Installer) order(ctx context.Context, args ...string) error {
	if i.DryRun {
		return nil
	}
	_, err := i.systemctl(ctx, args...)
	return err
}
