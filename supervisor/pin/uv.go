package pin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// uv installs packages of Python, each in a virtual environment of its own.
type uv struct{ *Store }

var uvQuiet = []string{"--quiet", "--color", "never", "--no-progress"}

// install has uv look for a version first, which gives the digests of its files, and then install that: what has none of them
// does not get in. Its own copies are linked to nothing that others can write.
func (u uv) install(ctx context.Context, w Wish, dir string, known Pin) (Pin, error) {
	if err := u.venv(ctx, w, dir); err != nil {
		return Pin{}, err
	}
	p := Pin{Python: true, Version: known.Version, Integrity: known.Integrity}
	if p.Integrity == "" {
		which := w.Request.Version
		if known.Version != "" {
			which = "==" + known.Version
		}
		var err error
		if p.Version, p.Integrity, err = u.lookup(ctx, w, dir, which); err != nil {
			return Pin{}, err
		}
		if now := u.present(w); now.Version == p.Version && now.Integrity != "" { // files that have come since do not matter
			p.Integrity = now.Integrity
		}
	}
	p.Dir = w.Request.requirement("==" + p.Version)
	if w.Request.Interpreter != "" {
		p.Dir += "+python" + w.Request.Interpreter
	}
	line := w.Request.requirement("==" + p.Version)
	for _, digest := range strings.Fields(p.Integrity) {
		line += " --hash=" + digest
	}
	file := filepath.Join(dir, "requirements.txt")
	if err := os.WriteFile(file, []byte(line+"\n"), 0o600); err != nil {
		return Pin{}, fmt.Errorf("cannot make room for a package: %w", err)
	}
	return p, u.pip(ctx, w, dir, "install", "--link-mode", "copy", "--compile-bytecode", "-r", file)
}

// latest has uv ask the index again, whatever it has kept of its answers.
func (u uv) latest(ctx context.Context, w Wish, dir string) (string, error) {
	if err := u.venv(ctx, w, dir); err != nil {
		return "", err
	}
	version, _, err := u.lookup(ctx, w, dir, w.Request.Version, "--refresh-package", w.Request.Package)
	return version, err
}

func (u uv) venv(ctx context.Context, w Wish, dir string) error {
	args := []string{"venv", "--relocatable", "--no-project"}
	if w.Request.Interpreter != "" {
		args = append(args, "--python", w.Request.Interpreter)
	}
	return u.do(ctx, w, dir, append(args, environment(dir))...)
}

// pip runs a part of uv that works on the environment. Nothing of a package runs while it is installed, unless it may: that would
// be one that has to be built.
func (u uv) pip(ctx context.Context, w Wish, dir, do string, args ...string) error {
	args = slices.Concat([]string{"pip", do, "--python", filepath.Join(environment(dir), "bin", "python")}, args)
	if !w.Scripts {
		args = append(args, "--no-build")
	}
	return u.do(ctx, w, dir, args...)
}

var (
	foundVersion = regexp.MustCompile(`(?m)^[A-Za-z0-9._-]+(?:\[[^\]]*\])?==([^\s;]+)`)
	foundDigest  = regexp.MustCompile(`--hash=(sha[0-9]+:[0-9a-f]+)`)
)

// lookup finds the newest of these versions, and the digests of its files.
func (u uv) lookup(ctx context.Context, w Wish, dir, which string, more ...string) (version, digests string, err error) {
	in, out := filepath.Join(dir, "wanted.txt"), filepath.Join(dir, "found.txt")
	if err := os.WriteFile(in, []byte(w.Request.requirement(which)+"\n"), 0o600); err != nil {
		return "", "", fmt.Errorf("cannot make room for a package: %w", err)
	}
	args := []string{in, "-o", out, "--no-deps", "--generate-hashes", "--no-header", "--no-annotate"}
	if err := u.pip(ctx, w, dir, "compile", append(args, more...)...); err != nil {
		return "", "", err
	}
	data, err := os.ReadFile(out)
	if err != nil {
		return "", "", fmt.Errorf("cannot read what uv found: %w", err)
	}
	found := foundVersion.FindSubmatch(data)
	if found == nil {
		return "", "", errors.New("uv does not say which version")
	}
	var all []string
	for _, d := range foundDigest.FindAllSubmatch(data, -1) {
		all = append(all, string(d[1]))
	}
	slices.Sort(all)
	return string(found[1]), strings.Join(all, " "), nil
}

// do runs uv. What it says on standard error is all there is to know of its failures, and more than one line.
func (u uv) do(ctx context.Context, w Wish, dir string, args ...string) error {
	argv := slices.Concat([]string{"sh", "-c", `exec "$@" 2>&1`, "sh", w.Request.UV}, uvQuiet, args)
	out, err := u.runFor(ctx, w, dir, argv)
	return told(ctx, err, func() error {
		text := strings.Join(strings.FieldsFunc(string(out), func(c rune) bool { return strings.ContainsRune(" \t\r\n×╰─▶├│", c) }), " ")
		switch {
		case strings.Contains(text, "Hash mismatch"):
			return fmt.Errorf("%w: uv says: %s", ErrChanged, cut(text))
		case text == "":
			return err
		}
		return fmt.Errorf("uv says: %s", cut(text))
	})
}

// cut keeps the beginning, which is what went wrong; hints follow.
func cut(text string) string {
	const most = 300
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
