//go:build !linux

package supervisor

import (
	"syscall"
	"time"
)

// ignores cannot be seen here; a program needs a moment to begin.
func ignores(int, syscall.Signal) bool {
	<-time.After(500 * time.Millisecond)
	return true
}

// zombies cannot be counted here.
func zombies() int { return 0 }

func dancers(string) int { return 0 }

func family(*Supervisor[*lineConn], string) []int { return nil }
