package main

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// A file that is being written is waited for, and not for ever.
func TestAtRest(t *testing.T) {
	for name, tt := range map[string]struct {
		writes int // 10 ms apart, the first now
		age    time.Duration
		want   time.Duration
	}{
		"old":                {age: time.Hour, want: 0},
		"written now":        {writes: 1, want: restFor},
		"being written":      {writes: 6, want: 50*time.Millisecond + restFor},
		"for ever":           {writes: 1000, want: restLimit},
		"out of the future":  {age: -time.Hour, want: restLimit},
		"just old enough":    {age: restFor, want: 0},
		"a moment too young": {age: restFor - time.Millisecond, want: time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "servers.toml")
			touch := func(age time.Duration) {
				at := time.Now().Add(-age)
				if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
					t.Error(err)
				}
				if err := os.Chtimes(path, at, at); err != nil {
					t.Error(err)
				}
			}
			touch(tt.age)
			done := make(chan struct{})
			go func() { // ends with the last write
				defer close(done)
				for range tt.writes - 1 {
					time.Sleep(10 * time.Millisecond)
					touch(0)
				}
			}()
			began := time.Now()
			atRest(path)
			if took := time.Since(began); took < tt.want || took > tt.want+restFor {
				t.Errorf("%s: waited %v, want %v", name, took, tt.want)
			}
			<-done
			atRest(filepath.Join(t.TempDir(), "none"))
		})
	}
}
