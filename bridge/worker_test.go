package bridge

import (
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
)

// mirror is a worker that answers out of order, with progress, a log line and
// now and then a death. Every frame it writes names whom it is for.
func mirror(key string, shared bool) func(net.Conn) {
	return func(c net.Conn) {
		rng := rand.New(rand.NewPCG(1, uint64(len(key))))
		var mu sync.Mutex
		var late []string
		out := make(chan string, 4096)
		var wg sync.WaitGroup
		wg.Go(func() { // ends when out is closed
			for l := range out {
				_, _ = io.WriteString(c, l+"\n")
			}
		})
		calls := 0
		eachLine(c, func(line []byte) {
			var e envelope
			if e.scan(line) != nil || e.kind != kindRequest {
				return
			}
			id := string(e.id.of(line))
			m := string(text(e.method.of(line)))
			switch m {
			case "initialize":
				out <- `{"jsonrpc":"2.0","id":` + id + `,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"logging":{}},"serverInfo":{"name":"w","version":"1"}}}`
				return
			case "tools/list", "logging/setLevel":
				out <- `{"jsonrpc":"2.0","id":` + id + `,"result":{"tools":[]}}`
				return
			}
			calls++
			who := string(text(memberOf(line, e.args, "who").of(line)))
			if !shared && calls == 200 {
				c.Close()
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if e.progress.ok() {
				out <- `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":` + string(e.progress.of(line)) + `,"progress":1,"message":"for ` + who + `"}}`
			}
			out <- `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"for ` + strings.SplitN(who, "/", 2)[0] + `/"}}`
			late = append(late, `{"jsonrpc":"2.0","id":`+id+`,"result":{"content":[{"type":"text","text":"for `+who+`"}]}}`)
			for len(late) > 0 && rng.IntN(3) > 0 {
				i := rng.IntN(len(late))
				out <- late[i]
				late = append(late[:i], late[i+1:]...)
			}
			if len(late) > 1 { // nobody waits for ever
				out <- late[0]
				late = late[1:]
			}
			if calls%7 == 0 || len(late) == 1 {
				for _, l := range late {
					out <- l
				}
				late = nil
			}
		})
		close(out)
		wg.Wait()
	}
}
