package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// signInLinkTTL bounds how long a printed sign-in link is good for.
const signInLinkTTL = time.Hour

func (c *cli) userCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "user", Short: "add, list and remove the people who may sign in", Args: between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Sprintf("unknown command %q for %q: want add, list, remove, passwd, link or reset", args[0], "mcpd user")}
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(c.userAddCommand(), c.userListCommand(), c.userRemoveCommand(), c.userPasswordCommand(), c.userLinkCommand(), c.userResetCommand())
	return cmd
}

func (c *cli) userAddCommand() *cobra.Command {
	var fromStdin, link bool
	cmd := &cobra.Command{
		Use: "add NAME", Short: "add a person, with a password or a one-time sign-in link", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, err := c.admin()
			if err != nil {
				return err
			}
			req := userRequest{Name: args[0]}
			if !link {
				if req.Password, err = c.askPassword(fromStdin); err != nil {
					return err
				}
			}
			var u userAnswer
			if err := admin.post(cmd.Context(), "/v1/users", req, &u); err != nil {
				return err
			}
			fmt.Fprintf(c.stderr, "added %s\n", u.Name)
			if u.Link != "" {
				fmt.Fprintf(c.stdout, "%s\n", u.Link)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input")
	cmd.Flags().BoolVar(&link, "link", false, "set no password; print a one-time sign-in link, good for an hour")
	cmd.MarkFlagsMutuallyExclusive("password-stdin", "link")
	return cmd
}

func (c *cli) userListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "list the people who may sign in", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			admin, err := c.admin()
			if err != nil {
				return err
			}
			var users []userAnswer
			if err := admin.get(cmd.Context(), "/v1/users", &users); err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.stdout, users)
			}
			w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tID\tSIGNS IN WITH\tGROUPS\tADDED")
			for _, u := range users {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", u.Name, u.ID, cmp.Or(u.Provider, "mcpd"), cmp.Or(strings.Join(u.Groups, ","), "-"), u.Created.Local().Format("2006-01-02 15:04"))
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (c *cli) userRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "remove a person: ends their tokens, sessions and workers at once", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, err := c.admin()
			if err != nil {
				return err
			}
			var u userAnswer
			if err := admin.do(cmd.Context(), http.MethodDelete, "/v1/users/"+url.PathEscape(args[0]), nil, &u); err != nil {
				return err
			}
			fmt.Fprintf(c.stderr, "removed %s\n", u.Name)
			return nil
		},
	}
}

func (c *cli) userPasswordCommand() *cobra.Command {
	var fromStdin bool
	cmd := &cobra.Command{
		Use: "passwd NAME", Short: "set a person's password", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, err := c.admin()
			if err != nil {
				return err
			}
			var req userRequest
			if req.Password, err = c.askPassword(fromStdin); err != nil {
				return err
			}
			if err := admin.do(cmd.Context(), http.MethodPut, "/v1/users/"+url.PathEscape(args[0])+"/password", req, nil); err != nil {
				return err
			}
			fmt.Fprintf(c.stderr, "password of %s set\n", args[0])
			return nil
		},
	}
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

func (c *cli) userLinkCommand() *cobra.Command {
	return &cobra.Command{
		Use: "link NAME", Short: "print a one-time sign-in link, good for an hour", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, err := c.admin()
			if err != nil {
				return err
			}
			var u userAnswer
			if err := admin.post(cmd.Context(), "/v1/users/"+url.PathEscape(args[0])+"/link", nil, &u); err != nil {
				return err
			}
			fmt.Fprintln(c.stdout, u.Link)
			return nil
		},
	}
}

func (c *cli) userResetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reset NAME", Short: "take a person's passkeys and codes away; print a one-time sign-in link, good for an hour", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, err := c.admin()
			if err != nil {
				return err
			}
			var u userAnswer
			if err := admin.do(cmd.Context(), http.MethodDelete, "/v1/users/"+url.PathEscape(args[0])+"/factors", nil, &u); err != nil {
				return err
			}
			fmt.Fprintln(c.stdout, u.Link)
			return nil
		},
	}
}

// askPassword reads a password from standard input's first line, or asks twice on a terminal without showing it.
func (c *cli) askPassword(fromStdin bool) (string, error) {
	if fromStdin {
		line, err := bufio.NewReader(io.LimitReader(c.stdin, 4096)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("cannot read the password: %w", err)
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return "", errors.New("cannot read the password: standard input is empty")
		}
		return line, nil
	}
	f, ok := c.stdin.(*os.File)
	if !ok || !isTerminal(f) {
		return "", usageError{"there is no terminal to ask for a password: give --password-stdin"}
	}
	var typed [2][]byte
	for i, prompt := range []string{"Password: ", "Again: "} {
		fmt.Fprint(c.stderr, prompt)
		var err error
		typed[i], err = term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(c.stderr)
		if err != nil {
			return "", fmt.Errorf("cannot read the password: %w", err)
		}
	}
	if string(typed[0]) != string(typed[1]) {
		return "", errors.New("the two passwords differ; nothing was changed")
	}
	return string(typed[0]), nil
}
