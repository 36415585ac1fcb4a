package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/mcpd/mcpd/supervisor"
	"github.com/mcpd/mcpd/supervisor/pin"
)

// catalogue is what a server lists, by "tool echo" and the like: for a tool the properties that its input must have.
type catalogue map[string][]string

// survey starts a version that was installed, for no other purpose than to ask what it has.
func (d *daemon) survey(ctx context.Context, t *tenant, w pin.Wish, p pin.Pin) (catalogue, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, trialTime, fmt.Errorf("no answer within %v", trialTime))
	defer cancel()
	program, err := d.pins.Program(w, p)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, version := range []string{"2025-11-25", ""} { // nearly all know the first; then those that know only what is newer
		c, err := d.ask(ctx, pinnedSpec(t.spec, program), version)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return nil, errs[0]
}

// ask starts a process and lists what it has, in one revision of the protocol; "" is the newest.
func (d *daemon) ask(ctx context.Context, spec supervisor.Spec, version string) (catalogue, error) {
	pipes, err := d.supervisor.Spawn(ctx, spec)
	if err != nil {
		return nil, err
	}
	defer pipes.Close()
	client := mcp.NewClient(&mcp.Implementation{Name: "mcpd-update", Version: readBuild().Version}, &mcp.ClientOptions{Capabilities: &mcp.ClientCapabilities{}})
	session, err := client.Connect(ctx, &mcp.IOTransport{Reader: pipes, Writer: pipes}, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		return nil, fmt.Errorf("cannot open a session: %w", err)
	}
	defer session.Close()
	c := catalogue{}
	has := session.InitializeResult().Capabilities
	if has.Tools != nil {
		err = each(session.Tools(ctx, nil), func(t *mcp.Tool) { c["tool "+t.Name] = mustHave(t.InputSchema) })
	}
	if err == nil && has.Prompts != nil {
		err = each(session.Prompts(ctx, nil), func(p *mcp.Prompt) { c["prompt "+p.Name] = nil })
	}
	if err == nil && has.Resources != nil {
		err = each(session.Resources(ctx, nil), func(r *mcp.Resource) { c["resource "+r.URI] = nil })
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list what it has: %w", err)
	}
	return c, nil
}

func each[T any](list iter.Seq2[*T, error], add func(*T)) error {
	for v, err := range list {
		if err != nil {
			return err
		}
		add(v)
	}
	return nil
}

// mustHave is the properties that a JSON schema demands, sorted.
func mustHave(schema any) (names []string) {
	data, err := json.Marshal(schema)
	if err != nil {
		return nil
	}
	var s struct {
		Required []string `json:"required"`
	}
	if json.NewDecoder(bytes.NewReader(data)).Decode(&s) != nil {
		return nil
	}
	return s.Required
}

// catalogueDiff is how one version's catalogue differs from another's.
type catalogueDiff struct {
	more, less []string // by name
	stricter   []string // tools that demand more than before
}

func (c catalogue) diff(is catalogue) (d catalogueDiff) {
	for _, name := range sortedNames(c) {
		needs, ok := is[name]
		if !ok {
			d.less = append(d.less, name)
			continue
		}
		if extra := without(needs, c[name]); len(extra) > 0 {
			d.stricter = append(d.stricter, fmt.Sprintf("%s without %s", name, strings.Join(extra, ", ")))
		}
	}
	d.more = without(sortedNames(is), sortedNames(c))
	return d
}

// lost is what callers of before will miss.
func (d catalogueDiff) lost() string {
	return strings.Join(append(append([]string{}, d.less...), d.stricter...), "; ")
}

func (d catalogueDiff) lines() (out []string) {
	for _, n := range d.more {
		out = append(out, "+ "+n)
	}
	for _, n := range d.less {
		out = append(out, "- "+n)
	}
	for _, n := range d.stricter {
		out = append(out, "! no "+n+" any more")
	}
	return out
}

func sortedNames(c catalogue) []string { return slices.Sorted(maps.Keys(c)) }

// without are the words of list that are not in other.
func without(list, other []string) (rest []string) {
	for _, w := range list {
		if !slices.Contains(other, w) {
			rest = append(rest, w)
		}
	}
	return rest
}
