package bgp

import (
	"context"
	"fmt"
	"log/slog"

	gobgplog "github.com/osrg/gobgp/v3/pkg/log"
)

// logger passes GoBGP's log on, each level one lower than GoBGP has it: what matters of its neighbour's life, the relay reports
// itself.
type logger struct{ log *slog.Logger }

func newLogger(log *slog.Logger) gobgplog.Logger { return &logger{log.With("library", "gobgp")} }

func (l *logger) write(level slog.Level, text string, fields gobgplog.Fields) {
	if !l.log.Enabled(context.Background(), level) {
		return
	}
	attrs := []slog.Attr{slog.String("event", text)}
	for k, v := range fields {
		attrs = append(attrs, slog.String(k, fmt.Sprint(v)))
	}
	l.log.LogAttrs(context.Background(), level, "library message", attrs...)
}

// Panic and Fatal are of GoBGP's own bugs. Both end the child, which is started anew.
func (l *logger) Panic(text string, fields gobgplog.Fields) {
	l.write(slog.LevelError, text, fields)
	panic("gobgp: " + text)
}

func (l *logger) Fatal(text string, fields gobgplog.Fields) { l.Panic(text, fields) }

func (l *logger) Error(text string, fields gobgplog.Fields) { l.write(slog.LevelWarn, text, fields) }
func (l *logger) Warn(text string, fields gobgplog.Fields)  { l.write(slog.LevelInfo, text, fields) }
func (l *logger) Info(text string, fields gobgplog.Fields)  { l.write(slog.LevelDebug, text, fields) }

// Debug writes nothing: at this level GoBGP tells every message.
func (l *logger) Debug(string, gobgplog.Fields) {}

func (l *logger) SetLevel(gobgplog.LogLevel)  {}
func (l *logger) GetLevel() gobgplog.LogLevel { return gobgplog.InfoLevel }
