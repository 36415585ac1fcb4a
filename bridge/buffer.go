package bridge

import (
	"errors"
	"io"
	"sync"
)

// keptBuffer is the capacity above which a buffer is left to the collector
// instead of the pool, so that one large answer does not pin memory.
const keptBuffer = 4 << 20

type buffer struct{ b []byte }

// buffers is a pool of byte buffers. It belongs to one Server: nothing is
// shared between servers, and a test's fake clock stays in its bubble.
type buffers struct{ pool sync.Pool }

func (p *buffers) get() *buffer {
	if v, ok := p.pool.Get().(*buffer); ok {
		v.b = v.b[:0]
		return v
	}
	return &buffer{b: make([]byte, 0, 4096)}
}

func (p *buffers) put(v *buffer) {
	if v != nil && cap(v.b) <= keptBuffer {
		p.pool.Put(v)
	}
}

var errTooLarge = errors.New("body too large")

// fill reads r to its end, at most limit bytes. hint is the announced length or -1.
func (v *buffer) fill(r io.Reader, hint int64, limit int) error {
	if hint > int64(limit) {
		return errTooLarge
	}
	if int(hint) >= cap(v.b) {
		v.b = make([]byte, 0, int(hint)+1)
	}
	for {
		if len(v.b) == cap(v.b) {
			v.b = append(v.b, 0)[:len(v.b)]
		}
		n, err := r.Read(v.b[len(v.b):cap(v.b)])
		v.b = v.b[:len(v.b)+n]
		if len(v.b) > limit {
			return errTooLarge
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
