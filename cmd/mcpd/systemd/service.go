package systemd

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"text/template"
	"unicode"
)

// Service is mcpd as a unit of systemd: what its files depend on.
type Service struct {
	System  bool     // for the machine; else for the person who installs it
	Dir     string   // where units go: /etc/systemd/system, or below the person's configuration
	Binary  string   // of mcpd
	Config  string   // servers.toml
	State   string   // the state directory; the system's is systemd's to choose
	Path    string   // $PATH of the servers
	Listen  []string // addresses of [listen], host:port
	IPv6    bool     // the machine has [::1]
	Version int      // of systemd; 0 where it is not known: then for all of them
	Sandbox bool     // a person's services can have namespaces
}

// Names of the files below Dir.
const (
	serviceUnit  = "mcpd.service"
	socketUnit   = "mcpd.socket"
	notifyReload = serviceUnit + ".d/notify-reload.conf"
	sandbox      = serviceUnit + ".d/sandbox.conf"
)

// fileNames are all there can be; what an installation of today does not have may be there from an older one.
var fileNames = []string{serviceUnit, socketUnit, notifyReload, sandbox}

// reloadVersion is the systemd that has Type=notify-reload; to an older one a unit of that type has none.
const reloadVersion = 253

//go:embed units
var units embed.FS

// File is a file of the service.
type File struct {
	Name string // below Service.Dir
	Text []byte
}

// Files are what systemd reads, the service first.
func (s Service) Files() ([]File, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	listen, later := listenStreams(s.Listen, s.IPv6)
	data := map[string]any{
		"System": s.System, "Binary": s.Binary, "Config": s.Config, "State": s.State, "Path": s.Path,
		"EnvFile": s.EnvFile(), "InEtc": filepath.Dir(s.Config) == "/etc/mcpd", "Listen": listen, "FreeBind": later,
	}
	templates := []struct {
		name, template string
		wanted         bool
	}{
		{serviceUnit, "system.service", s.System},
		{serviceUnit, "user.service", !s.System},
		{socketUnit, "mcpd.socket", len(listen) > 0},
		{notifyReload, "notify-reload.conf", s.Version >= reloadVersion},
		{sandbox, "sandbox.conf", !s.System && s.Sandbox},
	}
	parsed, err := template.New("").Funcs(template.FuncMap{"word": word, "path": path}).ParseFS(units, "units/*")
	if err != nil {
		return nil, fmt.Errorf("cannot read the templates of the units: %w", err)
	}
	var files []File
	for _, t := range templates {
		if !t.wanted {
			continue
		}
		var text bytes.Buffer
		if err := parsed.ExecuteTemplate(&text, t.template, data); err != nil {
			return nil, fmt.Errorf("cannot write %s: %w", t.name, err)
		}
		files = append(files, File{t.name, sign(text.Bytes(), s.System)})
	}
	return files, nil
}

// EnvFile has the variables that servers.toml names as ${NAME}.
func (s Service) EnvFile() string { return filepath.Join(filepath.Dir(s.Config), "mcpd.env") }

// check refuses what no unit file can say: its lines end at the line's end.
func (s Service) check() error {
	for _, what := range []string{s.Binary, s.Config, s.State, s.Path} {
		if strings.ContainsFunc(what, unicode.IsControl) {
			return fmt.Errorf("cannot write %q into a unit: it has a control character in it", what)
		}
	}
	if strings.ContainsAny(s.Binary, "\"'\\") {
		return fmt.Errorf("cannot write %q into a unit: systemd runs no program with a quote or a backslash in its path", s.Binary)
	}
	if !filepath.IsAbs(s.Binary) || !filepath.IsAbs(s.Config) || !s.System && !filepath.IsAbs(s.State) {
		return errors.New("cannot write a unit with a relative path in it")
	}
	return nil
}
