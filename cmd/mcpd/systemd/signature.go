package systemd

import (
	"bytes"
	"crypto/sha256"
	"fmt"
)

// The first line of a file that we write tells that it is ours, and, by the sum of the rest, that nobody has changed it since.
const signature = "# Written by `mcpd service install`; for changes of your own use `systemctl %sedit mcpd`. sha256:%x\n"

var signatureStart = []byte("# Written by `mcpd service install`;")

func sign(text []byte, system bool) []byte {
	manager := "--user "
	if system {
		manager = ""
	}
	return append(fmt.Appendf(nil, signature, manager, sha256.Sum256(text)), text...)
}

// signed tells whether text is a file of ours, and whether it is as we wrote it.
func signed(text []byte) (ours, untouched bool) {
	first, rest, _ := bytes.Cut(text, []byte("\n"))
	return bytes.HasPrefix(first, signatureStart), bytes.HasSuffix(first, fmt.Appendf(nil, "sha256:%x", sha256.Sum256(rest)))
}
