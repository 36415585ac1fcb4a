package router

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// inherited are sockets that somebody else opened for us, as a service manager does
// with ports that only it may open. Each stands for the one address of [listen] that
// has its port; they outlive us, so that nobody is refused during a restart.
type inherited struct {
	left []net.Listener
}

// open returns the inherited sockets of an address, or opens it.
func (in *inherited) open(addr string) ([]net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %q: %w", addr, err)
	}
	var ours, left []net.Listener
	for _, s := range in.left {
		at, ok := s.Addr().(*net.TCPAddr)
		if !ok || strconv.Itoa(at.Port) != port {
			left = append(left, s)
			continue
		}
		// What may be reached from where is judged by the address in the configuration;
		// a wider socket would make that judgement wrong.
		if isLoopback(host) && !at.IP.IsLoopback() {
			return nil, fmt.Errorf("cannot listen on %q: the socket that was passed for it, %s, can be reached from other machines", addr, at)
		}
		ours = append(ours, &socket{Listener: s})
	}
	if in.left = left; len(ours) > 0 {
		return ours, nil
	}
	return open(addr)
}

// unused is an error when sockets are left that belong to no address: people would
// connect to them and wait for ever.
func (in *inherited) unused() error {
	if len(in.left) == 0 {
		return nil
	}
	var at []string
	for _, s := range in.left {
		at = append(at, s.Addr().String())
	}
	return fmt.Errorf("cannot use the passed socket %s: no address in [listen] has its port", strings.Join(at, ", "))
}
