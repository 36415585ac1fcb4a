package main

import (
	"cmp"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// memory keeps what servers said of themselves between two lives of the daemon: one folder per server,
// in it files named by the fingerprint of what the server runs and a keyed digest of what the bridge
// calls the record, for that holds user ids. A lost or damaged file costs one slow first answer.
type memory struct {
	dir string
	key []byte
	mu  sync.Mutex // one writer at a time: bounds are counted over the folder
}

// Bounds of one record, and of all of one server. The oldest make room.
const (
	maxRecord  = 8 << 20
	maxRecords = 512
	maxKept    = 64 << 20
)

// newMemory derives its keys from the one key of the state directory (RFC 5869).
func newMemory(state string, key []byte) (*memory, []byte, error) {
	names, err := hkdf.Key(sha256.New, key, nil, "mcpd names of records", 32)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot derive a key: %w", err)
	}
	prints, err := hkdf.Key(sha256.New, key, nil, "mcpd fingerprints", 32)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot derive a key: %w", err)
	}
	return &memory{dir: filepath.Join(state, "known"), key: names}, prints, nil
}

// of is the part of the memory that one server has, as it is configured now. It implements bridge.Memory.
func (m *memory) of(server, fingerprint string) *serverMemory {
	return &serverMemory{m, filepath.Join(m.dir, server), fingerprint}
}

// keep removes what belongs to servers that are gone or run something else by now. prints has the
// fingerprint of each server that is left.
func (m *memory) keep(prints map[string]string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dirs, err := os.ReadDir(m.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot list what is known of servers: %w", err)
	}
	var errs []error
	for _, d := range dirs {
		dir := filepath.Join(m.dir, d.Name())
		print, ok := prints[d.Name()]
		if !ok {
			errs = append(errs, os.RemoveAll(dir))
			continue
		}
		files, err := os.ReadDir(dir)
		errs = append(errs, err)
		for _, f := range files {
			if !strings.HasPrefix(f.Name(), print+".") {
				errs = append(errs, os.Remove(filepath.Join(dir, f.Name())))
			}
		}
	}
	return errors.Join(errs...)
}

// serverMemory is one server's records.
type serverMemory struct {
	m     *memory
	dir   string
	print string
}

func (s *serverMemory) path(name string) string {
	d := hmac.New(sha256.New, s.m.key)
	d.Write([]byte(name))
	return filepath.Join(s.dir, s.print+"."+hex.EncodeToString(d.Sum(nil)[:16]))
}

// Load implements bridge.Memory.
func (s *serverMemory) Load(name string) ([]byte, bool) {
	f, err := os.Open(s.path(name))
	if err != nil {
		return nil, false
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	return data, err == nil && len(data) <= maxRecord
}

// Store implements bridge.Memory.
func (s *serverMemory) Store(name string, data []byte) error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	path := s.path(name)
	if data == nil || len(data) > maxRecord {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot forget a record: %w", err)
		}
		return nil
	}
	if err := privateDir(s.m.dir); err != nil {
		return err
	}
	if err := privateDir(s.dir); err != nil {
		return err
	}
	if err := s.makeRoom(filepath.Base(path), int64(len(data))); err != nil {
		return err
	}
	return writeDurably(path, data)
}

// makeRoom removes the oldest records until one more of this size fits.
func (s *serverMemory) makeRoom(but string, size int64) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("cannot list what is known of a server: %w", err)
	}
	var files []fs.FileInfo
	n, sum := 1, size
	for _, e := range entries {
		if info, err := e.Info(); err == nil && e.Name() != but {
			files, n, sum = append(files, info), n+1, sum+info.Size()
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return cmp.Compare(a.ModTime().UnixNano(), b.ModTime().UnixNano()) })
	for _, f := range files {
		if n <= maxRecords && sum <= maxKept {
			break
		}
		if err := os.Remove(filepath.Join(s.dir, f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot make room for a record: %w", err)
		}
		n, sum = n-1, sum-f.Size()
	}
	return nil
}
