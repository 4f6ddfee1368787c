package notify

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// How many warnings are written in how long: an attack on a thousand hosts with a broken script must not fill the disk.
const (
	linesPerPeriod = 20
	logPeriod      = time.Minute
)

// logger writes warnings at a bounded rate and counts the others.
type logger struct {
	log      *slog.Logger
	silenced atomic.Uint64

	mu     sync.Mutex
	began  time.Time // of the period
	lines  int
	missed uint64 // in the period
}

func newLogger(log *slog.Logger) *logger { return &logger{log: log} }

// quiet is where warnings go that are too many.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// bounded returns the logger while the period has lines left, else one that discards, and counts it.
func (l *logger) bounded() *slog.Logger {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.began) >= logPeriod {
		if l.missed > 0 {
			l.log.Warn("notify warnings left out", "count", l.missed)
		}
		l.began, l.lines, l.missed = now, 0, 0
	}
	l.lines++
	if l.lines > linesPerPeriod {
		l.missed++
		l.silenced.Add(1)
		return quiet()
	}
	return l.log
}
