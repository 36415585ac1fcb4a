package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mcpd/mcpd/cmd/mcpd/systemd"
)

// serviceOptions are the flags of `mcpd service …`.
type serviceOptions struct {
	user, system                        bool
	root                                string
	dryRun, noStart, force, purge, sure bool
}

func (c *cli) serviceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "service", Short: "run mcpd as a service of systemd, without root in it", Args: between(0, 1),
		Long: `Run mcpd as a service of systemd: started at boot, restarted when it fails, its ports open meanwhile.

--user, the default unless you are root, is a service of yours. It runs as you, with your programs and files,
and needs no root. So that it runs while you are not logged in: loginctl enable-linger

--system is a service of the machine, and takes root to install. It runs as a user that exists only while it
runs, has no capability, and cannot see /home; systemd opens the ports for it, :443 too.

The ports are those of [listen] in servers.toml at the time of the installation. After a change of them, and
after mcpd or Node has moved, install again: it may be repeated, and changes only what differs.

Settings of your own go into drop-ins, which stay: systemctl [--user] edit mcpd`,
		Example: `  mcpd service install                  a service of yours, started at once
  sudo mcpd service install --system    one of the machine, with /etc/mcpd/servers.toml
  mcpd service print                    the units, written nowhere
  mcpd service uninstall --purge        all of it goes, people, keys and tokens too`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Sprintf("unknown command %q for %q: want print, install or uninstall", args[0], "mcpd service")}
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(c.servicePrintCommand(), c.serviceInstallCommand(), c.serviceUninstallCommand())
	return cmd
}

// serviceFlags are those that all of them have.
func serviceFlags(cmd *cobra.Command, o *serviceOptions) {
	cmd.Flags().BoolVar(&o.user, "user", false, "a service of yours (the default unless you are root)")
	cmd.Flags().BoolVar(&o.system, "system", false, "a service of the machine (the default for root)")
}

func (c *cli) servicePrintCommand() *cobra.Command {
	var o serviceOptions
	cmd := &cobra.Command{
		Use: "print", Short: "print the units as install would write them", Args: exactly(0),
		RunE: func(*cobra.Command, []string) error {
			s, err := c.service(o)
			if err != nil {
				return err
			}
			s.Version, s.Sandbox = math.MaxInt, true // all there can be; each file says what it needs
			if s.Listen, err = c.serviceListen(s.Config, true); err != nil {
				return err
			}
			files, err := s.Files()
			if err != nil {
				return err
			}
			for i, f := range files {
				if i > 0 {
					fmt.Fprintln(c.stdout)
				}
				fmt.Fprintf(c.stdout, "# %s\n%s", filepath.Join(s.Dir, f.Name), f.Text)
			}
			return nil
		},
	}
	serviceFlags(cmd, &o)
	return cmd
}

func (c *cli) serviceInstallCommand() *cobra.Command {
	var o serviceOptions
	cmd := &cobra.Command{
		Use: "install", Short: "write the units, enable and start them; may be repeated", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.installService(cmd.Context(), o) },
	}
	serviceFlags(cmd, &o)
	cmd.Flags().BoolVar(&o.noStart, "no-start", false, "do not start mcpd, nor restart it")
	cmd.Flags().BoolVar(&o.force, "force", false, "replace units that mcpd did not write, or that were edited")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "say what would be done, and do nothing")
	cmd.Flags().StringVar(&o.root, "root", "", "write below `DIR`, which is the root of an image or a package, and do not speak to systemd")
	return cmd
}

func (c *cli) installService(ctx context.Context, o serviceOptions) error {
	s, err := c.service(o)
	if err != nil {
		return err
	}
	if err := o.allowed(); err != nil {
		return err
	}
	if err := fitsService(s, o.root); err != nil {
		return err
	}
	if s.Listen, err = c.serviceListen(filepath.Join(o.root, s.Config), false); err != nil {
		return err
	}
	if err := mayOpen(s); err != nil {
		return err
	}
	in := c.installer(o, s)
	if o.root == "" {
		if in.Service.Version, in.Service.Sandbox, err = in.Ask(ctx); err != nil {
			return c.noManager(o, err)
		}
	}
	if err := in.Install(ctx, !o.noStart); err != nil || o.dryRun || o.root != "" {
		return err
	}
	c.sayNext(ctx, in.Service, !o.noStart)
	return nil
}

// allowed tells whether this user may change units.
func (o serviceOptions) allowed() error {
	if o.machine() && os.Geteuid() != 0 && o.root == "" && !o.dryRun {
		return errors.New("cannot change a service of the machine without root: use sudo, or --user for a service of yours")
	}
	return nil
}

// machine tells which of the two variants is meant.
func (o serviceOptions) machine() bool { return o.system || !o.user && os.Geteuid() == 0 }

func (c *cli) installer(o serviceOptions, s systemd.Service) systemd.Installer {
	if o.dryRun {
		fmt.Fprintln(c.stdout, "Nothing is done. It would be:")
	}
	return systemd.Installer{
		Service: s, Root: o.root, DryRun: o.dryRun, Force: o.force, Run: systemd.Command,
		Say: func(verb, what string) { fmt.Fprintf(c.stdout, "%-8s %s\n", verb, what) },
	}
}

