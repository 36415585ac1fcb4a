package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

func TestLogFileRotates(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	line := func(i int) Line {
		return Line{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Worker: 7, Text: fmt.Sprintf("line %03d", i)}
	}
	const width = len("2026-01-02T03:04:05.000Z [7] line 000\n")
	f := newLogFile(LogFiles{Dir: dir, Size: 10 * int64(width), Keep: 2}, "a", zap.NewNop())
	for i := range 35 {
		f.write(line(i))
		if i == 17 { // as a restart of mcpd does
			f.close()
			f = newLogFile(LogFiles{Dir: dir, Size: 10 * int64(width), Keep: 2}, "a", zap.NewNop())
		}
	}
	f.close()
	for name, want := range map[string][2]int{"a.log": {30, 5}, "a.log.1": {20, 10}, "a.log.2": {10, 10}} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if first := fmt.Sprintf("2026-01-02T03:04:05.000Z [7] line %03d\n", want[0]); !strings.HasPrefix(string(data), first) || len(data) != want[1]*width {
			t.Errorf("%s has %d bytes and begins with %.40q, want %d lines from %q", name, len(data), data, want[1], first)
		}
		if info, _ := os.Stat(filepath.Join(dir, name)); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "a.log.3")); !os.IsNotExist(err) {
		t.Error("a third older file is kept")
	}
}

// A folder that cannot be written costs lines and nothing else.
func TestLogFileFails(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := newLogFile(LogFiles{Dir: filepath.Join(blocked, "logs"), Size: 100, Keep: 1}, "a", zap.NewNop())
	f.write(Line{Text: "lost"})
	f.close()
	var none *logFile
	none.write(Line{Text: "nowhere"})
	none.close()
}

func TestChildrensLinesGoToTheFile(t *testing.T) {
	dir := t.TempDir()
	s := New[*lineConn](Options{LogFiles: LogFiles{Dir: dir, Size: 1 << 20, Keep: 1}})
	apply(t, s, childSpec(t, "secret", func(c *Config) { c.Env["SECRET"] = "hunter2-secret" }))
	sp := childSpec(t, "secret", func(c *Config) { c.Env["SECRET"] = "hunter2-secret" })
	sp.Secrets = []string{"hunter2-secret"}
	apply(t, s, sp)
	_, release := acquire(t, s, "secret", "alice")
	release()
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "secret.log"))
	if err != nil || !strings.Contains(string(data), "the key is ***\n") {
		t.Errorf("file: %q, %v", data, err)
	}
}
