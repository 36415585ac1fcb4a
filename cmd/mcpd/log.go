package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"github.com/mcpd/mcpd/supervisor"
)

// accessFlush is how long an access record may wait in memory for others to be written with it: a
// write to the log for every call would cost more than the call.
const accessFlush = 200 * time.Millisecond

// logs are the daemon's two: what happens to it, written at once, and the access records, written in
// bundles. Both go to the same place.
type logs struct {
	main, access *zap.Logger
	buffer       *zapcore.BufferedWriteSyncer
	file         *supervisor.Rotating // nil: standard error
}

// openLogs writes to cfg.File, or else to w: lines for a person on a terminal, JSON elsewhere, unless cfg says which.
func openLogs(w io.Writer, cfg LogConfig) (*logs, error) {
	level, err := zapcore.ParseLevel(cfg.Level)
	if err != nil {
		return nil, fmt.Errorf("cannot use log level %q: want debug, info, warn or error", cfg.Level)
	}
	var file *supervisor.Rotating
	if cfg.File != "" {
		file = &supervisor.Rotating{Path: cfg.File, Size: int64(cfg.Size), Keep: cfg.Keep}
		if _, err := file.Write(nil); err != nil { // now, when somebody sees it
			return nil, err
		}
		w = fileOr{file, w}
	}
	ec := zap.NewProductionEncoderConfig()
	ec.EncodeTime = zapcore.ISO8601TimeEncoder
	ec.EncodeDuration = zapcore.StringDurationEncoder
	newEncoder := zapcore.NewJSONEncoder
	if cfg.Format == "console" || cfg.Format == "auto" && isTerminal(w) {
		ec.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		ec.EncodeLevel = zapcore.CapitalLevelEncoder
		newEncoder = zapcore.NewConsoleEncoder
	}
	out := zapcore.Lock(zapcore.AddSync(w))
	buffer := &zapcore.BufferedWriteSyncer{WS: out, FlushInterval: accessFlush}
	return &logs{
		main:   zap.New(zapcore.NewCore(newEncoder(ec), out, level)),
		access: zap.New(zapcore.NewCore(newEncoder(ec), buffer, level)).Named("access"),
		buffer: buffer, file: file,
	}, nil
}

// fileOr writes to the file, and where that cannot be to another place: a full disk must not make mcpd mute.
type fileOr struct {
	file *supervisor.Rotating
	or   io.Writer
}

func (f fileOr) Write(p []byte) (int, error) {
	if n, err := f.file.Write(p); err == nil {
		return n, nil
	}
	return f.or.Write(p)
}

// Close writes what waits. That a terminal cannot be synced is no error to report. What is logged later is written all the same.
func (l *logs) Close() {
	_ = l.buffer.Stop()
	if l.file != nil {
		_ = l.file.Close() // every line was written when it came
	}
}

// bridgeSlog sends what libraries write to the process-wide slog default (zitadel/oidc knows no other
// way) into the same log, errors only: it warns of every bad token request, and those anybody can make.
func bridgeSlog(l *zap.Logger) {
	slog.SetDefault(slog.New(zapslog.NewHandler(l.Named("library").WithOptions(zap.IncreaseLevel(zapcore.ErrorLevel)).Core())))
}

// isTerminal tells whether w is a terminal: colours, prompts and secrets shown once go nowhere else.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
