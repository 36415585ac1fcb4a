package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
)

// plan is what a process does to itself before it becomes the program.
type plan struct {
	Path        string   `json:"path"`                 // of the program
	Data        int64    `json:"data,omitempty"`       // RLIMIT_DATA
	Privileges  bool     `json:"privileges,omitempty"` // no new ones
	Files       bool     `json:"files,omitempty"`
	Read, Write []string `json:",omitempty"`
	TCP         bool     `json:"tcp,omitempty"` // none
}

func (p plan) empty() bool { return p.Data == 0 && !p.Privileges && !p.Files && !p.TCP }

func (p plan) encode() (string, error) {
	b, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("cannot write down the confinement: %w", err)
	}
	return string(b), nil
}

// probe instead of a plan asks for nothing but to be started.
const probe = "probe"

// Run is the helper's whole life: it confines this process as the first argument says and becomes
// the program whose arguments follow. A hidden command of the program calls it. It returns only if
// that cannot be done, or for a probe.
func Run(args []string) error {
	if len(args) == 1 && args[0] == probe {
		return nil
	}
	if len(args) < 2 {
		return errors.New("cannot confine: no plan and no program")
	}
	var p plan
	if err := json.Unmarshal([]byte(args[0]), &p); err != nil {
		return fmt.Errorf("cannot confine: cannot read the plan: %w", err)
	}
	runtime.LockOSThread() // what is applied is this thread's, and so execve(2) must be
	if err := p.apply(); err != nil {
		return fmt.Errorf("cannot confine: %w", err)
	}
	if err := syscall.Exec(p.Path, args[1:], os.Environ()); err != nil {
		return fmt.Errorf("cannot start %s: %w", args[1], err)
	}
	return nil
}
