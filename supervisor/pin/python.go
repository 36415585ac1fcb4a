package pin

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var (
	// requirementText is a name, extras, and which versions: "server[cli]>=1,<2", or uvx's own "server@1.2".
	requirementText = regexp.MustCompile(`^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(\[[A-Za-z0-9._,-]+\])?(.*)$`)
	specifierText   = regexp.MustCompile(`^(?:(?:===|==|~=|!=|<=|>=|<|>)[A-Za-z0-9.*+!_-]+(?:,|$))+$`)
	exactText       = regexp.MustCompile(`^@[A-Za-z0-9.+!_-]+$`)
	interpreterText = regexp.MustCompile(`^3(?:\.[0-9]+){0,2}$`)
	pythonItself    = regexp.MustCompile(`(?i)^python[0-9.]*$`)
	separators      = regexp.MustCompile(`[-_.]+`)
)

// Options of uvx that change nothing for a package that is installed already.
var harmlessUVX = []string{"-q", "--quiet", "-v", "--verbose", "--isolated", "--offline", "--no-progress"}

// parseUVX reads what follows uvx, or uv tool run.
func parseUVX(command string, args []string) (r Request, ok bool, err error) {
	r = Request{Python: true, UV: command}
	from, rest, err := r.options(args)
	switch {
	case err != nil:
		return r, true, err
	case len(rest) == 0:
		return r, true, fmt.Errorf("cannot find a package in %q", strings.Join(args, " "))
	case from != "":
		r.Bin = rest[0]
	default:
		from = rest[0]
	}
	r.Args = rest[1:]
	part := requirementText.FindStringSubmatch(strings.ReplaceAll(from, " ", ""))
	if part == nil || pythonItself.MatchString(part[1]) {
		return r, true, fmt.Errorf("cannot pin %q: it is no package of an index", from)
	}
	if r.Bin == "" {
		r.Bin = part[1]
	}
	// One name for all ways to write it (packaging.python.org, name normalization).
	r.Package, r.Extras, r.Version = strings.ToLower(separators.ReplaceAllString(part[1], "-")), part[2], part[3]
	switch {
	case r.Version == "@latest":
		r.Version = ""
	case exactText.MatchString(r.Version):
		r.Version = "==" + r.Version[1:]
	case r.Version != "" && !specifierText.MatchString(r.Version):
		return r, true, fmt.Errorf("cannot pin %q: it is no package of an index", from)
	}
	if r.Bin != filepath.Base(r.Bin) || !filepath.IsLocal(r.Bin) {
		return r, true, fmt.Errorf("cannot tell which program %q is", r.Bin)
	}
	return r, true, nil
}

// options takes uvx's own options off; the first word that is none ends them.
func (r *Request) options(args []string) (from string, rest []string, err error) {
	for i := 0; i < len(args); i++ {
		name, value, has := strings.Cut(args[i], "=")
		switch {
		case args[i] == "--":
			return from, args[i+1:], nil
		case !strings.HasPrefix(args[i], "-"):
			return from, args[i:], nil
		case slices.Contains(harmlessUVX, args[i]):
			continue
		case !has && (name == "--from" || name == "-p" || name == "--python"):
			if i++; i == len(args) {
				return "", nil, fmt.Errorf("cannot find what follows %s", name)
			}
			value = args[i]
		case !has || name != "--from" && name != "--python":
			return "", nil, fmt.Errorf("cannot pin a command with the option %s of uvx", name)
		}
		if name == "--from" && value != "" {
			from = value
		} else if r.Interpreter = value; !interpreterText.MatchString(value) {
			return "", nil, fmt.Errorf("cannot pin a command for the Python %q", value)
		}
	}
	return from, nil, nil
}

// requirement is the package with which versions, as Python's tools read it.
func (r Request) requirement(version string) string { return r.Package + r.Extras + version }

// environment is where below an installation the virtual environment is.
func environment(root string) string { return filepath.Join(root, "venv") }

// program is how what r asks for is started: by the environment's Python, or itself where it is no script.
func (uv) program(root string, r Request) (Program, error) {
	bins := filepath.Join(environment(root), "bin")
	file, python := filepath.Join(bins, r.Bin), filepath.Join(bins, "python")
	script, err := isScript(file)
	if err != nil {
		return Program{}, fmt.Errorf("cannot tell which program of %s is meant: it has no %s", r.Package, r.Bin)
	}
	real, err := filepath.EvalSymlinks(python)
	if err != nil {
		return Program{}, fmt.Errorf("cannot find the Python of %s: %w", r.Package, err)
	}
	p := Program{Command: file, Args: r.Args, Bins: bins, Reads: []string{root, real}}
	// Not all that is beside bin: that of a Python in somebody's home is the home.
	if lib := filepath.Join(filepath.Dir(filepath.Dir(real)), "lib"); exists(lib) {
		p.Reads = append(p.Reads, lib)
	}
	if script {
		p.Command, p.Args = python, slices.Concat([]string{file}, r.Args)
	}
	return p, nil
}

// isScript tells whether Python is to run a program: its first line says so, or that a shell starts the Python beside it.
func isScript(file string) (bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	head, err := bufio.NewReaderSize(f, 512).Peek(512)
	if len(head) == 0 {
		return false, err
	}
	first, rest, _ := bytes.Cut(head, []byte("\n"))
	return bytes.HasPrefix(first, []byte("#!")) && (bytes.Contains(first, []byte("python")) || bytes.HasPrefix(rest, []byte("'''exec'"))), nil
}

// works also tells whether the Python is the one that the environment was made for: that of the system may have become another.
func (uv) works(root, _ string) bool {
	real, err := filepath.EvalSymlinks(filepath.Join(environment(root), "bin", "python"))
	if err != nil {
		return false
	}
	name := filepath.Base(real)
	if !strings.HasPrefix(name, "python3.") {
		return true // it does not tell
	}
	return exists(filepath.Join(environment(root), "lib", name))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
