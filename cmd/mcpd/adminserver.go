package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"go.uber.org/zap"
)

// adminServer is the admin socket with its HTTP server.
type adminServer struct {
	http     *http.Server
	listener net.Listener
	path     string
}

func (d *daemon) openAdmin(ctx context.Context) (*adminServer, error) {
	l, path, err := listenSocket(ctx, sockets(d.state, d.cli.env))
	if err != nil {
		return nil, err
	}
	d.socket = path
	return &adminServer{listener: l, path: path, http: &http.Server{
		Handler: d.adminHandler(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: zap.NewStdLog(d.log.Named("admin")),
		BaseContext: func(net.Listener) context.Context { return d.closing },
	}}, nil
}

func (a *adminServer) serve() error {
	if err := a.http.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("cannot serve the admin socket: %w", err)
	}
	return nil
}

// close lets an answer that is being written finish, for a second at most.
func (a *adminServer) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := a.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = a.http.Close()
	}
	if rm := os.Remove(a.path); !errors.Is(rm, os.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	return err
}
