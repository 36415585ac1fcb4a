//go:build !linux

package main

import "runtime/debug"

// lean gives back the memory of garbage.
func lean() { debug.FreeOSMemory() }
