package pin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// registry stands for npm and what it reaches: it installs the packages that it has, as npm lays them out.
type registry struct {
	t       *testing.T
	mu      sync.Mutex
	newest  map[string]string // package → version; what is not in it does not exist
	digests string            // what a package's content is said to be
	offline bool              // only what was asked for before is there
	cached  map[string]bool
	ran     []Command
	hold    chan struct{} // nil, or what every installation waits for
}

func (r *registry) run(ctx context.Context, c Command) ([]byte, error) {
	r.mu.Lock()
	r.ran = append(r.ran, c)
	hold := r.hold
	r.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.Argv[1] == "view" {
		name, _, _ := cutVersion(c.Argv[len(c.Argv)-2])
		if r.offline {
			return []byte(`{"error":{"code":"ENOTFOUND","summary":"request to http://registry failed\nmore"}}`), errors.New("exited with code 1")
		}
		return json.Marshal([]string{"0.1.0", r.newest[name]})
	}
	name, version, _ := cutVersion(c.Argv[len(c.Argv)-1])
	if version == "" || version == "latest" {
		version = r.newest[name]
	}
	spec := name + "@" + version
	if r.newest[name] == "" || r.offline && !r.cached[spec] {
		return nil, errors.New("exited with code 1: npm is not there")
	}
	r.cached[spec] = true
	dir := filepath.Join("node_modules", filepath.FromSlash(name))
	write(r.t, c.Dir, filepath.Join(dir, "cli.js"), "#!/usr/bin/env node\n")
	write(r.t, c.Dir, filepath.Join(dir, "package.json"), fmt.Sprintf(`{"name":%q,"version":%q,"bin":"cli.js"}`, name, version))
	write(r.t, c.Dir, "package-lock.json", fmt.Sprintf(`{"packages":{"":{},"node_modules/%s":{"integrity":%q,"hasInstallScript":true},"node_modules/%[1]s/node_modules/deep":{"hasInstallScript":true}}}`,
		name, spec+r.digests))
	return nil, nil
}

func (r *registry) runs() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ran)
}

func (r *registry) set(name, version string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.newest[name] = version
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o700)); err != nil {
		t.Fatal(err)
	}
	return path
}

// fixture is a store with a registry that has one package.
type fixture struct {
	*Store
	*registry
	dir string
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{registry: &registry{t: t, newest: map[string]string{"@a/server": "1.0.0"}, cached: map[string]bool{}}, dir: t.TempDir()}
	f.open("one", "two")
	return f
}

// open is a start of mcpd with these servers.
func (f *fixture) open(names ...string) {
	f.t.Helper()
	s, err := Open(Options{
		Dir: filepath.Join(f.dir, "packages"), File: filepath.Join(f.dir, "pins.json"), Run: f.run,
		Write: func(path string, data []byte) error { return os.WriteFile(path, data, 0o600) },
	}, names)
	if err != nil {
		f.t.Fatal(err)
	}
	f.Store = s
}

func (f *fixture) wish(server string) Wish {
	return Wish{Server: server, Request: Request{Package: "@a/server", Args: []string{"--x"}}, Dir: f.dir}
}

// at resolves and returns the version that comes out.
func (f *fixture) at(w Wish) string {
	f.t.Helper()
	p, err := f.Resolve(f.t.Context(), w)
	if err != nil {
		f.t.Fatal(err)
	}
	want := filepath.Join(f.dir, "packages", p.Pin.Dir, "node_modules/@a/server/cli.js")
	if p.Command != "node" || !slices.Equal(p.Args, []string{want, "--x"}) {
		f.t.Errorf("%s %q, want node %s --x", p.Command, p.Args, want)
	}
	return p.Pin.Version
}

