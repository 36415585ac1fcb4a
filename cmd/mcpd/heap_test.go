package main

import "testing"

func TestHeapGrowth(t *testing.T) {
	for live, want := range map[uint64]int{
		0: 400, 3 << 20: 400, 8 << 20: 400, 16 << 20: 200, 32 << 20: 100, 1 << 40: 100,
	} {
		if got := heapGrowth(live); got != want {
			t.Errorf("%d bytes in use may grow by %d %%, want %d", live, got, want)
		}
	}
}
