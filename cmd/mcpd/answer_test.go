package main

import (
	"bufio"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestAnswerer(t *testing.T) {
	form := map[string]any{"type": "object", "required": []string{"name"}, "properties": map[string]any{
		"name": map[string]any{"type": "string", "title": "Name"},
		"age":  map[string]any{"type": "integer"},
		"size": map[string]any{"type": "string", "enum": []string{"s", "m"}},
		"spam": map[string]any{"type": "boolean"},
	}}
	for _, tt := range []struct {
		name, typed, action string
		content             map[string]any
	}{
		{"all, in the order of the names", "42\nAda\nm\nyes\n", "accept", map[string]any{"age": int64(42), "name": "Ada", "size": "m", "spam": true}},
		{"wrong ones are asked again", "old\n42\nAda\nxl\ns\nmaybe\nno\n", "accept", map[string]any{"age": int64(42), "name": "Ada", "size": "s", "spam": false}},
		{"optional ones may be left out", "\nAda\n\n\n", "accept", map[string]any{"name": "Ada"}},
		{"a required one declines", "\n\n", "decline", nil},
		{"the end of input cancels", "42\n", "cancel", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := &answerer{in: bufio.NewReader(strings.NewReader(tt.typed)), out: io.Discard}
			res, err := a.elicit(t.Context(), &mcp.ElicitRequest{Params: &mcp.ElicitParams{Message: "Who?", RequestedSchema: form}})
			if err != nil {
				t.Fatal(err)
			}
			if res.Action != tt.action || !reflect.DeepEqual(res.Content, tt.content) {
				t.Errorf("got %s %v, want %s %v", res.Action, res.Content, tt.action, tt.content)
			}
		})
	}
}