// noManager explains the usual reason why a person's systemd cannot be reached.
func (c *cli) noManager(o serviceOptions, err error) error {
	if !o.machine() && c.env.Get("XDG_RUNTIME_DIR") == "" {
		return fmt.Errorf("%w\n$XDG_RUNTIME_DIR is not set, so this is no session of its own: log in as this user by ssh or on a console instead of su or sudo", err)
	}
	return err
}

// sayNext is what a person wants to know after an installation.
func (c *cli) sayNext(ctx context.Context, s systemd.Service, started bool) {
	user, sudo, state := "--user ", "", s.State
	if s.System {
		user, sudo, state = "", "sudo ", systemState
	}
	fmt.Fprintf(c.stdout, "\nconfiguration  %s; after an edit: %smcpd reload\nsecrets        %s, a NAME=value a line, for ${NAME} in it; then: systemctl %srestart mcpd\n",
		s.Config, sudo, s.EnvFile(), user)
	fmt.Fprintf(c.stdout, "state          %s: people, keys, tokens\nlog            journalctl %s-u mcpd\nhealth         %smcpd status\n", state, user, sudo)
	if started {
		fmt.Fprintf(c.stdout, "\nThe link for the first sign-in is in the log. A new one: %smcpd user link NAME\n", sudo)
	} else {
		fmt.Fprintf(c.stdout, "\nStart it: systemctl %sstart mcpd\n", user)
	}
	if s.System {
		return
	}
	if !s.Sandbox {
		fmt.Fprintln(c.stdout, "This machine gives your services no namespaces, so the part of the hardening that needs them was left out.")
	}
	if linger, err := systemd.Command(ctx, "loginctl", "show-user", "--property=Linger", "--value", fmt.Sprint(os.Getuid())); err == nil && linger == "no" {
		fmt.Fprintln(c.stdout, "It ends when you log out, and starts when you log in. To have it run always: loginctl enable-linger")
	}
}

func (c *cli) serviceUninstallCommand() *cobra.Command {
	var o serviceOptions
	cmd := &cobra.Command{
		Use: "uninstall", Short: "stop and disable mcpd, and remove what install wrote", Args: exactly(0),
		Long: `Stop and disable mcpd, and remove what install wrote. People, keys, tokens and downloads stay, for a later
installation; --purge removes them too. servers.toml and mcpd.env are yours and stay in any case.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.uninstallService(cmd.Context(), o) },
	}
	serviceFlags(cmd, &o)
	cmd.Flags().BoolVar(&o.purge, "purge", false, "remove the state directory too: people, keys, tokens")
	cmd.Flags().BoolVar(&o.sure, "yes", false, "do not ask before --purge")
	cmd.Flags().BoolVar(&o.force, "force", false, "remove units that mcpd did not write, or that were edited")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "say what would be done, and do nothing")
	return cmd
}

func (c *cli) uninstallService(ctx context.Context, o serviceOptions) error {
	s, err := c.service(o)
	if err != nil {
		return err
	}
	if err := o.allowed(); err != nil {
		return err
	}
	if o.purge && !o.sure && !o.dryRun {
		if err := c.sureToPurge(s); err != nil {
			return err
		}
	}
	in := c.installer(o, s)
	if !o.dryRun {
		if _, _, err := in.Ask(ctx); err != nil {
			return c.noManager(o, err)
		}
	}
	if err := in.Uninstall(ctx, o.purge); err != nil {
		return err
	}
	if s.System {
		return nil
	}
	if o.purge {
		return c.purgeState(s.State, in)
	}
	if _, err := os.Stat(s.State); err == nil {
		in.Say("keep", s.State+": people, keys and tokens; --purge removes it")
	}
	return nil
}

// sureToPurge asks the person. Without a terminal nobody can answer.
func (c *cli) sureToPurge(s systemd.Service) error {
	f, ok := c.stdin.(*os.File)
	if !ok || !isTerminal(f) {
		return usageError{"--purge asks before it removes people, keys and tokens, and there is no terminal: give --yes"}
	}
	where := s.State
	if s.System {
		where = systemState
	}
	fmt.Fprintf(c.stderr, "Remove %s with all people, keys and tokens? [y/N] ", where)
	line, _ := bufio.NewReader(io.LimitReader(c.stdin, 64)).ReadString('\n') // no answer is "no"
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}

// purgeState removes a state directory that no daemon uses, and what it had in the runtime directory.
func (c *cli) purgeState(state string, in systemd.Installer) error {
	if _, err := os.Stat(filepath.Join(state, "lock")); errors.Is(err, os.ErrNotExist) {
		return nil // nobody's state, so not ours to remove
	}
	in.Say("remove", state)
	if in.DryRun {
		return nil
	}
	lock, err := lockState(state)
	if err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(state), lock.Close()); err != nil {
		return fmt.Errorf("cannot remove the state: %w", err)
	}
	for _, socket := range sockets(state, c.env) {
		_ = os.Remove(filepath.Dir(socket)) // stays unless it is empty
	}
	home := c.env.Get("HOME") // as do .local/state and .local
	for dir := filepath.Dir(state); home != "" && dir != home && below(dir, home); dir = filepath.Dir(dir) {
		if os.Remove(dir) != nil {
			break
		}
	}
	return nil
}
