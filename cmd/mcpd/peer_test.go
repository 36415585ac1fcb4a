package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// peerMain is a stdio MCP server with the virtues and vices that the daemon's tests need:
//
//	echo {text}         says it back
//	pid                 its process id
//	sleep {ms}          answers after that time
//	exit {code, last}   writes last to stderr and exits
//	tell {who}          reports progress, asks, and answers, each for who
func peerMain(args []string) int {
	fs := flag.NewFlagSet("peer", flag.ContinueOnError)
	tag := fs.String("tag", "", "does nothing; a test finds its processes by it")
	crash := fs.String("crash", "", "write this to stderr and exit with code 3 at once")
	deaf := fs.Bool("deaf", false, "ignore the end of input and SIGTERM")
	fork := fs.Bool("fork", false, "start a child that ignores the end of input and SIGTERM, in the same process group")
	noise := fs.Bool("noise", false, "write lines to stdout that are not JSON")
	delay := fs.Duration("delay", 0, "wait this long before reading the first line")
	say := fs.String("say", "", "write this to stderr")
	vice := fs.String("vice", "", "one of vices")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	if *say != "" {
		fmt.Fprintln(os.Stderr, *say)
	}
	if *crash != "" {
		fmt.Fprintln(os.Stderr, *crash)
		return 3
	}
	if *deaf {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
	}
	if *fork {
		child := exec.Command(executable(), "-tag="+*tag, "-deaf", "-delay=1h")
		child.Args[0] = "peer"
		if err := child.Start(); err != nil {
			fmt.Fprintln(os.Stderr, "cannot fork:", err)
			return 1
		}
	}
	if *noise {
		fmt.Println("peer: starting up, and saying so in the wrong place")
	}
	<-time.After(*delay)
	if bad := vices[*vice]; bad != nil {
		bad(*tag)
	}
	err := newPeer().Run(context.Background(), &mcp.IOTransport{Reader: io.NopCloser(bufio.NewReader(os.Stdin)), Writer: nopWriteCloser{os.Stdout}})
	if *deaf {
		<-time.After(time.Hour)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintln(os.Stderr, "peer:", err)
	}
	return 0
}

func executable() string {
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

func newPeer() *mcp.Server {
	type echo struct {
		Text string `json:"text"`
	}
	type sleep struct {
		MS int `json:"ms"`
	}
	type exit struct {
		Code int    `json:"code"`
		Last string `json:"last"`
	}
	s := mcp.NewServer(&mcp.Implementation{Name: "peer", Version: "1"}, &mcp.ServerOptions{Capabilities: &mcp.ServerCapabilities{}})
	mcp.AddTool(s, &mcp.Tool{Name: "echo"}, func(_ context.Context, _ *mcp.CallToolRequest, in echo) (*mcp.CallToolResult, any, error) {
		return text("%s", in.Text), nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "pid", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return text("%d", os.Getpid()), nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "sleep"}, func(ctx context.Context, _ *mcp.CallToolRequest, in sleep) (*mcp.CallToolResult, any, error) {
		select {
		case <-time.After(time.Duration(in.MS) * time.Millisecond):
			return text("slept"), nil, nil
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	})
	mcp.AddTool(s, &mcp.Tool{Name: "tell"}, tell)
	mcp.AddTool(s, &mcp.Tool{Name: "exit"}, func(_ context.Context, _ *mcp.CallToolRequest, in exit) (*mcp.CallToolResult, any, error) {
		fmt.Fprintln(os.Stderr, in.Last)
		os.Exit(in.Code)
		return nil, nil, nil
	})
	return s
}

func tell(ctx context.Context, r *mcp.CallToolRequest, in struct {
	Who string `json:"who"`
}) (*mcp.CallToolResult, any, error) {
	err := r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: 1, Message: "for " + in.Who})
	if err != nil {
		return nil, nil, err
	}
	got, err := r.Session.Elicit(ctx, &mcp.ElicitParams{Message: "for " + in.Who, RequestedSchema: map[string]any{
		"type": "object", "properties": map[string]any{"by": map[string]any{"type": "string"}},
	}})
	if err != nil {
		return nil, nil, err
	}
	return text("for %s|%v|%d", in.Who, got.Content["by"], os.Getpid()), nil, nil
}

// descendants lists the live processes below a process, at any depth, that have a word among their arguments. Linux
// only; elsewhere it finds none.
func descendants(root int, word string) (pids []int) {
	parents := map[int]int{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range files {
		stat, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		// pid (command) state parent …; the command may hold anything, so count from its last bracket.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if len(fields) > 1 {
			parents[pid], _ = strconv.Atoi(fields[1])
		}
	}
	for pid := range parents {
		for p, steps := pid, 0; p > 1 && steps < 100; p, steps = parents[p], steps+1 {
			if p == root && pid != root && hasArgument(pid, word) && alive(pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// everywhere lists the live processes of the machine that have a word among their arguments; the word must be the test's own.
func everywhere(word string) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f))); hasArgument(pid, word) && alive(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func hasArgument(pid int, word string) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && slices.Contains(strings.Split(string(line), "\x00"), word)
}

// alive tells whether a process runs; a zombie does not.
func alive(pid int) bool {
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		after := string(stat[strings.LastIndexByte(string(stat), ')')+1:])
		return !strings.HasPrefix(strings.TrimSpace(after), "Z") && !strings.HasPrefix(strings.TrimSpace(after), "X")
	}
	return syscall.Kill(pid, 0) == nil
}
