package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// adminClient is a command's side of the admin socket.
type adminClient struct {
	http  *http.Client
	state string
}

// admin finds the socket of the daemon that uses this command's state directory.
func (c *cli) admin() (*adminClient, error) {
	state, err := stateDir(c.stateFlag, c.env)
	if err != nil {
		return nil, err
	}
	candidates := sockets(state, c.env)
	if c.stateFlag == "" && os.Geteuid() == 0 { // who administers the machine means its service, where root has no mcpd of its own
		candidates = append(candidates, filepath.Join(systemState, "admin.sock"))
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var errs []error
		for _, path := range candidates {
			var nd net.Dialer
			conn, err := nd.DialContext(ctx, "unix", path)
			if err == nil {
				return conn, nil
			}
			if !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		return nil, errors.Join(append(errs, errNotRunning)...)
	}
	return &adminClient{http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}, state: state}, nil
}

var errNotRunning = errors.New("not running")

func (a *adminClient) get(ctx context.Context, path string, out any) error {
	return a.do(ctx, http.MethodGet, path, nil, out)
}

func (a *adminClient) post(ctx context.Context, path string, in, out any) error {
	return a.do(ctx, http.MethodPost, path, in, out)
}

// do makes one call: in and out are JSON, either may be nil. The daemon's refusals come back as *adminError.
func (a *adminClient) do(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	resp, err := a.open(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer drainBody(resp.Body)
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("cannot read the daemon's answer: %w", err)
	}
	return nil
}

// open makes one call and hands over its body, which the caller closes.
func (a *adminClient) open(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return nil, fmt.Errorf("cannot write the request: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://mcpd"+path, &body)
	if err != nil {
		return nil, fmt.Errorf("cannot make the request: %w", err)
	}
	resp, err := a.http.Do(req)
	switch {
	case errors.Is(err, errNotRunning):
		return nil, fmt.Errorf("mcpd is not running on the state directory %q; start it with 'mcpd run', or give the --state-dir it uses", a.state)
	case err != nil:
		return nil, fmt.Errorf("cannot reach mcpd: %w", err)
	case resp.StatusCode == http.StatusOK:
		return resp, nil
	}
	defer drainBody(resp.Body)
	ae := &adminError{Status: resp.StatusCode}
	if json.NewDecoder(resp.Body).Decode(ae) != nil || ae.Message == "" {
		ae.Message = "mcpd answered " + resp.Status
	}
	return nil, ae
}
