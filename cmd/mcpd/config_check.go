package main

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/mcpd/mcpd/router/certs"
)

// checker finds what is well-formed and makes no sense. The rooms check their own parts; here is
// what concerns several of them.
type checker struct {
	*Config
	decoder  *decoder
	over     *overrides
	reserved []string
	found    Problems
}

func (c *checker) all() {
	c.domain()
	c.room("listen", c.Listen.Validate())
	c.room("tls", c.TLS.Validate())
	c.room("auth", c.Auth.Validate())
	c.log()
	c.room("budget", c.Budget.Validate())
	if problem := checkMetrics(c.Admin.Metrics); problem != "" {
		c.wrong("admin.metrics", problem)
	}
	if problem := checkTraces(c.Admin.Traces); problem != "" {
		c.wrong("admin.traces", problem)
	}
	c.door()
	for _, name := range slices.Sorted(maps.Keys(c.Servers)) {
		c.server(name, c.Servers[name])
	}
}

// door checks the listeners against what they are for.
func (c *checker) door() {
	listen := c.listen()
	if listen.Validate() != nil {
		return // of an address that cannot be read enough was said
	}
	switch {
	case c.local() && c.TLS.ModeFor(c.Domain) != certs.ModeOff:
		c.wrong("tls.mode", `must be "off" while domain is "localhost": that is served on loopback addresses without TLS`)
	case !c.tls() && listen.HTTPS != "none":
		c.wrong("listen.https", `must be "none" where there are no certificates: tls.mode is "off"`)
	case c.tls() && listen.HTTPS == "none":
		c.wrong("listen.https", "must be an address: with TLS there is the front door")
	case listen.Loopback():
		return
	case c.local():
		c.wrong("listen.http", "must be a loopback address such as \"localhost:8080\" while domain is \"localhost\"; to be reached from elsewhere, set domain to a name of yours")
	}
	if c.Auth.Mode == "none" && !listen.Loopback() {
		c.wrong("auth.mode", "\"none\" lets everybody in who can connect, so it needs listen.http to be a loopback address such as \"localhost:8080\"")
	}
}

func (c *checker) server(name string, s ServerConfig) {
	path := keyPath([]string{"servers", name})
	switch {
	case !isHostLabel(name):
		c.wrong(path, "a server's name is part of its address: small letters, digits and dashes only, no dash at either end, at most 63")
	case c.local() && slices.Contains(c.reserved, name):
		c.wrong(path, "the name is taken by the sign-in pages, which are at /"+name+" of the same origin; choose another")
	case !c.local() && name == issuerLabel:
		c.wrong(path, "the name is taken by the issuer, which is at auth."+c.Domain+"; choose another")
	}
	c.room(path, s.Config.Validate())
	c.room(path, s.Bridge.Validate())
	c.room(path, s.Check.Validate())
	for i, host := range s.Hosts {
		if err := c.host(name, i, host); err != nil {
			c.wrong(path+".hosts."+strconv.Itoa(i), err.Error())
		}
	}
	if s.Scopes != oneScope && s.Scopes != splitScopes {
		c.wrong(path+".scopes", fmt.Sprintf("must be %q or %q", oneScope, splitScopes))
	}
	for i, entry := range s.Allow {
		if err := checkAllow(entry); err != nil {
			c.wrong(path+".allow."+strconv.Itoa(i), err.Error())
		}
	}
}

// host checks one of a server's further hosts: a name of nobody else's here.
func (c *checker) host(server string, index int, host string) error {
	if c.local() {
		return errors.New(`needs a domain: with "localhost" everything is on one origin`)
	}
	labels := strings.Split(host, ".")
	if _, notIP := netip.ParseAddr(host); notIP == nil || len(host) > 253 || len(labels) < 2 || !allOf(labels, isHostLabel) {
		return errors.New(`must be a host name in small letters such as "search.example.com", without scheme, port or final dot`)
	}
	below, isBelow := strings.CutSuffix(host, "."+c.Domain)
	if _, taken := c.Servers[below]; host == c.Domain || isBelow && (taken || below == issuerLabel) {
		return errors.New("is a name that mcpd has already")
	}
	for other, s := range c.Servers {
		for i, h := range s.Hosts {
			if h == host && (other < server || other == server && i < index) {
				return errors.New("is a host of servers." + other + " already")
			}
		}
	}
	return nil
}

func (c *checker) domain() {
	if c.local() {
		return
	}
	_, notIP := netip.ParseAddr(c.Domain)
	labels := strings.Split(c.Domain, ".")
	switch {
	case notIP == nil || len(labels) < 2 || len(c.Domain) > 253-64 || !slices.ContainsFunc([]byte(labels[len(labels)-1]), isLetter):
		c.wrong("domain", `must be "localhost" or a name of yours such as "mcp.example.com"`)
	case !allOf(labels, isHostLabel):
		c.wrong("domain", `must be a host name in small letters such as "mcp.example.com", without scheme, port or final dot`)
	}
}

