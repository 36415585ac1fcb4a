package main

import (
	"bufio"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lean gives back the memory that only the start of this process needed, or work that has ended: garbage, and those pages of
// the program's own file that were read for it. Half of the program is touched by what every package does before main. What
// is needed again comes back from the page cache, 16 pages at a time. Nothing depends on it: where it does not work, it is left.
func lean() {
	debug.FreeOSMemory()
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	self = strings.TrimSuffix(self, " (deleted)") // replaced by a newer one; proc(5)
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer maps.Close()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		start, end, ok := unwritable(lines.Text(), self)
		if ok {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, start, end-start, unix.MADV_DONTNEED)
		}
	}
}

// unwritable reads a line of proc(5) maps, and tells whether it is a part of the file that cannot differ from it.
func unwritable(line, file string) (start, end uintptr, ok bool) {
	f := strings.Fields(line)
	if len(f) < 6 || f[5] != file || !strings.HasPrefix(f[1], "r-") {
		return 0, 0, false
	}
	from, to, _ := strings.Cut(f[0], "-")
	a, err := strconv.ParseUint(from, 16, 64)
	if err != nil {
		return 0, 0, false
	}
	b, err := strconv.ParseUint(to, 16, 64)
	return uintptr(a), uintptr(b), err == nil && a < b
}
