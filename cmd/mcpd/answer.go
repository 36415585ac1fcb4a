package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// answerer answers a server's questions by asking the person at the terminal.
type answerer struct {
	in  *bufio.Reader
	out io.Writer
}

// field is one property of a form (MCP elicitation, restricted JSON schema: flat, primitive).
type field struct {
	Type        string   `json:"type"`
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Enum        []string `json:"enum"`
}

// elicit asks for every field of the form in turn. An empty line skips an optional field, and declines at a required one.
func (a *answerer) elicit(_ context.Context, req *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
	fmt.Fprintf(a.out, "The server asks: %s\n", req.Params.Message)
	if req.Params.URL != "" {
		fmt.Fprintf(a.out, "Open this page, then press Enter: %s\n", req.Params.URL)
		if _, err := a.in.ReadString('\n'); err != nil {
			return &mcp.ElicitResult{Action: "cancel"}, nil
		}
		return &mcp.ElicitResult{Action: "accept"}, nil
	}
	var form struct {
		Properties map[string]field `json:"properties"`
		Required   []string         `json:"required"`
	}
	raw, err := json.Marshal(req.Params.RequestedSchema)
	if err == nil {
		err = json.Unmarshal(raw, &form)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the server's form: %w", err)
	}
	content := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(form.Properties)) {
		f := form.Properties[name]
		v, action := a.ask(cmp.Or(f.Title, name), f, slices.Contains(form.Required, name))
		if action != "accept" {
			return &mcp.ElicitResult{Action: action}, nil
		}
		if v != nil {
			content[name] = v
		}
	}
	return &mcp.ElicitResult{Action: "accept", Content: content}, nil
}

// ask asks until the answer fits the field's type. The action is "cancel" when the input ends.
func (a *answerer) ask(label string, f field, required bool) (v any, action string) {
	for {
		fmt.Fprintf(a.out, "  %s%s: ", label, f.hint(required))
		line, err := a.in.ReadString('\n')
		if err != nil {
			return nil, "cancel"
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			if required {
				return nil, "decline"
			}
			return nil, "accept"
		}
		if v, ok := f.parse(line); ok {
			return v, "accept"
		}
		fmt.Fprintln(a.out, "  that does not fit")
	}
}

func (f field) hint(required bool) string {
	var parts []string
	switch {
	case len(f.Enum) > 0:
		parts = append(parts, strings.Join(f.Enum, " | "))
	case f.Type == "boolean":
		parts = append(parts, "yes | no")
	case f.Type != "string":
		parts = append(parts, f.Type)
	}
	if !required {
		parts = append(parts, "optional")
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func (f field) parse(line string) (any, bool) {
	switch f.Type {
	case "boolean":
		v, ok := map[string]bool{"yes": true, "y": true, "true": true, "no": false, "n": false, "false": false}[strings.ToLower(line)]
		return v, ok
	case "integer":
		n, err := strconv.ParseInt(line, 10, 64)
		return n, err == nil
	case "number":
		n, err := strconv.ParseFloat(line, 64)
		return n, err == nil
	}
	return line, len(f.Enum) == 0 || slices.Contains(f.Enum, line)
}
