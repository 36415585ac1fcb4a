package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"go.uber.org/zap"
)

// LogFiles says where the lines of servers are kept beyond what is kept in memory: one file per
// server, NAME.log in Dir, and older ones beside it, NAME.log.1 being the youngest of them.
type LogFiles struct {
	Dir  string // default: none, and no files
	Size int64  // bytes after which a file becomes an older one
	Keep int    // how many older ones there are
}

// logFile is where one server's lines go. It never fails: a disk that is full must not stop a server.
type logFile struct {
	file *Rotating
	log  *zap.Logger

	mu      sync.Mutex
	failing bool // guarded by mu; has been told of
}

func newLogFile(f LogFiles, server string, log *zap.Logger) *logFile {
	if f.Dir == "" {
		return nil
	}
	return &logFile{file: &Rotating{Path: filepath.Join(f.Dir, server+".log"), Size: f.Size, Keep: f.Keep}, log: log}
}

func (f *logFile) write(l Line) {
	if f == nil {
		return
	}
	_, err := fmt.Fprintf(f.file, "%s [%d] %s\n", l.Time.Format("2006-01-02T15:04:05.000Z07:00"), l.Worker, l.Text)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && !f.failing {
		f.log.Warn("cannot write the server's lines to its file", zap.Error(err))
	}
	f.failing = err != nil
}

func (f *logFile) close() {
	if f != nil {
		_ = f.file.Close() // every line was written when it came
	}
}

// Rotating is a file that becomes an older one, Path.1, when the next write would make
// it larger than Size, and that becomes Path.2. The first write opens it, and one after
// a failure opens it again. It is safe for concurrent use.
type Rotating struct {
	Path string
	Size int64 // bytes
	Keep int   // how many older ones there are

	mu      sync.Mutex
	file    *os.File // guarded by mu; nil before the first write and after a failure
	written int64    // guarded by mu; bytes in file
}

// Write never splits p.
func (f *Rotating) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.open(int64(len(p))); err != nil {
		return 0, fmt.Errorf("cannot write to %q: %w", f.Path, err)
	}
	n, err := f.file.Write(p)
	f.written += int64(n)
	return n, err
}

// open sees to a file with room for n bytes more. Callers hold mu.
func (f *Rotating) open(n int64) error {
	if f.file != nil && f.written > 0 && f.written+n > f.Size {
		if err := f.rotate(); err != nil {
			return err
		}
	}
	if f.file != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.file, f.written = file, info.Size()
	if f.written > 0 && f.written+n > f.Size {
		return f.open(n)
	}
	return nil
}

// rotate makes the file the first of the older ones. Callers hold mu.
func (f *Rotating) rotate() error {
	err := f.file.Close()
	f.file = nil
	older := func(i int) string {
		if i == 0 {
			return f.Path
		}
		return fmt.Sprintf("%s.%d", f.Path, i)
	}
	if f.Keep == 0 {
		return errors.Join(err, os.Remove(f.Path))
	}
	for i := f.Keep - 1; i >= 0; i-- {
		if e := os.Rename(older(i), older(i+1)); !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// Close closes the file; a later Write opens it again.
func (f *Rotating) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}
