package systemd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// Uninstall stops and disables mcpd and removes the files that Install wrote. With purge, what systemd keeps for the
// machine's mcpd goes too: its state and its cache. It may be repeated.
func (i Installer) Uninstall(ctx context.Context, purge bool) error {
	changes, err := i.plan(nil)
	if err != nil {
		return err
	}
	var files []File
	for _, c := range changes {
		files = append(files, File{Name: c.name})
	}
	names := present(files)
	if len(names) > 0 {
		if err := i.order(ctx, append([]string{"disable", "--quiet", "--now"}, names...)...); err != nil {
			return err
		}
		i.Say("stop", strings.Join(names, ", ")+", and disable")
	}
	if purge && i.Service.System && len(names) > 0 {
		if err := i.order(ctx, "clean", "--what=state", "--what=cache", serviceUnit); err != nil {
			return err
		}
		i.Say("remove", "/var/lib/mcpd, /var/cache/mcpd")
	}
	if err := i.apply(changes); err != nil {
		return err
	}
	if len(changes) == 0 {
		i.Say("keep", i.Service.Dir+": mcpd has written nothing there")
		return nil
	}
	i.prune()
	if err := i.order(ctx, "daemon-reload"); err != nil {
		return err
	}
	_ = i.order(ctx, append([]string{"reset-failed"}, names...)...) // of a unit that had not failed it knows nothing any more
	return nil
}

// prune removes the directories that Install made, as far as they are empty, and says what others have left in ours.
func (i Installer) prune() {
	if i.DryRun {
		return
	}
	own := filepath.Dir(i.path(sandbox))
	if left, err := os.ReadDir(own); err == nil && len(left) > 0 {
		i.Say("keep", own+": mcpd has not written what is in it")
	}
	dirs := []string{own}
	if !i.Service.System { // up to the person's configuration directory
		dirs = append(dirs, i.path(""), i.path(".."), i.path("../.."))
	}
	for _, dir := range dirs {
		if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			return
		}
	}
}