func TestPinnedUntilUpdate(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if v := f.at(f.wish("one")); v != "1.0.0" {
		t.Fatalf("first %s", v)
	}
	f.set("@a/server", "2.0.0")
	f.open("one", "two") // another life of mcpd
	if v := f.at(f.wish("one")); v != "1.0.0" {
		t.Errorf("a new version came by itself: %s", v)
	}
	if v := f.at(f.wish("two")); v != "1.0.0" || f.runs() != 1 {
		t.Errorf("another server with the same package has %s after %d installations", v, f.runs())
	}

	p, fresh, err := f.Newest(t.Context(), f.wish("one"))
	if err != nil || !fresh || p.Version != "2.0.0" {
		t.Fatalf("newest is %v, %v, %v", p, fresh, err)
	}
	if v := f.at(f.wish("one")); v != "1.0.0" {
		t.Errorf("what was only looked at is used: %s", v)
	}
	if err := f.Accept(f.wish("one"), p); err != nil {
		t.Fatal(err)
	}
	if v, other := f.at(f.wish("one")), f.at(f.wish("two")); v != "2.0.0" || other != "1.0.0" {
		t.Errorf("accepted: %s, and the other server has %s", v, other)
	}
	if _, fresh, err := f.Newest(t.Context(), f.wish("one")); fresh || err != nil {
		t.Errorf("the newest is fresh again: %v, %v", fresh, err)
	}
	f.open("one", "two") // both versions are still wanted
	for _, want := range []string{"1.0.0", "2.0.0"} {
		if p, err := f.Back("one"); err != nil || p.Version != want {
			t.Errorf("back to %v, %v, want %s", p, err, want)
		}
		if v := f.at(f.wish("one")); v != want {
			t.Errorf("%s runs, want %s", v, want)
		}
	}
	if _, err := f.Back("two"); err == nil || !strings.Contains(err.Error(), "the only version") {
		t.Errorf("back to nothing: %v", err)
	}
	f.open("two")
	left, err := filepath.Glob(filepath.Join(f.dir, "packages", "*"))
	if err != nil || len(left) != 1 || filepath.Base(left[0]) != "@a+server@1.0.0" {
		t.Errorf("what nobody uses is still there: %q, %v", left, err)
	}
}

// Packages that were deleted come back in the same version, but only if they are the same.
func TestWhatChangedIsNotStarted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.at(f.wish("one"))
	f.set("@a/server", "2.0.0")
	lose := func() {
		if err := os.RemoveAll(filepath.Join(f.dir, "packages")); err != nil {
			t.Fatal(err)
		}
	}
	lose()
	if v := f.at(f.wish("one")); v != "1.0.0" {
		t.Errorf("came back as %s", v)
	}
	lose()
	f.digests = " of somebody else"
	for range 2 { // the second time from memory, or the package would be there now
		if _, err := f.Resolve(t.Context(), f.wish("one")); !errors.Is(err, ErrChanged) {
			t.Errorf("another package under the same version: %v", err)
		}
	}
	f.open("one")
	if _, err := f.Resolve(t.Context(), f.wish("one")); !errors.Is(err, ErrChanged) {
		t.Errorf("after a restart: %v", err)
	}
}

// A name means one thing in one registry and another in the next: no server gets what another's registry has given.
func TestEachRegistryHasItsOwn(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.open("one", "two", "three", "four")
	from := func(server string, environ ...string) Wish {
		w := f.wish(server)
		w.Environ = environ
		return w
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Skip(err)
	}
	f.at(from("one", "HOME="+home))
	f.set("@a/server", "2.0.0")
	f.registry.digests = "-other"
	private := from("two", "npm_config_registry=https://ann:secret@private.example/", "UV_INDEX=x")
	if v := f.at(private); v != "2.0.0" || f.runs() != 2 {
		t.Errorf("from another registry comes %s, after %d installations", v, f.runs())
	}
	if v := f.at(from("three", "npm_config_registry=https://ben:secret@private.example/")); v != "2.0.0" || f.runs() != 2 {
		t.Errorf("from the same registry by another account comes %s, after %d installations", v, f.runs())
	}
	f.set("@a/server", "1.0.0") // the same version as the first has, and something else
	if v := f.at(from("four", "HOME=/elsewhere")); v != "1.0.0" || f.runs() != 3 {
		t.Errorf("with another configuration comes %s, after %d installations", v, f.runs())
	}
	one, _ := f.Of("one")
	four, _ := f.Of("four")
	if one.Now.Dir == four.Now.Dir || one.Now.Source != "" || four.Now.Source == "" {
		t.Errorf("installed are %+v and %+v", one.Now, four.Now)
	}
	if v := f.at(f.wish("two")); v != "1.0.0" {
		t.Errorf("a server that has the usual registry again gets %s", v)
	}
	if p, err := f.Back("two"); err == nil {
		t.Errorf("it can go back to %+v, which is of another registry", p)
	}
	data, err := os.ReadFile(filepath.Join(f.dir, "pins.json"))
	if err != nil || strings.Contains(string(data), "secret") || strings.Contains(string(data), "private.example") {
		t.Errorf("%s, %v", data, err)
	}
}