func (c *checker) log() {
	if levels := []string{"debug", "info", "warn", "error"}; !slices.Contains(levels, c.Log.Level) {
		c.wrong("log.level", `must be "debug", "info", "warn" or "error"`)
	}
	if formats := []string{"auto", "json", "console"}; !slices.Contains(formats, c.Log.Format) {
		c.wrong("log.format", `must be "auto", "json" or "console"`)
	}
	for key, path := range map[string]string{"log.file": c.Log.File, "log.dir": c.Log.Dir} {
		if path != "" && !filepath.IsAbs(path) {
			c.wrong(key, "must be an absolute path")
		}
	}
	if c.Log.Size < 64<<10 {
		c.wrong("log.size", "must be at least 64KiB")
	}
	if c.Log.Keep < 0 {
		c.wrong("log.keep", "must not be negative")
	}
}

// room takes over what a room says about its own part: errors whose text begins with the key.
func (c *checker) room(path string, err error) {
	if err == nil {
		return
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			c.room(path, e)
		}
		return
	}
	key, msg, ok := strings.Cut(err.Error(), ": ")
	if !ok || strings.ContainsAny(key, " \"") {
		c.wrong(path, err.Error())
		return
	}
	c.wrong(path+"."+listIndex.ReplaceAllString(key, ".$1"), msg)
}

// wrong notes a problem of a setting at the place where it was set, unless something was said
// about that setting already.
func (c *checker) wrong(key, msg string) {
	where := c.place(key)
	key = where.Key
	for _, p := range slices.Concat(c.decoder.problems, c.over.problems) {
		if p.Key == key || strings.HasPrefix(key, p.Key+".") || p.Key == c.misspelt(key, p) {
			return
		}
	}
	where.Msg = key + ": " + c.redact(msg)
	c.found = append(c.found, where)
}

// misspelt returns the problem's own key when it is an unknown key that was meant to be key: that
// "comand" is unknown says already why "command" is missing.
func (c *checker) misspelt(key string, p Problem) string {
	parent, name := cutLast(key)
	typo, wrote := cutLast(p.Key)
	if parent == typo && strings.HasPrefix(p.Msg, "unknown key ") && strings.HasSuffix(p.Msg, "did you mean "+strconv.Quote(name)+"?") && wrote != name {
		return p.Key
	}
	return ""
}

// place finds where a setting was set: by the environment or a flag, in the file, or for a server in
// [defaults]. A setting that is nowhere is missed at the table that should have it.
func (c *checker) place(key string) Problem {
	candidates := []string{key}
	if rest, ok := strings.CutPrefix(key, "servers."); ok {
		if _, rest, ok = strings.Cut(rest, "."); ok {
			candidates = append(candidates, "defaults."+rest)
		}
	}
	for _, k := range candidates {
		if source, ok := c.over.from[k]; ok {
			return Problem{File: source, Key: k}
		}
		if pos, ok := c.decoder.places[k]; ok {
			return Problem{File: c.decoder.file, Line: pos.line, Col: pos.col, Key: k}
		}
	}
	for k := key; k != ""; k, _ = cutLast(k) {
		if pos, ok := c.decoder.places[k]; ok {
			return Problem{File: c.decoder.file, Line: pos.line, Col: pos.col, Key: key}
		}
		if source, ok := c.over.from[k]; ok {
			return Problem{File: source, Key: key}
		}
	}
	return Problem{File: c.decoder.file, Key: key}
}

// listIndex is how Go writes what the file's paths write as args.1.
var listIndex = regexp.MustCompile(`\[(\d+)\]`)

// redact takes every inserted value out of a message: rooms quote what they refuse.
func (c *checker) redact(msg string) string {
	var values []string
	for _, layer := range []map[string][]string{c.decoder.secrets, c.over.secrets} {
		for _, v := range layer {
			values = append(values, v...)
		}
	}
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) })
	for _, v := range values {
		quoted := strconv.Quote(v)
		for _, form := range []string{v, quoted[1 : len(quoted)-1], fmt.Sprintf("%+q", v)} {
			msg = strings.ReplaceAll(msg, form, "***")
		}
	}
	return msg
}

func cutLast(key string) (parent, name string) {
	i := strings.LastIndexByte(key, '.')
	if i < 0 {
		return "", key
	}
	return key[:i], key[i+1:]
}

// isHostLabel is RFC 1123 §2.1 in small letters.
func isHostLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != '-' && !isLetter(c) && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' }

func allOf(list []string, ok func(string) bool) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !ok(s) })
}
