package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes, the same for every command.
const (
	exitFine   = 0
	exitFailed = 1
	exitUsage  = 2
)

// cli is what every command works with: the streams and environment it was called with, and the flags all of them take.
type cli struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            environment

	configFile string
	stateFlag  string
}

// usageError is a command line that cannot be understood: exit code 2.
type usageError struct{ msg string }

func (e usageError) Error() string { return e.msg }

// silentError ends a command that has already said on its output what is wrong: exit code 1, nothing more to print.
type silentError struct{}

func (silentError) Error() string { return "" }

// run is the program: it parses args, does what they say, and returns the exit code. It touches no
// process state beyond what it is given, but for signals and child processes.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, environ []string) int {
	c := &cli{stdin: stdin, stdout: stdout, stderr: stderr, env: environ}
	root := c.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitFine
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "mcpd: %v\nRun 'mcpd help' for the commands.\n", err)
		return exitUsage
	case errors.As(err, &silentError{}):
		return exitFailed
	}
	fmt.Fprintf(stderr, "mcpd: %v\n", err)
	return exitFailed
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "mcpd",
		Short: "serve stdio MCP servers over HTTP, each at its own address, behind one sign-in",
		Long: `mcpd supervises MCP servers that speak stdio and gives each its own address over
Streamable HTTP, with OAuth by one embedded issuer.

Start with 'mcpd run'. Servers are listed in servers.toml; after an edit, 'mcpd reload'.`,
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			msg := fmt.Sprintf("unknown command %q", args[0])
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				msg += "; did you mean " + strings.Join(near, " or ") + "?"
			}
			return usageError{msg}
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err.Error()} })
	root.PersistentFlags().StringVar(&c.configFile, "config", "", "configuration `FILE` (default ./servers.toml, then $XDG_CONFIG_HOME/mcpd/servers.toml, then /etc/mcpd/servers.toml)")
	root.PersistentFlags().StringVar(&c.stateFlag, "state-dir", "", "`DIR` of keys and database (default $XDG_STATE_HOME/mcpd)")
	group := func(id, title string, commands ...*cobra.Command) {
		root.AddGroup(&cobra.Group{ID: id, Title: title + ":"})
		for _, cmd := range commands {
			cmd.GroupID = id
			root.AddCommand(cmd)
		}
	}
	group("daemon", "The daemon", c.runCommand(), c.checkCommand(), c.reloadCommand(), c.statusCommand(), c.serviceCommand(), c.backupCommand(), c.metricsCommand())
	group("servers", "Servers", c.callCommand(), c.logsCommand(),
		c.powerCommand("restart", "stop a server's workers and start them anew"),
		c.powerCommand("stop", "stop a server until 'mcpd start' or the next restart of mcpd"),
		c.powerCommand("start", "start a server that was stopped or has failed"),
		c.updateCommand(), c.rollbackCommand(), c.demoCommand())
	group("people", "People, tokens and keys", c.userCommand(), c.revokeCommand(), c.tokenCommand(), c.keysCommand(), c.certCommand(), c.trustCommand())
	root.AddCommand(c.versionCommand(), c.guardianCommand(), c.confineCommand())
	return root
}

// exactly demands n positional arguments, and says the usage line when there are more or fewer.
func exactly(n int) cobra.PositionalArgs { return between(n, n) }

// between demands at least low and at most high positional arguments.
func between(low, high int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < low || len(args) > high {
			return usageError{"usage: " + cmd.UseLine()}
		}
		return nil
	}
}

// printJSON writes v as indented JSON with a final newline.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// completeServers offers the names of the configured servers to the shell.
func (c *cli) completeServers(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.serverNames(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
}

// serverNames asks the daemon; without one the shell simply gets no offers.
func (c *cli) serverNames(ctx context.Context) []string {
	admin, err := c.admin()
	if err != nil {
		return nil
	}
	var st Status
	if err := admin.get(ctx, "/v1/status", &st); err != nil {
		return nil
	}
	var names []string
	for _, s := range st.Servers {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return names
}
