package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// environment is the process environment as a look-up, so that a test can give its own.
type environment []string

// Get returns the last value of name, or "".
func (e environment) Get(name string) string {
	for i := len(e) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(e[i], name+"="); ok {
			return v
		}
	}
	return ""
}

// stateDir says where keys, the database and the lock live: --state-dir, then what systemd gives
// (StateDirectory=), then the XDG base directory specification's $XDG_STATE_HOME.
func stateDir(flag string, env environment) (string, error) {
	switch {
	case flag != "":
		return filepath.Abs(flag)
	case env.Get("STATE_DIRECTORY") != "":
		first, _, _ := strings.Cut(env.Get("STATE_DIRECTORY"), ":")
		if real, err := filepath.EvalSymlinks(first); err == nil { // with DynamicUser= it is a link into /var/lib/private
			first = real
		}
		return first, nil
	case env.Get("XDG_STATE_HOME") != "":
		return filepath.Abs(filepath.Join(env.Get("XDG_STATE_HOME"), "mcpd"))
	case env.Get("HOME") != "":
		return filepath.Join(env.Get("HOME"), ".local", "state", "mcpd"), nil
	}
	return "", errors.New("cannot find a state directory: neither HOME nor XDG_STATE_HOME is set; give --state-dir DIR")
}

// maxSocketPath is what sun_path holds on the strictest system served here (104 bytes on darwin, with the final NUL).
const maxSocketPath = 103

// sockets lists where the admin socket of a state directory may be, the preferred place first: the
// runtime directory, else the state directory, else (its path being too long for a socket address) a
// private folder under the temporary directory. The name carries the state directory's digest, so that
// daemons side by side never meet.
func sockets(state string, env environment) []string {
	sum := sha256.Sum256([]byte(state))
	name := hex.EncodeToString(sum[:6]) + ".sock"
	var all []string
	if dir := env.Get("XDG_RUNTIME_DIR"); dir != "" {
		all = append(all, filepath.Join(dir, "mcpd", name))
	}
	all = append(all, filepath.Join(state, "admin.sock"),
		filepath.Join(os.TempDir(), fmt.Sprintf("mcpd-%d", os.Getuid()), name))
	var short []string
	for _, p := range all {
		if len(p) <= maxSocketPath {
			short = append(short, p)
		}
	}
	return short
}

// listenSocket opens the admin socket at the first place that takes it. The state directory is locked
// by now, so a socket that is found there belongs to a daemon that is gone.
func listenSocket(ctx context.Context, candidates []string) (net.Listener, string, error) {
	var errs []error
	for _, path := range candidates {
		if err := privateDir(filepath.Dir(path)); err != nil {
			errs = append(errs, err)
			continue
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
			continue
		}
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "unix", path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if err := os.Chmod(path, 0o600); err != nil {
			return nil, "", errors.Join(err, l.Close())
		}
		return l, path, nil
	}
	return nil, "", fmt.Errorf("cannot open the admin socket: %w", errors.Join(errs...))
}

// privateDir makes a directory that only this user can enter, and refuses one that another user owns or may write to.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot create %q: %w", dir, err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("cannot inspect %q: %w", dir, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("cannot use %q: it is not a directory", dir)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Getuid() {
		return fmt.Errorf("cannot use %q: it belongs to user id %d, not to this user", dir, st.Uid)
	}
	if info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a directory needs the x bit
			return fmt.Errorf("cannot make %q private: %w", dir, err)
		}
	}
	return nil
}

// stateLock is held for the daemon's life: two daemons on one state directory would fight over keys, tokens and children.
type stateLock struct{ f *os.File }

// lockState takes the lock, or says which process has it.
func lockState(dir string) (*stateLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the lock of the state directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		held, _ := io.ReadAll(io.LimitReader(f, 32))
		_ = f.Close()
		return nil, fmt.Errorf("cannot use the state directory %q: mcpd is running there already (pid %s); stop it, or give another --state-dir",
			dir, strings.TrimSpace(string(held)))
	}
	if err := f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(fmt.Sprintf("%d\n", os.Getpid())), 0)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("cannot write the lock of the state directory: %w", err), f.Close())
		}
	}
	return &stateLock{f}, nil
}

// Close gives the state directory free.
func (l *stateLock) Close() error { return l.f.Close() }

// loadKey reads the 32-byte key at path, and creates it on the first start: written aside, synced and
// renamed, so that a power cut leaves either no key or a whole one.
func loadKey(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	switch {
	case err == nil && len(key) == 32:
		return key, nil
	case err == nil:
		return nil, fmt.Errorf("cannot use the key file %q: it has %d bytes and not 32; restore it, or remove it to end every open session", path, len(key))
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("cannot read the key file: %w", err)
	}
	key = make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("cannot make a key: %w", err)
	}
	return key, writeDurably(path, key)
}

// writeDurably replaces path with data, mode 0600: temporary file, fsync, rename, fsync of the directory.
func writeDurably(path string, data []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return fmt.Errorf("cannot write %q: %w", path, err)
	}
	defer os.Remove(f.Name()) // gone after the rename; left over only after an error
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("cannot write %q: %w", path, err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("cannot sync %q: %w", dir, err)
	}
	return errors.Join(d.Sync(), d.Close())
}
