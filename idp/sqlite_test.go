package idp_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mcpd/mcpd/idp"
	"github.com/mcpd/mcpd/idp/storetest"
)

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) idp.Store {
		s, err := idp.OpenStore(filepath.Join(t.TempDir(), "strange name?#% .db"))
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// A copy that is made while others write is a store, and has what was there before.
func TestSnapshot(t *testing.T) {
	s, err := idp.OpenStore(filepath.Join(t.TempDir(), "mcpd.db"))
	if err != nil {
		t.Fatal(err)
	}
	add := func(name string) error {
		return s.Users().Create(t.Context(), idp.Account{User: idp.User{ID: "usr_" + name, Name: name}})
	}
	if err := add("alice"); err != nil {
		t.Fatal(err)
	}
	writing, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	writer.Go(func() { // ends with stop
		for n := 0; writing.Err() == nil; n++ {
			if err := add(fmt.Sprint("bob", n)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	copied := filepath.Join(t.TempDir(), "copy.db")
	err = s.Snapshot(t.Context(), copied)
	stop()
	writer.Wait()
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	if s, err = idp.OpenStore(copied); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Users().ByName(t.Context(), "alice"); err != nil {
		t.Error(err)
	}
	if err := s.Snapshot(t.Context(), filepath.Join(t.TempDir(), "no", "copy.db")); err == nil {
		t.Error("a copy in a folder that is not there")
	}
}

func TestStoreFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "mcpd.db")
	for range 2 { // it opens again, and is not made anew
		s, err := idp.OpenStore(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Users().List(t.Context()); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), "mcpd.db") {
				t.Errorf("stray file %s", e.Name())
			}
			if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: mode %v, %v", e.Name(), info.Mode(), err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := idp.OpenStore(filepath.Join(dir, "none", "mcpd.db")); err == nil {
		t.Error("a store in a folder that is not there opened")
	}
}
