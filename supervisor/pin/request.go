package pin

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Request is what a command line asks the package runner for.
type Request struct {
	Package string   // its name in the registry
	Version string   // a version, a range or a tag; "" is the newest
	Bin     string   // which of its programs; "" is the one that the package is for
	Args    []string // what the program gets

	// Of packages of Python only.
	Python      bool
	Extras      string // "[cli]", or none
	Interpreter string // which version of Python runs it; "" is what uv finds
	UV          string // the command that installs it
}

// String is the package as one writes it: "some-server@^2".
func (r Request) String() string {
	if r.Python {
		return r.requirement(r.Version) + " (" + strings.TrimSpace("Python "+r.Interpreter) + ")"
	}
	if r.Version == "" {
		return r.Package
	}
	return r.Package + "@" + r.Version
}

var (
	packageName = regexp.MustCompile(`^(?:@[A-Za-z0-9~._-]+/)?[A-Za-z0-9~_][A-Za-z0-9~._-]*$`)
	versionText = regexp.MustCompile(`^[A-Za-z0-9.^~<>=*+| -]+$`) // nothing that is a path or a URL
)

// Options of npx that change nothing for a package that is installed already.
var harmless = []string{"-y", "--yes", "-q", "--quiet", "-s", "--silent", "--prefer-offline", "--prefer-online", "--offline"}

// Parse reads a command line. ok tells whether it is one of npx, uvx or uv tool run at all; the error is why it can
// only be run as it is.
func Parse(command string, args []string) (r Request, ok bool, err error) {
	switch base := filepath.Base(command); {
	case base == "uvx":
		return parseUVX(strings.TrimSuffix(command, "x"), args)
	case base == "uv" && len(args) > 1 && args[0] == "tool" && args[1] == "run":
		return parseUVX(command, args[2:])
	case base != "npx":
		return r, false, nil
	}
	packages, rest, err := options(args)
	switch {
	case err != nil:
		return r, true, err
	case len(rest) == 0:
		return r, true, fmt.Errorf("cannot find a package in %q", strings.Join(args, " "))
	case len(packages) > 1:
		return r, true, fmt.Errorf("cannot pin %d packages of one command", len(packages))
	case len(packages) == 1:
		r.Bin = rest[0]
	default:
		packages = rest[:1]
	}
	r.Args = rest[1:]
	name, version, _ := cutVersion(packages[0])
	if !packageName.MatchString(name) || version != "" && !versionText.MatchString(version) {
		return r, true, fmt.Errorf("cannot pin %q: it is no package of a registry", packages[0])
	}
	r.Package, r.Version = name, version
	return r, true, nil
}

// options takes npx's own options off; the first word that is none ends them.
func options(args []string) (packages, rest []string, err error) {
	for i := 0; i < len(args); i++ {
		name, value, has := strings.Cut(args[i], "=")
		switch {
		case args[i] == "--":
			return packages, args[i+1:], nil
		case !strings.HasPrefix(args[i], "-"):
			return packages, args[i:], nil
		case slices.Contains(harmless, args[i]):
		case name == "-p" || name == "--package":
			if !has {
				if i++; i == len(args) {
					return nil, nil, fmt.Errorf("cannot find a package after %s", name)
				}
				value = args[i]
			}
			packages = append(packages, value)
		default:
			return nil, nil, fmt.Errorf("cannot pin a command with the option %s of npx", name)
		}
	}
	return packages, nil, nil
}

// cutVersion cuts at the @ that is not the one of a scope.
func cutVersion(spec string) (name, version string, found bool) {
	if i := strings.LastIndexByte(spec, '@'); i > 0 {
		return spec[:i], spec[i+1:], true
	}
	return spec, "", false
}
