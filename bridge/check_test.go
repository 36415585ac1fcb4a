package bridge

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A check tells what is wrong, spares who is at work, and ends a worker that gives no answer twice in a row.
func TestCheck(t *testing.T) {
	for name, tt := range map[string]struct {
		says    func(id, method string) string // "": nothing
		tool    string
		want    string
		endedBy int // checks after which the worker is ended; 0: never
	}{
		"list":            {says: func(id, _ string) string { return answerTo(id) }},
		"no tools at all": {says: func(id, _ string) string { return errorTo(id) }},
		"tool":            {says: func(id, _ string) string { return resultTo(id, `{"content":[]}`) }, tool: "t"},
		"tool that fails": {says: func(id, _ string) string { return resultTo(id, `{"content":[],"isError":true}`) }, tool: "t", want: "t says that it failed"},
		"no such tool":    {says: func(id, _ string) string { return errorTo(id) }, tool: "t", want: "t: no"},
		"silence":         {says: func(string, string) string { return "" }, want: "no answer to tools/list", endedBy: 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			cfg := DefaultConfig()
			s, c := openOn(t, cfg, script(func(c net.Conn, id, method string) { _, _ = io.WriteString(c, tt.says(id, method)) }))
			defer func() { _ = s.Close(t.Context()) }()
			for n := 1; n <= 3; n++ {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				asked, err := s.Check(ctx, tt.tool, `{"a":1}`)
				cancel()
				synctest.Wait()
				ended := tt.endedBy > 0 && n > tt.endedBy
				if ended != (asked == 0) || !ended && ((err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want)) {
					t.Errorf("%s: check %d asked %d: %v, want %q", name, n, asked, err, tt.want)
				}
				if gone := tt.endedBy > 0 && n >= tt.endedBy; gone != (c.Err() != nil) {
					t.Errorf("%s: after check %d the connection ended: %v", name, n, c.Err())
				}
			}
		})
	}
}

func resultTo(id, result string) string {
	return `{"jsonrpc":"2.0","id":` + id + `,"result":` + result + "}\n"
}

func errorTo(id string) string {
	return `{"jsonrpc":"2.0","id":` + id + `,"error":{"code":-32601,"message":"no"}}` + "\n"
}
