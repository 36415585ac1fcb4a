package pin

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Program is what is started in place of the package runner.
type Program struct {
	Command string   // an absolute path, or "node", to be looked up
	Args    []string // all but the program's own name
	Bins    string   // a directory that belongs in front of PATH, as the package runner puts it there
	Reads   []string // what the program needs to read
	Pin     Pin
}

// manifest is what matters of a package.json.
type manifest struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Bin     bins   `json:"bin"`
}

// bins are the programs of a package, by name; a package with a single one may give it without.
type bins map[string]string

// UnmarshalJSON takes both forms (docs.npmjs.com, package.json, bin).
func (b *bins) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*b = bins{"": one}
		return nil
	}
	return json.Unmarshal(data, (*map[string]string)(b))
}

func readManifest(dir string) (m manifest, err error) {
	data, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("cannot read the package.json of %s: %w", filepath.Base(dir), err)
	}
	return m, nil
}

// choose finds the program as npx does: the only one, or the one that has the package's name.
func (m manifest) choose(want string) (string, error) {
	own := path.Base(m.Name)
	file, ok := m.Bin[own]
	if one, single := m.Bin[""]; single {
		file, ok = one, true
		if want != "" && want != own {
			ok = false
		}
	} else if want != "" {
		file, ok = m.Bin[want]
	} else if !ok {
		var files []string
		for _, f := range m.Bin {
			files = append(files, filepath.Clean(f))
		}
		slices.Sort(files)
		if files = slices.Compact(files); len(files) == 1 {
			file, ok = files[0], true
		}
	}
	if !ok || file == "" || !filepath.IsLocal(file) {
		return "", fmt.Errorf("cannot tell which program of %s is meant", m.Name)
	}
	return filepath.Clean(file), nil
}

// program is how what r asks for is started from the package in root/node_modules.
func (npm) program(root string, r Request) (Program, error) {
	dir := filepath.Join(root, "node_modules", filepath.FromSlash(r.Package))
	m, err := readManifest(dir)
	if err != nil {
		return Program{}, err
	}
	file, err := m.choose(r.Bin)
	if err != nil {
		return Program{}, err
	}
	p := Program{Command: filepath.Join(dir, file), Args: r.Args, Bins: filepath.Join(root, "node_modules", ".bin"), Reads: []string{root}}
	p.Pin.Package, p.Pin.Version = r.Package, m.Version
	// The package runner starts what a link in .bin leads to, and Node works with real paths too.
	if real, err := filepath.EvalSymlinks(p.Command); err == nil {
		p.Command = real
	}
	flags, node, err := interpreter(p.Command)
	if err != nil {
		return Program{}, err
	}
	if node {
		p.Args = slices.Concat(flags, []string{p.Command}, r.Args)
		p.Command = "node"
	}
	return p, nil
}

// interpreter reads the first line of a program: whether Node runs it, and with which flags.
func interpreter(file string) (flags []string, node bool, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, false, fmt.Errorf("cannot start the package: %w", err)
	}
	defer func() { _ = f.Close() }()
	first, err := bufio.NewReaderSize(f, 512).ReadSlice('\n')
	if err != nil && len(first) == 0 {
		return nil, false, fmt.Errorf("cannot start the package: %w", err)
	}
	line, script := strings.CutPrefix(string(first), "#!")
	if !script {
		if !strings.HasPrefix(line, "\x7fELF") { // no line at all: whoever runs links of .bin would give it to a shell
			return nil, false, fmt.Errorf("cannot tell what runs %s", filepath.Base(file))
		}
		return nil, false, nil
	}
	words := strings.Fields(line)
	if len(words) > 0 && path.Base(words[0]) == "env" {
		words = slices.DeleteFunc(words[1:], func(w string) bool { return w == "-S" })
	}
	if len(words) > 0 && path.Base(words[0]) == "node" {
		return words[1:], true, nil
	}
	return nil, false, nil
}

// local finds the package where the package runner looks first: in the node_modules of the project that
// dir is in. nil: there is none. Which of several versions a range means is the runner's business.
func local(dir string, r Request) (*Program, error) {
	if r.Python {
		return nil, nil // its runner does not look there
	}
	if dir == "" {
		var err error
		if dir, err = os.Getwd(); err != nil {
			return nil, nil //nolint:nilerr // then there is nothing beside us either
		}
	}
	for {
		modules, err := os.Stat(filepath.Join(dir, "node_modules"))
		_, noManifest := os.Stat(filepath.Join(dir, "package.json"))
		if noManifest == nil || err == nil && modules.IsDir() {
			break
		}
		if dir == filepath.Dir(dir) {
			return nil, nil
		}
		dir = filepath.Dir(dir)
	}
	m, err := readManifest(filepath.Join(dir, "node_modules", filepath.FromSlash(r.Package)))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case r.Version != "" && r.Version != m.Version:
		return nil, fmt.Errorf("cannot pin %s: %s %s is in the node_modules of its directory", r, r.Package, m.Version)
	}
	p, err := npm{}.program(dir, r)
	return &p, err
}
