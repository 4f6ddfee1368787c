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

func (l *logger) debug(message string, args ...any) { l.log.Debug(message, args...) }

func (l *logger) warn(message string, args ...any) {
	l.mu.Lock()
	missed := uint64(0)
	if now := time.Now(); now.Sub(l.began) >= logPeriod {
		l.began, l.lines, missed, l.missed = now, 0, l.missed, 0
	}
	l.lines++
	write := l.lines <= linesPerPeriod
	if !write {
		l.missed++
		l.silenced.Add(1)
	}
	l.mu.Unlock()
	if missed > 0 {
		l.log.Warn("notify warnings left out", "count", missed)
	}
	if write {
		l.log.Warn(message, args...)
	}
}
