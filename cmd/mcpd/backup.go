package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

func (c *cli) backupCommand() *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "write all that mcpd keeps to one file, while it runs", Args: exactly(1),
		Long: `Writes all that mcpd keeps to FILE, a tar archive, while all goes on: users, clients and hashes of tokens as they are at
one moment, the keys, and the certificates with theirs. "-" is standard output. The configuration is not in it, and a database of [state] dsn is not:
that has means of its own (pg_dump).

The file opens what mcpd guards, so keep it as safe as the state directory. To go back to it, stop mcpd and extract
it into an empty state directory:

  tar -xpf FILE -C DIR && mcpd run --state-dir DIR`,
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, err := c.admin()
			if err != nil {
				return err
			}
			resp, err := admin.open(cmd.Context(), http.MethodGet, "/v1/backup", nil)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if args[0] == "-" {
				if _, err := io.Copy(c.stdout, resp.Body); err != nil {
					return fmt.Errorf("cannot write the backup: %w", err)
				}
				return nil
			}
			n, err := keepWhole(args[0], resp.Body)
			if err != nil {
				return fmt.Errorf("cannot write the backup: %w", err)
			}
			fmt.Fprintf(c.stderr, "%s: %d bytes\n", args[0], n)
			return nil
		},
	}
}

// keepWhole writes a file for its owner's eyes only, that is there when it is whole and not before.
func keepWhole(path string, from io.Reader) (n int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	n, err = io.Copy(f, from)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	return n, os.Rename(f.Name(), path)
}

// adminBackup sends the archive. What fails when it has begun breaks the connection: the archive must not seem whole.
func (d *daemon) adminBackup(w http.ResponseWriter, r *http.Request) (any, error) {
	dir, err := os.MkdirTemp(d.state, "backup-") // beside the database, where there is room for it and nobody else looks
	if err != nil {
		return nil, fmt.Errorf("cannot make room for the backup: %w", err)
	}
	defer os.RemoveAll(dir)
	snapshot := filepath.Join(dir, "mcpd.db")
	if d.issuer != nil && d.world.Load().cfg.State.DSN == "" {
		if err := d.issuer.Snapshot(r.Context(), snapshot); err != nil {
			return nil, err
		}
	}
	w.Header().Set("Content-Type", "application/x-tar")
	if err := d.archive(r.Context(), tar.NewWriter(w), snapshot); err != nil {
		d.log.Warn("backup failed", zap.Error(err))
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.Close() // that was the point
		}
		return nil, nil
	}
	d.log.Info("backup written")
	return nil, nil
}

// archive writes what of the state directory cannot be made again.
func (d *daemon) archive(ctx context.Context, t *tar.Writer, snapshot string) error {
	if err := addFile(t, snapshot, "mcpd.db"); err != nil {
		return err
	}
	for _, part := range []string{"session.key", certsDir, "ended"} {
		err := filepath.WalkDir(filepath.Join(d.state, part), func(path string, e fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return missingIsFine(err)
			case ctx.Err() != nil:
				return ctx.Err()
			case !e.Type().IsRegular():
				return nil
			}
			name, err := filepath.Rel(d.state, path)
			if err != nil {
				return err
			}
			return addFile(t, path, filepath.ToSlash(name))
		})
		if err != nil {
			return err
		}
	}
	return t.Close()
}

// missingIsFine lets a file go that was removed meanwhile, or is not there on this machine.
func missingIsFine(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// addFile adds a file that may grow while it is read: what it had at first goes in.
func addFile(t *tar.Writer, path, name string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return missingIsFine(err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: int64(info.Mode().Perm()), ModTime: info.ModTime()}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.CopyN(t, f, info.Size())
	return err
}
