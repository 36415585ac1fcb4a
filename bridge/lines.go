package bridge

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"time"
)

// errLine ends a connection whose worker wrote a line above the limit that
// tells of no call, or that does not end.
var errLine = errors.New("the server wrote a line longer than the limit")

const (
	readSize   = 64 << 10 // one pipe's worth
	handedOver = 32 << 10 // a line at least this long keeps the reader's buffer
	keptEnd    = 256      // of either end of a line above the limit
	maxSkipped = 128      // times the limit, of one line
)

// lines cuts a worker's output into lines. Short ones are copied out, a long
// one takes the whole buffer along, so a megabyte is not copied again.
type lines struct {
	r     io.Reader
	pool  *buffers
	limit int
	cur   *buffer
	start int // of what is not yet returned
	seen  int // searched for a line break up to here

	waits atomic.Int64 // since when the rest of a line is waited for, Unix nanoseconds; 0: for none
}

// next returns the next line without its end, or, cut, the first and the last
// keptEnd bytes of one above the limit. The caller owns the buffer.
func (l *lines) next() (line *buffer, cut bool, err error) {
	if l.cur == nil {
		l.cur = &buffer{b: make([]byte, 0, readSize)}
	}
	for {
		if i := bytes.IndexByte(l.cur.b[l.seen:], '\n'); i >= 0 {
			end := l.seen + i
			l.seen = end + 1
			if cut = end-l.start > l.limit; cut {
				line = l.pool.get()
				line.b = append(line.b, l.cur.b[l.start:l.start+keptEnd]...)
				line.b = append(line.b, l.cur.b[end-keptEnd:end]...)
			} else {
				line = l.take(end)
			}
			l.start = l.seen
			return line, cut, nil
		}
		l.seen = len(l.cur.b)
		if l.seen-l.start > l.limit {
			line, err = l.skip()
			return line, true, err
		}
		if err := l.read(); err != nil {
			return nil, false, err
		}
	}
}

// skip reads to the end of a line above the limit.
func (l *lines) skip() (*buffer, error) {
	line := l.pool.get()
	line.b = append(line.b, l.cur.b[l.start:l.start+keptEnd]...)
	large := l.cur.b
	l.cur = &buffer{b: append(make([]byte, 0, readSize), large[len(large)-keptEnd:]...)}
	for n := len(large) - l.start; n <= l.limit*maxSkipped; {
		l.start, l.seen = 0, keptEnd
		if err := l.read(); err != nil {
			return nil, err
		}
		b := l.cur.b
		if i := bytes.IndexByte(b[keptEnd:], '\n'); i >= 0 {
			line.b = append(line.b, b[i:i+keptEnd]...)
			l.start = i + keptEnd + 1
			l.seen = l.start
			return line, nil
		}
		n += len(b) - keptEnd
		l.cur.b = append(b[:0], b[len(b)-keptEnd:]...)
	}
	return nil, errLine
}

// take returns cur[start:end] in a buffer of its own.
func (l *lines) take(end int) *buffer {
	if l.start == 0 && end >= handedOver {
		line := l.cur
		rest := line.b[l.seen:]
		l.cur = &buffer{b: make([]byte, 0, readSize)}
		if v, ok := l.pool.pool.Get().(*buffer); ok && cap(v.b) >= readSize {
			l.cur.b = v.b[:0]
		}
		l.cur.b = append(l.cur.b, rest...)
		l.seen = 0
		line.b = line.b[:end]
		return line
	}
	line := l.pool.get()
	line.b = append(line.b, l.cur.b[l.start:end]...)
	return line
}

// read makes room and reads once.
func (l *lines) read() error {
	b := l.cur.b
	if l.start == len(b) {
		b = b[:0]
		l.start, l.seen = 0, 0
	} else if l.start > 0 {
		n := copy(b, b[l.start:])
		b = b[:n]
		l.seen -= l.start
		l.start = 0
	}
	if len(b) == cap(b) {
		grown := make([]byte, len(b), 2*cap(b))
		copy(grown, b)
		b = grown
	}
	if len(b) > 0 {
		l.waits.Store(time.Now().UnixNano())
	} else if l.waits.Load() != 0 {
		l.waits.Store(0)
	}
	n, err := l.r.Read(b[len(b):cap(b)])
	l.cur.b = b[:len(b)+n]
	if n > 0 {
		return nil
	}
	return err
}
