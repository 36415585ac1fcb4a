package main

import (
	"errors"
	"fmt"
	"net/http"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/mcpd/mcpd/idp"
)

// rotateRequest asks for new keys. With Drop the old ones are void at once.
type rotateRequest struct {
	Drop bool `json:"drop"`
}

func (c *cli) keysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "keys", Short: "list and replace the issuer's own keys", Args: between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Sprintf("unknown command %q for %q: want list or rotate", args[0], "mcpd keys")}
			}
			return cmd.Help()
		},
	}
	list := &cobra.Command{
		Use: "list", Short: "list the issuer's keys, without their secrets", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.printKeys(cmd, http.MethodGet, nil) },
	}
	var req rotateRequest
	rotate := &cobra.Command{
		Use: "rotate", Short: "make new keys; nobody is signed out",
		Long: `Makes new keys while mcpd runs. The new signing key is published at once and signs after ten minutes, when
every client can know it; the old one stays published for a day more. Nobody is signed out.

If a key was stolen, --drop makes the old ones void at once: ID tokens signed before no longer verify, and
whoever is signing in at that moment starts again. Access and refresh tokens are no signatures and stay good.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.printKeys(cmd, http.MethodPost, req) },
	}
	rotate.Flags().BoolVar(&req.Drop, "drop", false, "make the old keys void at once")
	cmd.AddCommand(list, rotate)
	return cmd
}

// printKeys calls the daemon and prints the keys that there are then.
func (c *cli) printKeys(cmd *cobra.Command, method string, in any) error {
	admin, err := c.admin()
	if err != nil {
		return err
	}
	var keys []idp.KeyInfo
	if err := admin.do(cmd.Context(), method, "/v1/keys", in, &keys); err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tFOR\tIN USE\tMADE")
	for _, k := range keys {
		use := "no"
		if k.Signs {
			use = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", k.ID, k.Kind, use, k.Created.Local().Format("2006-01-02 15:04"))
	}
	return w.Flush()
}

func (d *daemon) adminKeys(http.ResponseWriter, *http.Request) (any, error) {
	if err := d.needIssuer(); err != nil {
		return nil, err
	}
	return d.issuer.Keys(), nil
}

func (d *daemon) adminRotateKeys(_ http.ResponseWriter, r *http.Request) (any, error) {
	var req rotateRequest
	if err := errors.Join(d.needIssuer(), readAdmin(r, &req)); err != nil {
		return nil, err
	}
	if err := d.issuer.RotateKeys(r.Context(), req.Drop); err != nil {
		return nil, err
	}
	return d.issuer.Keys(), nil
}
