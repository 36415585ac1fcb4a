package idp_test

import (
	"os"
	"path/filepath"
	"strings"
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
