package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// reserved stands for the issuer's paths.
func reserved() []string { return []string{"login", "authorize"} }

// unpack writes an archive's files into a folder and returns what Load is to be given. Relative
// places in the environment are meant below that folder.
func unpack(t testing.TB, a *txtar.Archive) (o LoadOptions, want string) {
	t.Helper()
	dir := t.TempDir()
	o.Reserved = reserved()
	for _, f := range a.Files {
		switch f.Name {
		case "want":
			want = string(f.Data)
			continue
		case "env":
			for line := range strings.Lines(string(f.Data)) {
				line = strings.TrimSuffix(line, "\n")
				if name, ok := strings.CutPrefix(line, "CREDENTIALS_DIRECTORY="); ok {
					line = "CREDENTIALS_DIRECTORY=" + filepath.Join(dir, name)
				}
				o.Environ = append(o.Environ, line)
			}
			continue
		case "servers.toml":
			o.Data, o.Path = f.Data, filepath.Join(dir, f.Name)
		}
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return o, want
}

func archives(t testing.TB, folder string) map[string]*txtar.Archive {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "toml", folder, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s: %v", folder, err)
	}
	all := map[string]*txtar.Archive{}
	for _, f := range files {
		if all[f], err = txtar.ParseFile(f); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestBadConfigs compares what Load says about each file of testdata/toml/bad with the "want" in it;
// go test ./cmd/mcpd -run TestBadConfigs -update writes what it says now.
func TestBadConfigs(t *testing.T) {
	t.Parallel()
	for path, a := range archives(t, "bad") {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			o, want := unpack(t, a)
			_, err := Load(o)
			var ps Problems
			if !errors.As(err, &ps) {
				t.Fatalf("Load says %v, not a list of problems", err)
			}
			got := strings.ReplaceAll(err.Error(), filepath.Dir(o.Path)+"/", "") + "\n"
			if *update {
				writeWant(t, path, a, got)
			} else if got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			if strings.Contains(got, "hunter") {
				t.Errorf("a secret is shown:\n%s", got)
			}
			for _, p := range ps {
				if p.Key == "" && !strings.HasPrefix(p.Msg, "not valid TOML") || p.Msg == "" {
					t.Errorf("%+v names no key", p)
				}
			}
		})
	}
}

func writeWant(t *testing.T, path string, a *txtar.Archive, want string) {
	t.Helper()
	b := &txtar.Archive{Comment: a.Comment}
	for _, f := range a.Files {
		if f.Name != "want" {
			b.Files = append(b.Files, f)
		}
	}
	b.Files = append(b.Files, txtar.File{Name: "want", Data: []byte(want)})
	if err := os.WriteFile(path, txtar.Format(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestGoodConfigs(t *testing.T) {
	t.Parallel()
	for path, a := range archives(t, "good") {
		o, _ := unpack(t, a)
		if _, err := Load(o); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestCommittedConfig loads the file that everybody starts with.
func TestCommittedConfig(t *testing.T) {
	t.Parallel()
	cfg, err := Load(LoadOptions{Path: "../../servers.toml", Reserved: reserved()})
	if err != nil {
		t.Fatal(err)
	}
	if !cfg.local() || len(cfg.Servers) == 0 {
		t.Errorf("%+v", cfg)
	}
}

// FuzzLoad looks for a panic, for a secret in an error, and for a file that loads although the
// decoder refuses it.
func FuzzLoad(f *testing.F) {
	for _, folder := range []string{"bad", "good"} {
		for _, a := range archives(f, folder) {
			for _, file := range a.Files {
				if file.Name == "servers.toml" {
					f.Add(string(file.Data))
				}
			}
		}
	}
	const secret = "Zq9-the-secret-Zq9"
	dir := f.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "s"), []byte(secret), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Add("[servers.a]\ncommand = \"${S}\"\nera = \"${S}\"\nworkers.idle = \"${file:s}\"\nisolation=\"${credential:s}\"\nallow=[\"${S} x\"]")
	environ := []string{"S=" + secret, "CREDENTIALS_DIRECTORY=" + dir, "MCPD_SERVERS__A__ENV__X=" + secret}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "..") || strings.Contains(text, "file:/") {
			return // stay in the folder
		}
		cfg, err := Load(LoadOptions{Path: filepath.Join(dir, "servers.toml"), Data: []byte(text + "\n"), Environ: environ})
		if (cfg == nil) == (err == nil) {
			t.Fatal("neither a configuration nor an error, or both")
		}
		if err != nil && strings.Contains(err.Error(), "the-secret") {
			t.Fatalf("%q shows a secret: %v", text, err)
		}
	})
}
