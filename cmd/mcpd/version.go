package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build is what the binary knows of its own making.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"`
	Dirty    bool   `json:"dirty,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// readBuild takes the facts from the build info that the Go tool embeds.
func readBuild() build {
	b := build{Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Dirty = s.Value == "true"
		}
	}
	return b
}

func (b build) print(w io.Writer) {
	fmt.Fprintf(w, "mcpd %s\n", b.Version)
	if b.Revision != "" {
		dirty := ""
		if b.Dirty {
			dirty = " (modified)"
		}
		fmt.Fprintf(w, "revision  %s%s\n", b.Revision, dirty)
	}
	if b.Time != "" {
		fmt.Fprintf(w, "committed %s\n", b.Time)
	}
	fmt.Fprintf(w, "go        %s\nplatform  %s\n", b.Go, b.Platform)
}

func (c *cli) versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "version", Short: "print the version, revision and platform of this binary", Args: exactly(0),
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return printJSON(c.stdout, readBuild())
			}
			readBuild().print(c.stdout)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
