package supervisor

import (
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// inherited says which of mcpd's own variables every child gets: what a program needs to find its
// files, its language and its way to the network. Nothing else passes by itself, so that one
// server never sees another's key. The proxy variables exist in both cases because programs
// disagree about which they read.
func inherited(name string) bool {
	switch name {
	case "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
		"http_proxy", "https_proxy", "no_proxy", "all_proxy",
		"NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR":
		return true
	}
	return strings.HasPrefix(name, "LC_")
}

// private says which variables are about mcpd itself. A child that got NOTIFY_SOCKET could speak
// to systemd in mcpd's name, so no wildcard passes these on.
func private(name string) bool {
	switch name {
	case "NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID",
		"WATCHDOG_USEC", "MAINPID", "INVOCATION_ID", "JOURNAL_STREAM", "CREDENTIALS_DIRECTORY":
		return true
	}
	return strings.HasPrefix(name, "MCPD_")
}

// environ is the sorted environment of a child: the inherited variables of own, then those that
// pass_env names, then the entry's own, which win.
func environ(c Config, own []string) []string {
	vars := make(map[string]string)
	for _, kv := range own {
		name, value, ok := strings.Cut(kv, "=")
		if ok && (inherited(name) || passed(name, c.PassEnv)) {
			vars[name] = value
		}
	}
	for name, value := range c.Env {
		vars[name] = value
	}
	if launchesNPM(c.Command) {
		preset(vars, "npm_config_prefer_offline", "true")
		preset(vars, "npm_config_update_notifier", "false")
		preset(vars, "npm_config_fetch_retries", "1") // by default it gives up after 70 seconds
		preset(vars, "npm_config_fetch_retry_mintimeout", "1000")
		if c.Pin && !c.InstallScripts { // what is not pinned after all gets no more leave to run things
			preset(vars, "npm_config_ignore_scripts", "true")
		}
	}
	list := make([]string, 0, len(vars))
	for name, value := range vars {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}

func passed(name string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if p == name {
			return true
		}
		ok, err := path.Match(p, name)
		return ok && err == nil && !private(name)
	})
}

// launchesNPM tells whether the command goes through npm. With stale metadata and no network, npx
// stands still for minutes before it runs what it has had on disk all the time; told to prefer
// what it has, it starts within a second.
func launchesNPM(command string) bool {
	base := filepath.Base(command)
	return base == "npx" || base == "npm"
}

// preset sets a default. npm reads its variables in any case of letters.
func preset(vars map[string]string, name, value string) {
	for have := range vars {
		if strings.EqualFold(have, name) {
			return
		}
	}
	vars[name] = value
}

// passwords finds those of the proxies, which programs like to print when they cannot reach one.
func passwords(environ []string) (found []string) {
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasSuffix(strings.ToLower(name), "_proxy") {
			continue
		}
		if u, err := url.Parse(value); err == nil {
			if password, ok := u.User.Password(); ok {
				found = append(found, password)
			}
		}
	}
	return found
}
