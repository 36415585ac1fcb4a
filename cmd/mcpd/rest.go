package main

import (
	"os"
	"time"
)

// A file that somebody is writing, in place and not by a rename, is cut short or empty for a moment, and an empty file is
// a valid configuration without servers.
const (
	restFor   = 20 * time.Millisecond // without a change
	restLimit = time.Second           // nobody is waited for longer; a clock may be wrong
)

// atRest returns when nobody has written to a file for a moment.
func atRest(path string) {
	for begun := time.Now(); time.Since(begun) < restLimit; {
		info, err := os.Stat(path)
		if err != nil { // whoever reads it says so
			return
		}
		left := restFor - time.Since(info.ModTime())
		if left <= 0 {
			return
		}
		time.Sleep(min(left, restFor))
	}
}
