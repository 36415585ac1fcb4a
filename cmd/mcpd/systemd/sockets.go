package systemd

import (
	"errors"
	"fmt"
	"net"

	"github.com/coreos/go-systemd/v22/activation"
)

// Sockets are the listening sockets that the service manager opened for this program
// (sd_listen_fds(3)); none where it opened none. It may be called once.
func Sockets() ([]net.Listener, error) {
	var all []net.Listener
	var errs []error
	for _, f := range activation.Files(false) {
		l, err := net.FileListener(f) // a copy of the descriptor
		if err == nil {
			all = append(all, l)
		}
		errs = append(errs, err, f.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("cannot use a socket of the service manager: %w", err)
	}
	return all, nil
}
