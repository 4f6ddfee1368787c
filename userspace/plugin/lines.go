package plugin

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// mostLine is how much of a line of output is logged, in bytes.
const mostLine = 1 << 10

// lines logs what a program prints, line by line, at a bounded rate.
type lines struct {
	log      *slog.Logger
	most     int // in a minute
	silenced atomic.Uint64

	mu      sync.Mutex
	began   time.Time // of the minute
	written int       // in the minute
	missed  uint64    // in the minute
	partial bytes.Buffer
}

func newLines(log *slog.Logger, most int) *lines { return &lines{log: log, most: most} }

// Write never fails: a program must not be stopped for what it prints. Of a line's end that comes later the beginning is kept, up to mostLine.
func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(b)
	for {
		line, rest, ended := bytes.Cut(b, []byte{'\n'})
		if room := mostLine - l.partial.Len(); room > 0 {
			l.partial.Write(line[:min(room, len(line))])
		}
		if !ended {
			return n, nil
		}
		l.flush(time.Now())
		b = rest
	}
}

// finish logs a last line that has no end.
func (l *lines) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush(time.Now())
}

// flush logs the line that has come together.
func (l *lines) flush(now time.Time) {
	text := strings.TrimSpace(strings.ToValidUTF8(l.partial.String(), "?"))
	l.partial.Reset()
	if text == "" {
		return
	}
	if l.allowed(now) {
		l.log.Info("plug-in says", "line", text)
	}
}

// allowed reports whether one more line may be logged, and counts it if not.
func (l *lines) allowed(now time.Time) bool {
	if now.Sub(l.began) >= time.Minute {
		if l.missed > 0 {
			l.log.Warn("plug-in's output left out", "lines", l.missed)
		}
		l.began, l.written, l.missed = now, 0, 0
	}
	l.written++
	if l.written > l.most {
		l.missed++
		l.silenced.Add(1)
		return false
	}
	return true
}

// complain logs what the program has done wrong, at the same bounded rate, and keeps it for Stats.
func (p *Plugin) complain(what string, err error) {
	p.blame(err)
	p.output.mu.Lock()
	defer p.output.mu.Unlock()
	if p.output.allowed(time.Now()) {
		p.log.Warn("plug-in is refused something", "what", what, "error", clip(err.Error(), mostError))
	}
}
