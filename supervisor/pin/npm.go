package pin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// lockfile is what matters of npm's package-lock.json.
type lockfile struct {
	Packages map[string]struct {
		Integrity        string `json:"integrity"`
		HasInstallScript bool   `json:"hasInstallScript"`
	} `json:"packages"`
}

// Flags with which npm tells and asks nobody anything, and gives up soon on a registry that cannot be reached.
var (
	npmQuiet   = []string{"--json", "--loglevel=silent", "--no-update-notifier", "--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=60000"}
	npmInstall = []string{"--no-audit", "--no-fund", "--omit=dev", "--save-exact", "--package-lock", "--location=project"}
)

// npm installs packages of the npm registry.
type npm struct{ *Store }

// install makes a project of dir that has the package as its only dependency.
func (n npm) install(ctx context.Context, w Wish, dir string, known Pin) (Pin, error) {
	// With a package.json of its own npm looks no further up for one.
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte("{\"private\":true}\n"), 0o600); err != nil {
		return Pin{}, fmt.Errorf("cannot make room for a package: %w", err)
	}
	name := w.Request.Package
	if err := n.put(ctx, w, dir, Request{Package: name, Version: cmp.Or(known.Version, w.Request.Version)}); err != nil {
		return Pin{}, err
	}
	m, err := readManifest(filepath.Join(dir, "node_modules", filepath.FromSlash(name)))
	if err != nil {
		return Pin{}, fmt.Errorf("cannot find %s in what npm installed: %w", name, err)
	}
	p := Pin{Version: m.Version, Dir: strings.ReplaceAll(name, "/", "+") + "@" + m.Version}
	p.Integrity, p.Silent, err = readLock(filepath.Join(dir, "package-lock.json"), name, w.Scripts)
	return p, err
}

// put installs. It prefers what it has on disk to the registry, as npx does: it goes on without a network, and
// otherwise each of a hundred packages would be asked for. Only a version that what is on disk does not know of (ETARGET) is
// looked for in the registry.
func (n npm) put(ctx context.Context, w Wish, dir string, wanted Request) error {
	argv := slices.Concat([]string{"npm", "install"}, npmQuiet, npmInstall,
		[]string{"--prefix", dir, fmt.Sprintf("--ignore-scripts=%t", !w.Scripts)})
	var err error
	for _, prefer := range [][]string{{"--prefer-offline"}, {"--prefer-offline=false", "--prefer-online"}} {
		var out []byte
		out, err = n.runFor(ctx, w, dir, slices.Concat(argv, prefer, []string{"--", wanted.String()}))
		err = told(ctx, err, func() error { return complaint(out, err) })
		if said := (*npmError)(nil); !errors.As(err, &said) || said.code != "ETARGET" {
			break
		}
	}
	return err
}

// latest asks with a cache of its own, which keeps npm from answering with what it has on disk when the registry does not.
func (n npm) latest(ctx context.Context, w Wish, dir string) (string, error) {
	argv := slices.Concat([]string{"npm", "view"}, npmQuiet, []string{"--cache", dir, "--prefer-offline=false", "--", w.Request.String(), "version"})
	out, err := n.runFor(ctx, w, dir, argv)
	if err := told(ctx, err, func() error { return complaint(out, err) }); err != nil {
		return "", err
	}
	var one string
	var many []string
	switch {
	case json.Unmarshal(out, &one) == nil && one != "":
		return one, nil
	case json.Unmarshal(out, &many) == nil && len(many) > 0: // of a range all that match, the newest last
		return many[len(many)-1], nil
	}
	return "", errors.New("the registry does not have it")
}

func (n npm) works(root, name string) bool {
	return exists(filepath.Join(root, "node_modules", filepath.FromSlash(name), "package.json"))
}

// npmError is why npm failed, in its own words.
type npmError struct{ code, line string }

func (e *npmError) Error() string { return fmt.Sprintf("npm says %s: %s", e.code, e.line) }

// complaint is what npm says in its JSON, or else what was seen of its end.
func complaint(out []byte, err error) error {
	var said struct {
		Error struct {
			Code    string `json:"code"`
			Summary string `json:"summary"`
		} `json:"error"`
	}
	if json.Unmarshal(out, &said) != nil || said.Error.Summary == "" {
		return err
	}
	line, _, _ := strings.Cut(said.Error.Summary, "\n")
	return &npmError{said.Error.Code, line}
}

// readLock is what npm wrote down about an installation: the package's digest, and the packages whose install scripts did not run.
func readLock(file, name string, scripts bool) (integrity string, silent []string, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", nil, fmt.Errorf("cannot read what npm installed: %w", err)
	}
	var l lockfile
	if err := json.Unmarshal(data, &l); err != nil {
		return "", nil, fmt.Errorf("cannot read what npm installed: %w", err)
	}
	for path, entry := range l.Packages {
		if entry.HasInstallScript && !scripts {
			silent = append(silent, path[strings.LastIndex(path, "node_modules/")+len("node_modules/"):])
		}
	}
	slices.Sort(silent)
	return l.Packages["node_modules/"+name].Integrity, slices.Compact(silent), nil
}
