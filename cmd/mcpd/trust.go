package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mcpd/mcpd/router/certs"
)

func (c *cli) trustCommand() *cobra.Command {
	var install, uninstall bool
	cmd := &cobra.Command{
		Use: "trust", Short: "print the internal authority's root certificate, or have this machine trust it", Args: exactly(0),
		Long: `Prints the root certificate of tls.mode = "internal" (PEM). It signs for names below the configured domain and
for loopback addresses only.

--install adds it to what this machine trusts, which takes root: Debian, Fedora, Arch, SUSE, Alpine and macOS
are known. Browsers on Linux and Java have stores of their own; Node.js reads the file that NODE_EXTRA_CA_CERTS
names.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			machine := ""
			if c.stateFlag == "" && os.Geteuid() == 0 { // who administers the machine means its service, where root has no mcpd of its own
				machine = systemState
			}
			root, err := c.rootCertificate(machine)
			if err != nil {
				return err
			}
			if install || uninstall {
				return c.changeTrust(cmd.Context(), trustStores(), root, install)
			}
			_, err = c.stdout.Write(root)
			return err
		},
	}
	cmd.Flags().BoolVar(&install, "install", false, "add it to what this machine trusts")
	cmd.Flags().BoolVar(&uninstall, "uninstall", false, "take it away from there")
	cmd.MarkFlagsMutuallyExclusive("install", "uninstall")
	return cmd
}

// rootCertificate reads the root from the state directory, or if there is none from that of the machine's service, unless
// that is "".
func (c *cli) rootCertificate(machine string) ([]byte, error) {
	state, err := stateDir(c.stateFlag, c.env)
	if err != nil {
		return nil, err
	}
	root, err := os.ReadFile(filepath.Join(state, certsDir, certs.RootFile))
	if errors.Is(err, fs.ErrNotExist) && machine != "" {
		root, err = os.ReadFile(filepath.Join(machine, certsDir, certs.RootFile))
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf(`cannot find a root certificate in the state directory %q: mcpd makes one when it starts with tls.mode = "internal"; give the --state-dir it uses`, state)
	case err != nil:
		return nil, fmt.Errorf("cannot read the root certificate: %w", err)
	}
	return root, nil
}

// trustStore is a folder of certificates that a machine trusts, and what makes it read the folder again: after one has
// come, and after one has gone.
type trustStore struct {
	dir        string
	come, gone []string
}

// trustStores are those of the systems that have one; the first whose folder is there is this machine's.
func trustStores() []trustStore {
	debian, fedora, arch := []string{"update-ca-certificates"}, []string{"update-ca-trust", "extract"}, []string{"update-ca-trust"}
	return []trustStore{
		// Debian, Ubuntu, Alpine. Without --fresh the links to what is gone stay in /etc/ssl/certs.
		{"/usr/local/share/ca-certificates", debian, append(debian, "--fresh")},
		{"/etc/pki/ca-trust/source/anchors", fedora, fedora},      // Fedora, RHEL
		{"/etc/ca-certificates/trust-source/anchors", arch, arch}, // Arch
		{"/etc/pki/trust/anchors", debian, debian},                // SUSE
	}
}

// changeTrust adds root to the first of the stores that is there, or takes it away.
func (c *cli) changeTrust(ctx context.Context, stores []trustStore, root []byte, add bool) error {
	block, _ := pem.Decode(root)
	if block == nil {
		return errors.New("cannot read the root certificate: it is no PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("cannot read the root certificate: %w", err)
	}
	file := fmt.Sprintf("mcpd-%x.crt", cert.SerialNumber.Bytes()[:4])
	if _, err := exec.LookPath("security"); err == nil {
		return c.changeKeychain(ctx, root, file, add)
	}
	for _, s := range stores {
		if _, err := os.Stat(s.dir); err != nil {
			continue
		}
		path, update := filepath.Join(s.dir, file), s.come
		if add {
			err = os.WriteFile(path, root, 0o644)
		} else {
			err, update = os.Remove(path), s.gone
		}
		switch {
		case errors.Is(err, fs.ErrPermission):
			return fmt.Errorf("cannot change what this machine trusts: %w; try again with sudo, and --state-dir", err)
		case err != nil:
			return fmt.Errorf("cannot change what this machine trusts: %w", err)
		}
		if err := c.command(ctx, update); err != nil {
			return err
		}
		return c.trusted(cert, path, add)
	}
	return errors.New("cannot find where this machine keeps what it trusts; print the root with `mcpd trust` and add it by hand")
}

// changeKeychain is macOS's way.
func (c *cli) changeKeychain(ctx context.Context, root []byte, name string, add bool) error {
	dir, err := os.MkdirTemp("", "mcpd")
	if err != nil {
		return fmt.Errorf("cannot write the root certificate: %w", err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, root, 0o600); err != nil {
		return fmt.Errorf("cannot write the root certificate: %w", err)
	}
	if add {
		return c.command(ctx, []string{"security", "add-trusted-cert", "-d", "-r", "trustRoot", "-k", "/Library/Keychains/System.keychain", file})
	}
	return c.command(ctx, []string{"security", "remove-trusted-cert", "-d", file})
}

func (c *cli) command(ctx context.Context, words []string) error {
	out, err := exec.CommandContext(ctx, words[0], words[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("cannot change what this machine trusts: %s: %w\n%s", strings.Join(words, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

func (c *cli) trusted(cert *x509.Certificate, path string, add bool) error {
	if !add {
		_, err := fmt.Fprintf(c.stdout, "this machine no longer trusts %q (%s is gone)\n", cert.Subject.CommonName, path)
		return err
	}
	_, err := fmt.Fprintf(c.stdout, "this machine trusts %q now, until %s (%s)\nFor Node.js set NODE_EXTRA_CA_CERTS=%[3]s; browsers with a store of their own need it added there.\n",
		cert.Subject.CommonName, cert.NotAfter.Format("2006-01-02"), path)
	return err
}
