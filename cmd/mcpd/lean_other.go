//go:build !linux

package main

import "runtime/debug"

// lean gives back the garbage of the start.
func lean() { debug.FreeOSMemory() }
