package router

import (
	"errors"
	"log"
	"strings"
	"syscall"

	"go.uber.org/zap"
)

// noise is what net/http prints when clients behave as clients do: scanners,
// health checks, browsers that hang up. One of them a second tells nobody anything.
var noise = [...]string{
	"TLS handshake error",
	"http2: server", // closing client connection, connection error from, error reading preface
	"http2: received GOAWAY",
	"timeout waiting for SETTINGS frames",
	"timeout waiting for PING response",
	"connection reset by peer",
	"broken pipe",
	"EOF",
	"i/o timeout",
	"use of closed network connection",
}

// errorLog returns an http.Server.ErrorLog that keeps the noise at debug level.
func errorLog(to *zap.Logger) *log.Logger { return log.New(noiseFilter{to}, "", 0) }

type noiseFilter struct{ log *zap.Logger }

func (f noiseFilter) Write(p []byte) (int, error) {
	line := strings.TrimSpace(string(p))
	switch {
	case strings.HasPrefix(line, "http: panic serving"), strings.HasPrefix(line, "http2: panic serving"):
		f.log.Error("handler panicked in mid-answer", zap.String("stack", line))
	case isNoise(line):
		f.log.Debug("http server", zap.String("message", line))
	default:
		f.log.Warn("http server", zap.String("message", line))
	}
	return len(p), nil
}

func isNoise(line string) bool {
	for _, n := range noise {
		if strings.Contains(line, n) {
			return true
		}
	}
	return false
}

func isInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
