package main

import (
	"bufio"
	"io"
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
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer maps.Close()
	for _, m := range sameAsFile(maps, strings.TrimSuffix(self, " (deleted)")) { // replaced by a newer one; proc(5)
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED)
	}
}

// mapping is a part of this process's memory.
type mapping struct{ start, end uintptr }

// sameAsFile reads proc(5) smaps for the mappings of a file that cannot be written to, and no page of which is other than the
// file's. What the dynamic linker wrote before it took away the right to write (RELRO) is: were it given back, it would be lost.
func sameAsFile(smaps io.Reader, file string) (all []mapping) {
	var at mapping
	ok := false
	for lines := bufio.NewScanner(smaps); lines.Scan(); {
		f := strings.Fields(lines.Text())
		switch {
		case len(f) > 1 && strings.HasSuffix(f[0], ":"):
			if ok && f[0] == "Anonymous:" && f[1] == "0" {
				all = append(all, at)
			}
		default:
			at, ok = unwritable(f, file)
		}
	}
	return all
}

// unwritable reads the first line of a mapping.
func unwritable(f []string, file string) (m mapping, ok bool) {
	if len(f) < 6 || f[5] != file || !strings.HasPrefix(f[1], "r-") || !strings.HasSuffix(f[1], "p") {
		return m, false
	}
	from, to, _ := strings.Cut(f[0], "-")
	a, err := strconv.ParseUint(from, 16, 64)
	if err != nil {
		return m, false
	}
	b, err := strconv.ParseUint(to, 16, 64)
	return mapping{uintptr(a), uintptr(b)}, err == nil && a < b
}
