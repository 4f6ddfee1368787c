package snabb

import (
	"bytes"
	"log/slog"
	"sync"
	"time"
)

// Of what Snabb says, so many lines in so long a time are logged.
const (
	linesMost  = 20
	linesTime  = 10 * time.Second
	lineLength = 500
)

// lines logs what a process writes, at a bounded rate.
type lines struct {
	log *slog.Logger

	mu      sync.Mutex
	partial []byte
	last    string // the last line that was not empty
	begun   time.Time
	logged  int
	left    int // lines that were not logged since begun
}

// Write takes a part of the output. It never fails: a process must not end for what it says.
func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for rest := b; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		l.partial = append(l.partial, line[:min(len(line), lineLength-len(l.partial))]...)
		rest = after
		if !whole {
			break
		}
		if text := string(bytes.TrimSpace(l.partial)); text != "" {
			l.last = text
			if l.may() {
				l.log.Info("snabb says", "line", text)
			}
		}
		l.partial = l.partial[:0]
	}
	return len(b), nil
}

// ended logs why the process ended, within the same bound.
func (l *lines) ended(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.may() {
		l.log.Warn("snabb ended, and is started again", "error", text)
	}
}

// may counts a line, and reports whether it is to be logged.
func (l *lines) may() bool {
	if now := time.Now(); now.Sub(l.begun) > linesTime {
		if l.left > 0 {
			l.log.Info("snabb said more than is logged", "lines", l.left)
		}
		l.begun, l.logged, l.left = now, 0, 0
	}
	if l.logged == linesMost {
		l.left++
		return false
	}
	l.logged++
	return true
}

// latest is the last thing that was said; it is told once.
func (l *lines) latest() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.last
	if rest := string(bytes.TrimSpace(l.partial)); rest != "" {
		text = rest
	}
	l.last, l.partial = "", l.partial[:0]
	return text
}
