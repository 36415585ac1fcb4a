package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func testMemory(t *testing.T) *memory {
	t.Helper()
	m, prints, err := newMemory(t.TempDir(), make([]byte, 32))
	if err != nil || bytes.Equal(prints, m.key) {
		t.Fatalf("newMemory: %v, or one key for two things", err)
	}
	return m
}

func TestMemoryKeepsAndForgets(t *testing.T) {
	m := testMemory(t)
	a := m.of("a", "print1")
	if _, ok := a.Load("server"); ok {
		t.Error("it knows what nobody stored")
	}
	for _, v := range []string{"one", "two"} {
		if err := a.Store("lists\x00usr_alice", []byte(v)); err != nil {
			t.Fatal(err)
		}
		if got, ok := m.of("a", "print1").Load("lists\x00usr_alice"); !ok || string(got) != v {
			t.Errorf("Load = %q, %v; want %q", got, ok, v)
		}
	}
	if _, ok := m.of("a", "print2").Load("lists\x00usr_alice"); ok {
		t.Error("another command was given the record")
	}
	if _, ok := m.of("b", "print1").Load("lists\x00usr_alice"); ok {
		t.Error("another server was given the record")
	}
	if err := a.Store("lists\x00usr_alice", nil); err != nil {
		t.Fatal(err)
	}
	if _, ok := a.Load("lists\x00usr_alice"); ok {
		t.Error("it was not forgotten")
	}
	if err := a.Store("large", make([]byte, maxRecord+1)); err != nil {
		t.Fatal(err)
	}
	if _, ok := a.Load("large"); ok {
		t.Error("a record above the bound was kept")
	}
}

// The names of records hold user ids; neither folder nor file shows one, and nobody else can read them.
func TestMemoryIsPrivate(t *testing.T) {
	m := testMemory(t)
	if err := m.of("a", "print").Store("lists\x00usr_alice", []byte("x")); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(m.dir + "/a/*")
	if len(files) != 1 || strings.Contains(files[0], "alice") {
		t.Fatalf("files: %q", files)
	}
	for path, want := range map[string]os.FileMode{files[0]: 0o600, m.dir: 0o700, m.dir + "/a": 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v", path, info.Mode().Perm(), err)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	m := testMemory(t)
	a := m.of("a", "print")
	for i := range 20 {
		if err := a.Store(fmt.Sprint(i), make([]byte, 4<<20)); err != nil {
			t.Fatal(err)
		}
	}
	files, _ := filepath.Glob(m.dir + "/a/*")
	if len(files) > maxKept/(4<<20) {
		t.Errorf("%d files of 4 MiB are kept", len(files))
	}
	if _, ok := a.Load("19"); !ok {
		t.Error("the newest made room")
	}
}

func TestMemoryOfServersThatAreGone(t *testing.T) {
	m := testMemory(t)
	for _, s := range []*serverMemory{m.of("a", "old"), m.of("a", "new"), m.of("b", "x")} {
		if err := s.Store("server", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.keep(map[string]string{"a": "new"}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		s    *serverMemory
		want bool
	}{{m.of("a", "old"), false}, {m.of("a", "new"), true}, {m.of("b", "x"), false}} {
		if _, ok := tt.s.Load("server"); ok != tt.want {
			t.Errorf("%s: kept %v, want %v", tt.s.print, ok, tt.want)
		}
	}
	if _, err := os.Stat(m.dir + "/b"); err == nil {
		t.Error("the folder of a removed server is left")
	}
}
