package bridge

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestTidy: the specification's rules for annotations, each broken once. What
// is valid stays the bytes it was.
func TestTidy(t *testing.T) {
	schema := func(properties string) string {
		return `[{"name":"t","inputSchema":{"type":"object","properties":{` + properties + `}}}]`
	}
	for name, tc := range map[string]struct {
		in, out, header string
	}{
		"nothing":        {`[{"name":"t","inputSchema":{"type":"object"}}]`, "", ""},
		"string":         {schema(`"r":{"type":"string","x-mcp-header":"Region"}`), "", "Mcp-Param-Region"},
		"integer":        {schema(`"r":{"x-mcp-header":"R-1","type":"integer"}`), "", "Mcp-Param-R-1"},
		"boolean":        {schema(`"r":{"type":"boolean","x-mcp-header":"r"}`), "", "Mcp-Param-R"},
		"nested":         {schema(`"o":{"type":"object","properties":{"r":{"type":"string","x-mcp-header":"R"}}}`), "", "Mcp-Param-R"},
		"a name":         {schema(`"x-mcp-header":{"type":"string"}`), "", ""},
		"in data":        {schema(`"r":{"type":"object","default":{"x-mcp-header":7}}`), "", ""},
		"number":         {schema(`"r":{"type":"number","x-mcp-header":"R"}`), schema(`"r":{"type":"number"}`), ""},
		"no type":        {schema(`"r":{"x-mcp-header":"R"}`), schema(`"r":{}`), ""},
		"empty":          {schema(`"r":{"type":"string","x-mcp-header":""}`), schema(`"r":{"type":"string"}`), ""},
		"no string":      {schema(`"r":{"type":"string","x-mcp-header":7,"title":"R"}`), schema(`"r":{"type":"string","title":"R"}`), ""},
		"no token":       {schema(`"r":{"type":"string","x-mcp-header":"a b"}`), schema(`"r":{"type":"string"}`), ""},
		"line break":     {schema(`"r":{"type":"string","x-mcp-header":"a\r\nb"}`), schema(`"r":{"type":"string"}`), ""},
		"not ASCII":      {schema(`"r":{"type":"string","x-mcp-header":"é"}`), schema(`"r":{"type":"string"}`), ""},
		"twice":          {schema(`"r":{"type":"string","x-mcp-header":"R"},"s":{"type":"string","x-mcp-header":"r"}`), schema(`"r":{"type":"string","x-mcp-header":"R"},"s":{"type":"string"}`), "Mcp-Param-R"},
		"same key twice": {schema(`"r":{"type":"string","x-mcp-header":"R","x-mcp-header":"S"}`), schema(`"r":{"type":"string","x-mcp-header":"R"}`), "Mcp-Param-R"},
		"root":           {`[{"inputSchema":{"type":"string","x-mcp-header":"R"},"name":"t"}]`, `[{"inputSchema":{"type":"string"},"name":"t"}]`, ""},
		"items":          {schema(`"a":{"type":"array","items":{"type":"string","x-mcp-header":"R"}}`), schema(`"a":{"type":"array","items":{"type":"string"}}`), ""},
		"anyOf":          {schema(`"a":{"anyOf":[{"type":"string","x-mcp-header":"R"},true]}`), schema(`"a":{"anyOf":[{"type":"string"},true]}`), ""},
		"defs":           {`[{"name":"t","inputSchema":{"$defs":{"d":{"type":"string","x-mcp-header":"R"}}}}]`, `[{"name":"t","inputSchema":{"$defs":{"d":{"type":"string"}}}}]`, ""},
		"hidden":         {schema(`"r":{"type":"number","x\u002dmcp-header":"R"}`), schema(`"r":{"type":"number"}`), ""},
		"escaped, fine":  {schema(`"r":{"type":"string","title":"\u00e9"}`), "", ""},
		"task support":   {`[{"name":"t","execution":{"taskSupport":"optional","x":1},"inputSchema":{}}]`, `[{"name":"t","execution":{"x":1},"inputSchema":{}}]`, ""},
		"no tool":        {`[7,"x-mcp-header",{"inputSchema":"taskSupport"}]`, "", ""},
	} {
		if tc.out == "" {
			tc.out = tc.in
		}
		got := tidy([]byte(tc.in))
		if string(got.out) != tc.out {
			t.Errorf("%s:\n%s\nwant\n%s", name, got.out, tc.out)
		}
		found := got.found["t"]
		if (len(found) > 0) != (tc.header != "") || len(found) > 0 && found[0].header != tc.header {
			t.Errorf("%s: mirrors %+v, want %q", name, found, tc.header)
		}
	}
}

