package supervisor

import (
	"context"
	"testing"
)

// What every call pays: Acquire and release of a ready worker.
func BenchmarkAcquire(b *testing.B) {
	f := newFakes(b, Options{}, nil)
	defer f.close()
	f.apply(spec(b, "a"))
	_, release := f.acquire("a", "alice")
	release()
	p := f.pool("a")
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		_, release, err := p.Acquire(ctx, "alice")
		if err != nil {
			b.Fatal(err)
		}
		release()
	}
}

// The same with every core at it, on one worker.
func BenchmarkAcquireParallel(b *testing.B) {
	f := newFakes(b, Options{}, nil)
	defer f.close()
	f.apply(spec(b, "a"))
	_, release := f.acquire("a", "alice")
	release()
	p := f.pool("a")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, release, err := p.Acquire(context.Background(), "alice")
			if err != nil {
				b.Error(err)
				return
			}
			release()
		}
	})
}

// A line of standard error, cleaned, masked and kept.
func BenchmarkOutputLine(b *testing.B) {
	o := newOutput(&ring{lines: 1000, bytes: 256 << 10}, newMasker([]string{"hunter2hunter2", "another-secret"}), 1)
	o.limit.SetBurst(1 << 30)
	line := []byte("2026-07-28T12:00:00Z INFO  listening for requests on standard input, 12 tools\n")
	b.ReportAllocs()
	for b.Loop() {
		o.line(line)
	}
}

// One look at the whole process table, as mcpd status and each sweep take it.
func BenchmarkMeasure(b *testing.B) {
	h := newHost(Options{}.withDefaults())
	defer h.close()
	b.ReportAllocs()
	for b.Loop() {
		h.measure()
	}
}
