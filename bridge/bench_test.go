package bridge

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The test binary is also the child of the benchmarks.
func TestMain(m *testing.M) {
	if os.Getenv("MCPD_BRIDGE_ECHO") != "" {
		echoChild()
		return
	}
	os.Exit(m.Run())
}

// echoChild answers everything with a small result, fast.
func echoChild() {
	in := bufio.NewReaderSize(os.Stdin, 64<<10)
	var e envelope
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		if e.scan(line) != nil || !e.id.ok() {
			continue
		}
		out := append([]byte(nil), `{"jsonrpc":"2.0","id":`...)
		out = append(out, e.id.of(line)...)
		switch string(text(e.method.of(line))) {
		case "initialize":
			out = append(out, `,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"e","version":"1"}}}`...)
		case "tools/list":
			out = append(out, `,"result":{"tools":[]}}`...)
		default:
			out = append(out, `,"result":{"content":[{"type":"text","text":`...)
			out = append(out, memberOf(line, e.args, "text").of(line)...)
			out = append(out, `}]}}`...)
		}
		os.Stdout.Write(append(out, '\n'))
	}
}

type child struct {
	io.Reader
	in  *os.File
	cmd *exec.Cmd
}

func (c child) Write(b []byte) (int, error)        { return c.in.Write(b) }
func (c child) SetWriteDeadline(t time.Time) error { return c.in.SetWriteDeadline(t) }
func (c child) Close() error                       { return c.in.Close() }

func startChild(b *testing.B) child {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "MCPD_BRIDGE_ECHO=1")
	r, in, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	cmd.Stdin = r
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	r.Close()
	b.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	return child{out, in, cmd}
}

// floorHandler does the least that can be done: find the id, hand the bytes
// on, hand the answer back.
func floorHandler(c child) http.Handler {
	var mu, wmu sync.Mutex
	waits := map[uint64]chan []byte{}
	var next atomic.Uint64
	go func() { // ends with the child
		in := bufio.NewReaderSize(c, 64<<10)
		for {
			line, err := in.ReadBytes('\n')
			if err != nil {
				return
			}
			at := bytes.Index(line, []byte(`"id":`)) + 5
			end := at + bytes.IndexByte(line[at:], ',')
			n, _ := strconv.ParseUint(string(line[at:end]), 10, 64)
			mu.Lock()
			ch := waits[n]
			delete(waits, n)
			mu.Unlock()
			if ch != nil {
				ch <- line
			}
		}
	}()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		at := bytes.Index(b, []byte(`"id":`)) + 5
		end := at + bytes.IndexByte(b[at:], ',')
		n, ch := next.Add(1), make(chan []byte, 1)
		mu.Lock()
		waits[n] = ch
		mu.Unlock()
		line := append(strconv.AppendUint(append([]byte(nil), b[:at]...), n, 10), b[end:]...)
		wmu.Lock()
		_, _ = c.in.Write(append(line, '\n'))
		wmu.Unlock()
		out := <-ch
		w.Header()["Content-Type"] = []string{"application/json"}
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(out))}
		_, _ = w.Write(out)
	})
}

// rawClient is a cheap HTTP/1.1 client on one connection.
type rawClient struct {
	c net.Conn
	r *bufio.Reader
}

func (c *rawClient) do(request []byte) error {
	if _, err := c.c.Write(request); err != nil {
		return err
	}
	size := -1
	for first := true; ; first = false {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.Contains(line, []byte(" 200 ")) {
			return fmt.Errorf("answered %s", line)
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			size, _ = strconv.Atoi(string(bytes.TrimSpace(v)))
		}
		if len(line) == 2 {
			break
		}
	}
	_, err := c.r.Discard(size)
	return err
}

func httpRequest(body string, headers ...string) []byte {
	return []byte("POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n" +
		strings.Join(headers, "") + "Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
}

var benchText = strings.Repeat("x", 64)

func modernRequest() []byte {
	return httpRequest(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"text":"`+benchText+`"},"_meta":{"`+metaVersion+`":"`+modernVersion+`","`+metaCaps+`":{}}}}`,
		"Mcp-Protocol-Version: 2026-07-28\r\n", "Mcp-Method: tools/call\r\n", "Mcp-Name: echo\r\n")
}

func sessionRequest(b *testing.B, s *Server) []byte {
	r := httptest.NewRequest("POST", "/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	id := w.Header().Get("Mcp-Session-Id")
	if id == "" {
		b.Fatal(w.Body.String())
	}
	return httpRequest(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"text":"`+benchText+`"}}}`,
		"Mcp-Protocol-Version: 2025-11-25\r\n", "Mcp-Session-Id: "+id+"\r\n")
}

func drive(b *testing.B, h http.Handler, request []byte, callers int) {
	web := httptest.NewServer(h)
	defer web.Close()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			c, err := net.Dial("tcp", web.Listener.Addr().String())
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			rc := &rawClient{c, bufio.NewReader(c)}
			for left.Add(-1) >= 0 {
				if err := rc.do(request); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
}

// BenchmarkCall is one echo over loopback HTTP and a real child's pipes. The
// ratio of the others to floor is what the protocol costs.
func BenchmarkCall(b *testing.B) {
	cfg := DefaultConfig()
	cfg.Era, cfg.Isolation = "legacy", "shared"
	for _, callers := range []int{1, 32} {
		name := fmt.Sprintf("c=%d", callers)
		b.Run("floor/"+name, func(b *testing.B) {
			drive(b, floorHandler(startChild(b)), sessionLess(), callers)
		})
		b.Run("stateless/"+name, func(b *testing.B) {
			s := testServer(b, cfg, nil, func(string) io.ReadWriteCloser { return startChild(b) })
			drive(b, s, modernRequest(), callers)
			_ = s.Close(b.Context())
		})
		b.Run("session/"+name, func(b *testing.B) {
			s := testServer(b, cfg, nil, func(string) io.ReadWriteCloser { return startChild(b) })
			drive(b, s, sessionRequest(b, s), callers)
			_ = s.Close(b.Context())
		})
	}
}

func sessionLess() []byte {
	return httpRequest(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"text":"` + benchText + `"}}}`)
}

func BenchmarkScan(b *testing.B) {
	small := []byte(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"text":"` + benchText + `"},"_meta":{"` + metaVersion + `":"` + modernVersion + `","` + metaCaps + `":{},"progressToken":1}}}`)
	large := []byte(`{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"` + strings.Repeat("0123456789abcdef", 1<<16) + `"}]}}`)
	for name, msg := range map[string][]byte{"request": small, "1MiB": large} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			var e envelope
			for b.Loop() {
				if err := e.scan(msg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpenSession(b *testing.B) {
	s := testServer(b, DefaultConfig(), nil, nil)
	id := s.sealSession(&session{id: newSID(), created: time.Now(), version: latestLegacy, who: "usr_1", info: []byte(`{"name":"bench","version":"1"}`), caps: []byte(`{}`)})
	b.ReportAllocs()
	for b.Loop() {
		var v session
		if err := s.openSession(id, "usr_1", &v); err != nil {
			b.Fatal(err)
		}
	}
}
