package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/mcpd/mcpd/idp"
)

// configName is the file's name wherever it is.
const configName = "servers.toml"

// FindConfig says which file to load: the one that was asked for, else the first that exists of
// ./servers.toml, $XDG_CONFIG_HOME/mcpd/servers.toml (or ~/.config/…) and /etc/mcpd/servers.toml.
func FindConfig(asked string, env environment) (string, error) {
	if asked != "" {
		return asked, nil
	}
	places := []string{configName}
	switch {
	case filepath.IsAbs(env.Get("XDG_CONFIG_HOME")): // a relative one is to be ignored, says the XDG specification
		places = append(places, filepath.Join(env.Get("XDG_CONFIG_HOME"), "mcpd", configName))
	case env.Get("HOME") != "":
		places = append(places, filepath.Join(env.Get("HOME"), ".config", "mcpd", configName))
	}
	places = append(places, filepath.Join("/etc/mcpd", configName))
	for _, p := range places {
		// A file that is there and cannot be read is found: skipping it would run another one in its place.
		if _, err := os.Stat(p); !errors.Is(err, fs.ErrNotExist) {
			return p, nil
		}
	}
	return "", fmt.Errorf("cannot find a configuration: there is no %s; give --config FILE", strings.Join(places, ", no "))
}

// load finds and loads the configuration; flags are the highest layer.
func (c *cli) load(flags map[string]any) (file string, cfg *Config, err error) {
	if file, err = FindConfig(c.configFile, c.env); err != nil {
		return "", nil, err
	}
	cfg, err = Load(LoadOptions{Path: file, Environ: c.env, Flags: flags, Reserved: idp.Paths()})
	return file, cfg, err
}
