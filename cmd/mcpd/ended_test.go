package main

import (
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestEnded(t *testing.T) {
	state, now := t.TempDir(), time.Now().Truncate(time.Second)
	open := func(at time.Time) *ended {
		t.Helper()
		e, err := openEnded(state, "s", at)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := open(now)
	for i, life := range []time.Duration{time.Minute, time.Hour, time.Minute} {
		if err := e.Add([16]byte{byte(i)}, now.Add(life)); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Add([16]byte{1}, now.Add(time.Hour)); err != nil || e.n != 3 {
		t.Errorf("the same session twice: %d records, %v", e.n, err)
	}
	if got := len(maps.Collect(open(now).All())); got != 3 {
		t.Errorf("%d sessions after a restart, want 3", got)
	}
	path := filepath.Join(state, "ended", "s")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data[:len(data)-5], 0o600); err != nil { // killed in the middle of a write
		t.Fatal(err)
	}
	if got := len(maps.Collect(open(now).All())); got != 2 {
		t.Errorf("%d sessions from a torn file, want 2", got)
	}
	if got := maps.Collect(open(now.Add(2 * time.Minute)).All()); len(got) > 1 {
		t.Errorf("expired sessions are kept: %v", got)
	}
	open(now.Add(2 * time.Hour))
	if _, err := os.Stat(path); err == nil {
		t.Error("a file without records is left")
	}
}

func TestEndedIsBounded(t *testing.T) {
	now := time.Now()
	e, err := openEnded(t.TempDir(), "s", now)
	if err != nil {
		t.Fatal(err)
	}
	if err := privateDir(filepath.Dir(e.path)); err != nil {
		t.Fatal(err)
	}
	for i := range maxEnded - 1 {
		var id [16]byte
		binary.BigEndian.PutUint64(id[:], uint64(i))
		e.known[id] = now.Add(time.Hour)
	}
	e.n = maxEnded
	if err := e.Add([16]byte{15: 1}, now.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, ok := e.known[[16]byte{15: 1}]; !ok || len(e.known) > maxEnded/2 {
		t.Errorf("%d records; the one that lives longest is there: %v", len(e.known), ok)
	}
}