// TestTidyDepth: an annotation that lies deeper than the bridge looks is not
// published, for it would not be checked.
func TestTidyDepth(t *testing.T) {
	deep := `{"type":"string","x-mcp-header":"R"}`
	for range maxMirrored + 1 {
		deep = `{"type":"object","properties":{"o":` + deep + `}}`
	}
	got := tidy([]byte(`[{"name":"t","inputSchema":` + deep + `}]`))
	if strings.Contains(string(got.out), "x-mcp-header") || len(got.found) > 0 {
		t.Errorf("%s %v", got.out, got.found)
	}
}

// FuzzTidy: a valid list stays one, and a second pass finds nothing to do.
func FuzzTidy(f *testing.F) {
	f.Add(`[{"name":"t","execution":{"taskSupport":"required"},"inputSchema":{"type":"object","properties":{"r":{"type":"string","x-mcp-header":"R"},"s":{"items":[{"x-mcp-header":"r"}]}}}}]`)
	f.Add(`[ {"inputSchema": {"properties" : {"a" : {"x-mcp-header":"A" , "type":"integer"}, "b":{"oneOf":[]}}}} , 1 ]`)
	f.Fuzz(func(t *testing.T, in string) {
		s := scanner{b: []byte(in)}
		if s.peek() != '[' || !s.value() || !s.end() || s.i != len(in) || in[0] != '[' {
			t.Skip()
		}
		first := tidy([]byte(in))
		if !json.Valid(first.out) {
			t.Fatalf("%q became %q", in, first.out)
		}
		if again := tidy(first.out); string(again.out) != string(first.out) {
			t.Fatalf("%q, then %q", first.out, again.out)
		}
	})
}

// TestListsKnowsNames: a tool is known once any list had it, and there is an end to what is remembered.
func TestListsKnowsNames(t *testing.T) {
	s := &Server{}
	yes := func() bool { return true }
	if s.Lists("a") {
		t.Error("knows a tool before any list")
	}
	s.catalogue.put("", toolListing, &stocked{items: []byte(`[{"name":"a"},{"name":"\u0062"},{"title":"c"},{"name":7},{"name":""},8,{"name":"` + strings.Repeat("x", maxName+1) + `"}]`)}, yes)
	s.catalogue.put("", promptListing, &stocked{items: []byte(`[{"name":"p"}]`)}, yes)
	s.catalogue.put("other", toolListing, &stocked{items: []byte(`[{"name":"d"}]`)}, yes)
	s.catalogue.put("", toolListing, &stocked{items: []byte(`[]`)}, yes)
	for name, want := range map[string]bool{"a": true, "b": true, "d": true, "c": false, "p": false, "7": false, "": false, strings.Repeat("x", maxName+1): false} {
		if s.Lists(name) != want {
			t.Errorf("Lists(%q) = %v", name, !want)
		}
	}
	var many []string
	for i := range 2 * maxNamed {
		many = append(many, fmt.Sprintf(`{"name":"t%d"}`, i))
	}
	s.catalogue.put("", toolListing, &stocked{items: []byte("[" + strings.Join(many, ",") + "]")}, yes)
	if n := len(*s.catalogue.named.Load()); n != maxNamed {
		t.Errorf("%d names are kept, want %d", n, maxNamed)
	}
}

func TestScanNotesIsError(t *testing.T) {
	for result, want := range map[string]bool{
		`{"isError":true}`: true, `{"content":[],"isError" : true }`: true, `{"isError":false}`: false, `{}`: false, `{"isError":"t"}`: false,
		`{"structuredContent":{"isError":true}}`: false, `[]`: false,
	} {
		var e envelope
		if err := e.scan([]byte(`{"jsonrpc":"2.0","id":1,"result":` + result + `}`)); err != nil || e.failed != want {
			t.Errorf("%s: %v, %v", result, e.failed, err)
		}
	}
}
