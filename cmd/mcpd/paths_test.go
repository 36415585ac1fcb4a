package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestStateDir(t *testing.T) {
	for _, tt := range []struct {
		name, flag string
		env        environment
		want       string
	}{
		{"flag wins", "/a/b", environment{"STATE_DIRECTORY=/s", "XDG_STATE_HOME=/x", "HOME=/h"}, "/a/b"},
		{"systemd's", "", environment{"STATE_DIRECTORY=/s:/t", "XDG_STATE_HOME=/x", "HOME=/h"}, "/s"},
		{"XDG", "", environment{"XDG_STATE_HOME=/x", "HOME=/h"}, "/x/mcpd"},
		{"home", "", environment{"HOME=/h"}, "/h/.local/state/mcpd"},
		{"the last value counts", "", environment{"HOME=/old", "HOME=/h"}, "/h/.local/state/mcpd"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := stateDir(tt.flag, tt.env)
			if err != nil || got != tt.want {
				t.Errorf("stateDir = %q, %v; want %q", got, err, tt.want)
			}
		})
	}
	if _, err := stateDir("", nil); err == nil || !strings.Contains(err.Error(), "--state-dir") {
		t.Errorf("without any hint the error must say what to do, got %v", err)
	}
}

// A socket's path has room for some hundred bytes only; deep state directories must still work.
func TestSocketsOfADeepStateDirectory(t *testing.T) {
	deep := "/" + strings.Repeat("d/", 80)
	for _, p := range sockets(deep, nil) {
		if len(p) > maxSocketPath {
			t.Errorf("%q has %d bytes, more than a socket address holds", p, len(p))
		}
	}
	if len(sockets(deep, nil)) == 0 {
		t.Error("no place is left for the socket of a deep state directory")
	}
	if a, b := sockets("/a", nil), sockets("/b", nil); a[len(a)-1] == b[len(b)-1] {
		t.Errorf("two state directories share the socket %q", a[len(a)-1])
	}
}

func TestListenSocketIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	path := filepath.Join(dir, "admin.sock")
	for range 2 { // the second time over a socket that a killed daemon left behind
		l, got, err := listenSocket(t.Context(), []string{path})
		if err != nil || got != path {
			t.Fatalf("listenSocket = %q, %v", got, err)
		}
		l.(interface{ SetUnlinkOnClose(bool) }).SetUnlinkOnClose(false)
		for p, want := range map[string]os.FileMode{dir: 0o700, path: 0o600} {
			if info, err := os.Stat(p); err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: mode %v, %v; want %v", p, info.Mode().Perm(), err, want)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPrivateDirClosesAnOpenOne(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := privateDir(dir); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, want 0700", info.Mode().Perm())
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := privateDir(file); err == nil {
		t.Error("a file was taken for a directory")
	}
}

func TestLoadKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "session.key")
	first, err := loadKey(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := loadKey(path)
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("the key changed between two starts (%v)", err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode().Perm())
	}
	if err := os.WriteFile(path, first[:7], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadKey(path); err == nil || !strings.Contains(err.Error(), "7 bytes") {
		t.Errorf("a cut key must be refused with what to do, got %v", err)
	}
}

func TestLockStateNamesTheHolder(t *testing.T) {
	dir := t.TempDir()
	l, err := lockState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockState(dir); err == nil || !strings.Contains(err.Error(), "is running there already") {
		t.Errorf("a second daemon got the lock: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err = lockState(dir)
	if err != nil {
		t.Fatalf("the lock was not given free: %v", err)
	}
	_ = l.Close()
}

func TestSince(t *testing.T) {
	now := time.Date(2026, 7, 28, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		3 * time.Second: "3s", 4*time.Minute + 10*time.Second: "4m10s", 2*time.Hour + 5*time.Minute: "2h5m", 76 * time.Hour: "3d4h", -time.Second: "0s",
	} {
		if got := since(now, now.Add(-d)); got != want {
			t.Errorf("since(%v) = %q, want %q", d, got, want)
		}
	}
	if got := since(now, time.Time{}); got != "-" {
		t.Errorf("since(never) = %q", got)
	}
}

// With DynamicUser= the directory that systemd names is a link, and what is at its end is private enough.
func TestStateDirOfADynamicUser(t *testing.T) {
	t.Parallel()
	lib, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	real, link := filepath.Join(lib, "private", "mcpd"), filepath.Join(lib, "mcpd")
	if err := os.MkdirAll(real, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join("private", "mcpd"), link); err != nil {
		t.Fatal(err)
	}
	got, err := stateDir("", environment{"STATE_DIRECTORY=" + link})
	if err != nil || got != real {
		t.Errorf("%q, %v, want %q", got, err, real)
	}
	if err := privateDir(got); err != nil {
		t.Error(err)
	}
}
