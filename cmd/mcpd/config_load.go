package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// maxConfigFile bounds the configuration file in bytes.
const maxConfigFile = 4 << 20

// LoadOptions say where a configuration comes from.
type LoadOptions struct {
	Path     string         // of the file; ${file:…} is relative to its folder
	Data     []byte         // the file's content, if it was read already; Path then only names it
	Environ  []string       // "NAME=value": for ${NAME}, and for MCPD_… as a layer
	Flags    map[string]any // key path → value, the highest layer
	Reserved []string       // names that no server may have in local mode: the issuer's paths
}

// Load reads, merges and checks a configuration. An error about its content is of type Problems and
// tells everything that is wrong at once; in it no value appears that came from outside the file.
func Load(o LoadOptions) (*Config, error) {
	cfg, problems, err := loadAsFar(o)
	switch {
	case err != nil:
		return nil, err
	case len(problems) > 0:
		return nil, problems
	}
	return cfg, nil
}

// loadAsFar is Load for who can do with a part of it: beside the problems comes what could be read, or nil.
func loadAsFar(o LoadOptions) (*Config, Problems, error) {
	data, err := o.read()
	if err != nil {
		return nil, nil, err
	}
	s, name := configSchema(), ""
	if o.Path != "" {
		name = filepath.Clean(o.Path)
	}
	d := &decoder{
		tree:     parseTree(name, data),
		expander: &expander{dir: filepath.Dir(o.Path), lookup: lookupIn(o.Environ)},
		places:   map[string]position{},
		secrets:  map[string][]string{},
	}
	if len(d.root.keys) == 0 && len(d.problems) > 0 {
		return nil, d.problems, nil // a syntax error: nothing else can be said
	}
	over := &overrides{schema: s, from: map[string]string{}, secrets: map[string][]string{}}
	file := d.tableOf(s, d.root, nil)
	environ, err := over.environment(o.Environ)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the environment: %w", err)
	}
	cfg, err := merge(settingsOf(reflect.ValueOf(DefaultConfig())), file, environ, over.flags(o.Flags))
	if err != nil {
		return nil, nil, err
	}
	cfg.Secrets = secretsOf(cfg, d.secrets, over.secrets)
	check := &checker{Config: cfg, decoder: d, over: over, reserved: o.Reserved}
	check.all()
	return cfg, slices.Concat(d.problems, over.problems, check.found).sorted(), nil
}

func (o LoadOptions) read() ([]byte, error) {
	if o.Data != nil || o.Path == "" {
		return o.Data, nil
	}
	f, err := os.Open(o.Path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	if len(data) > maxConfigFile {
		return nil, fmt.Errorf("cannot read the configuration %q: it has more than %d bytes", o.Path, maxConfigFile)
	}
	return data, nil
}

// configSchema is the shape of Config. What runs, and where, cannot be inherited: it is what a server is.
func configSchema() *schema {
	s := schemaOf(reflect.TypeFor[Config]())
	delete(s.fields["defaults"].fields, "command")
	delete(s.fields["defaults"].fields, "hosts")
	delete(s.fields["defaults"].fields, "args")
	return s
}

// merge lays the layers over each other. Tables are merged key by key, lists are replaced.
func merge(layers ...map[string]any) (*Config, error) {
	all, err := overlay(layers...)
	if err != nil {
		return nil, err
	}
	servers, _ := all["servers"].(map[string]any)
	delete(all, "servers")
	cfg := &Config{Servers: map[string]ServerConfig{}}
	if err := decodeInto(all, cfg); err != nil {
		return nil, err
	}
	inherited, _ := all["defaults"].(map[string]any)
	for name, entry := range servers {
		own, _ := entry.(map[string]any)
		one, err := overlay(inherited, own)
		if err != nil {
			return nil, err
		}
		var sc ServerConfig
		if err := decodeInto(one, &sc); err != nil {
			return nil, err
		}
		cfg.Servers[name] = sc
	}
	return cfg, nil
}

// overlay is koanf's merge; the later layer wins.
func overlay(layers ...map[string]any) (map[string]any, error) {
	k := koanf.New(pathMark) // keys may hold dots: names of variables do
	for _, m := range layers {
		if err := k.Load(confmap.Provider(m, ""), nil); err != nil {
			return nil, fmt.Errorf("cannot merge the configuration: %w", err)
		}
	}
	return k.Raw(), nil
}

// decodeInto fills a struct. Everything in m was checked against the schema before, so that an
// error here is a fault of this program; its text is not shown, for it would hold values. Keys that
// one of two structs at the same table does not know are the other's.
func decodeInto(m map[string]any, into any) error {
	dec, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{Result: into, TagName: "koanf"})
	if err != nil {
		return fmt.Errorf("cannot decode the configuration: %w", err)
	}
	if dec.Decode(m) != nil {
		return fmt.Errorf("cannot decode the configuration into %T: its schema and its type differ", into)
	}
	return nil
}

// lookupIn makes a look-up of an environment; the last of several values counts, as for a process.
func lookupIn(environ []string) func(string) (string, bool) {
	m := make(map[string]string, len(environ))
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			m[name] = value
		}
	}
	return func(name string) (string, bool) {
		v, ok := m[name]
		return v, ok
	}
}

// secretsOf collects what must be masked for each server: what its entry and [defaults] took from
// outside the file.
func secretsOf(cfg *Config, layers ...map[string][]string) map[string][]string {
	all := map[string][]string{}
	for name := range cfg.Servers {
		var found []string
		for _, layer := range layers {
			for path, values := range layer {
				if strings.HasPrefix(path, "defaults.") || strings.HasPrefix(path, keyPath([]string{"servers", name})+".") {
					found = append(found, values...)
				}
			}
		}
		slices.Sort(found)
		if found = slices.Compact(found); len(found) > 0 {
			all[name] = found
		}
	}
	return all
}
