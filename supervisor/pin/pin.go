package pin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Pin is one installed version.
type Pin struct {
	Package   string    `json:"package"`
	Python    bool      `json:"python,omitempty"` // it is one of Python, else of Node
	Version   string    `json:"version"`
	Integrity string    `json:"integrity,omitempty"` // digest of the package, or those of its files, as the registry gave them
	Dir       string    `json:"dir"`                 // below the store's directory
	Source    string    `json:"source,omitempty"`    // which registry, where the server's environment says so
	Scripts   bool      `json:"scripts,omitempty"`   // install scripts were run
	Silent    []string  `json:"silent,omitempty"`    // packages whose install scripts were not
	Since     time.Time `json:"since"`
}

// String is "some-server 1.2.3".
func (p Pin) String() string { return p.Package + " " + p.Version }

// Entry is what is pinned for one server.
type Entry struct {
	Request string `json:"request"` // the package as servers.toml asks for it
	Now     Pin    `json:"now"`
	Before  *Pin   `json:"before,omitempty"` // what Back goes back to
}

// load reads the lock file.
func load(file string) (map[string]Entry, error) {
	entries := map[string]Entry{}
	data, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return entries, nil
	case err != nil:
		return nil, fmt.Errorf("cannot read the pinned versions: %w", err)
	}
	if err := json.Unmarshal(data, &entries); err != nil {
		return nil, fmt.Errorf("cannot read the pinned versions in %s: %w; without that file the newest are pinned", file, err)
	}
	return entries, nil
}

// save writes the lock file. Callers hold mu.
func (s *Store) save() error {
	data, err := json.MarshalIndent(s.entries, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot write the pinned versions: %w", err)
	}
	return s.o.Write(s.o.File, append(data, '\n'))
}