func TestInstallScripts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.at(f.wish("one"))
	if e, _ := f.Of("one"); !slices.Equal(e.Now.Silent, []string{"@a/server", "deep"}) || !slices.Contains(f.ran[0].Argv, "--ignore-scripts=true") {
		t.Errorf("left out: %q by %q", e.Now.Silent, f.ran[0].Argv)
	}
	f.set("@a/server", "2.0.0")
	w := f.wish("one")
	w.Scripts = true
	if v := f.at(w); v != "1.0.0" || !slices.Contains(f.ran[1].Argv, "--ignore-scripts=false") {
		t.Errorf("with scripts it is %s, by %q", v, f.ran[1].Argv)
	}
	if e, _ := f.Of("one"); len(e.Now.Silent) > 0 || e.Before != nil {
		t.Errorf("with scripts: %+v", e)
	}
}

func TestWithoutANetwork(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.offline = true
	for range 3 {
		if _, err := f.Resolve(t.Context(), f.wish("one")); err == nil || !strings.Contains(err.Error(), "cannot install @a/server: exited with code 1: npm is not there") {
			t.Fatalf("%v", err)
		}
	}
	if f.runs() != 1 {
		t.Errorf("npm ran %d times; one that failed is not tried again so soon", f.runs())
	}
	f.open("one") // a new life tries again
	f.cached["@a/server@1.0.0"] = true
	if v := f.at(f.wish("one")); v != "1.0.0" {
		t.Errorf("from npm's own cache: %s", v)
	}
	if _, _, err := f.Newest(t.Context(), f.wish("one")); err == nil || err.Error() != "cannot ask for the newest @a/server: npm says ENOTFOUND: request to http://registry failed" {
		t.Errorf("the newest without a registry: %v", err)
	}
	n := f.runs()
	if f.at(f.wish("one")); f.runs() != n {
		t.Error("a package that is there was looked for")
	}
}

// Many workers of many servers want the same package at once: it is installed once.
func TestInstalledOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.hold = make(chan struct{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := f.Resolve(t.Context(), f.wish([]string{"one", "two"}[i%2])); err != nil {
				t.Error(err)
			}
		})
	}
	given, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("not wanted any more"))
	if _, err := f.Resolve(given, f.wish("one")); err == nil {
		t.Error("somebody who left got it")
	}
	close(f.hold)
	wg.Wait()
	if f.runs() > 2 { // the one that left may have begun and been cut off
		t.Errorf("%d installations", f.runs())
	}
	if _, doing := f.Of("one"); doing.What != "" {
		t.Errorf("still %s", doing.What)
	}
}

func TestLocalPackageGoesFirst(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	project := filepath.Join(f.dir, "project")
	file := write(t, project, "node_modules/@a/server/dist/main.js", "#!/usr/bin/env node\n")
	write(t, project, "node_modules/@a/server/package.json", `{"name":"@a/server","version":"0.9.0","bin":{"run":"dist/main.js"}}`)
	w := f.wish("one")
	w.Dir = write(t, project, "deep/down/x", "")
	w.Dir = filepath.Dir(w.Dir)
	p, err := f.Resolve(t.Context(), w)
	if err != nil || p.Command != "node" || p.Args[0] != file || f.runs() != 0 {
		t.Errorf("%s %q, %v", p.Command, p.Args, err)
	}
	if w.Request.Version = "^1"; true {
		if _, err := f.Resolve(t.Context(), w); err == nil || !strings.Contains(err.Error(), "0.9.0 is in the node_modules") {
			t.Errorf("a range that the local one may or may not match: %v", err)
		}
	}
	if _, _, err := f.Newest(t.Context(), w); err == nil {
		t.Error("what belongs to the project was updated")
	}
}

// A lock file that cannot be read is said to be so; nothing is pinned anew behind one's back.
func TestDamagedLockFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "pins.json", "{")
	if _, err := Open(Options{Dir: dir, File: filepath.Join(dir, "pins.json")}, nil); err == nil || !strings.Contains(err.Error(), "pins.json") {
		t.Errorf("%v", err)
	}
}

// The file is a promise to those who read it, and to the next version of mcpd.
func TestLockFile(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.at(f.wish("one"))
	data, err := os.ReadFile(filepath.Join(f.dir, "pins.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]struct {
		Request string
		Now     struct{ Package, Version, Integrity, Dir string }
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if e := got["one"]; e.Request != "@a/server" || e.Now.Package != "@a/server" || e.Now.Version != "1.0.0" || e.Now.Integrity != "@a/server@1.0.0" || e.Now.Dir != "@a+server@1.0.0" {
		t.Errorf("%s", data)
	}
}
