package main

import (
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// serviceManager is the end of sd_notify(3) that systemd has.
type serviceManager struct {
	t    *testing.T
	path string
	said chan string // kept apart from the socket, which holds few messages and then makes mcpd wait
}

func newServiceManager(t *testing.T) *serviceManager {
	dir, err := os.MkdirTemp("", "sd") // short, for the socket's address
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	m := &serviceManager{t, path, make(chan string, 4096)}
	go func() { // ends when conn is closed
		defer close(m.said)
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			m.said <- string(buf[:n])
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		for range m.said { // until the reader has ended
		}
		_ = os.RemoveAll(dir)
	})
	return m
}

// expect reads messages until one is the wanted one; only those of the watchdog may come before it.
func (m *serviceManager) expect(want string) {
	m.t.Helper()
	whole := regexp.MustCompile("^" + want + "$")
	late := time.After(30 * time.Second)
	for {
		select {
		case got := <-m.said:
			if whole.MatchString(got) {
				return
			}
			if got != "WATCHDOG=1" {
				m.t.Fatalf("mcpd said %q, want %q", got, want)
			}
		case <-late:
			m.t.Fatalf("mcpd did not say %q", want)
		}
	}
}

func TestServiceManagerIsTold(t *testing.T) {
	t.Parallel()
	m := newServiceManager(t)
	d := newInstance(t, "[servers.demo]\ncommand = \"mcpd\"\nargs = [\"demo-server\"]\n", "NOTIFY_SOCKET="+m.path, "WATCHDOG_USEC=300000")
	d.start()
	m.expect(`READY=1\nSTATUS=serving 1 servers on 127\.0\.0\.1:\d+`)
	m.expect("WATCHDOG=1")
	m.expect("WATCHDOG=1")

	reloading := `RELOADING=1\nMONOTONIC_USEC=\d+`
	d.must("reload")
	m.expect(reloading)
	m.expect(`READY=1\nSTATUS=serving 1 servers on .*`)

	d.configure("[servers.demo]\ncomand = \"mcpd\"\n")
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	m.expect(reloading)
	m.expect(`READY=1\nSTATUS=serving 1 servers on .*; the last reload was refused: .*servers\.toml:2:1: unknown key "servers\.demo\.comand".*`)

	d.stop()
	m.expect("STOPPING=1")
}

// A socket that the service manager holds stays open over a restart: whoever comes meanwhile waits and is answered.
func TestRestartThroughThePassedSocket(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := newInstance(t, "[auth]\nmode = \"none\"\n[servers.demo]\ncommand = \"mcpd\"\nargs = [\"demo-server\"]\n", "MCPD_LISTEN__HTTP="+l.Addr().String())
	if d.socket, err = l.(*net.TCPListener).File(); err != nil {
		t.Fatal(err)
	}
	defer d.socket.Close()
	d.start()
	if got := d.status().Listen.HTTP; got != l.Addr().String() {
		t.Fatalf("mcpd listens on %s, not on the socket that was passed", got)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"restart","version":"1"}}}`
	d.throughRestart(func() error {
		req, err := http.NewRequest(http.MethodPost, "http://"+l.Addr().String()+"/demo/mcp", strings.NewReader(initialize))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		return nil
	})
}

// throughRestart restarts the daemon while one request follows another, at least thirty of them, and none fails.
func (d *instance) throughRestart(request func() error) {
	d.t.Helper()
	first := d.cmd.Process.Pid
	restarted := make(chan struct{})
	go func() { // ends with the loop below, which waits for it
		defer close(restarted)
		d.stop()
		d.start()
	}()
	for n, over := 0, false; n < 30 || !over; n++ {
		if err := request(); err != nil {
			d.t.Errorf("request %d: %v", n, err)
		}
		select {
		case <-restarted:
			over = true
		default:
		}
	}
	if d.cmd.Process.Pid == first {
		d.t.Error("the same process serves: nothing was restarted")
	}
}

// Sockets that fit no address of [listen], or open it wider than it says, are refused with a sentence.
func TestPassedSocketsThatDoNotFit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, socket, listen, want string }{
		{"another port", "127.0.0.1:0", "localhost:1", "no address in [listen] has its port; where [listen] has changed, `mcpd service install`"},
		{"wider than loopback", "0.0.0.0:0", "localhost:PORT", "can be reached from other machines"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp4", tt.socket)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			_, port, _ := net.SplitHostPort(l.Addr().String())
			d := newInstance(t, "", "MCPD_LISTEN__HTTP="+strings.ReplaceAll(tt.listen, "PORT", port))
			if d.socket, err = l.(*net.TCPListener).File(); err != nil {
				t.Fatal(err)
			}
			defer d.socket.Close()
			d.launch()
			if !d.ended(20*time.Second) || d.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(d.log.String(), tt.want) {
				t.Errorf("%v\n%s", d.cmd.ProcessState, d.log)
			}
		})
	}
}
