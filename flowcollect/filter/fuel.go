package filter

import (
	"errors"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// slice is how many instructions run between two looks at the clock. Most calls end within the first and never look.
const slice = 1024

// bytesAStep is how many bytes a library function may handle for the price of an instruction.
const bytesAStep = 16

// fuel stops a script that runs away. To the interpreter it is a context: it asks Done before each instruction, which is counted
// here. Time runs from the end of the first slice, so that a short call is not blamed when the whole process was held up.
type fuel struct {
	left  int // of this slice; below 0: look at the clock
	used  int // instructions in slices before
	limit time.Duration
	began time.Time // zero: the clock was not looked at yet
	out   bool
	done  chan struct{} // closed
}

var errStopped = errors.New("stopped: it takes too long")

func newFuel() *fuel {
	f := &fuel{done: make(chan struct{})}
	close(f.done)
	return f
}

// fill starts a call.
func (f *fuel) fill(limit time.Duration) {
	f.left, f.used, f.limit, f.began, f.out = slice, 0, limit, time.Time{}, false
}

// burnt is how many instructions the call has used.
func (f *fuel) burnt() int { return f.used + slice - f.left }

// Done is called by the interpreter before each instruction.
func (f *fuel) Done() <-chan struct{} {
	f.left--
	if f.left >= 0 {
		return nil
	}
	return f.look()
}

func (f *fuel) look() <-chan struct{} {
	if !f.out {
		now := time.Now()
		if f.began.IsZero() {
			f.began = now
		}
		f.out = now.Sub(f.began) > f.limit
		f.used += slice - f.left
		f.left = slice
	}
	if f.out {
		f.left = 0
		return f.done
	}
	return nil
}

// charge counts the work of a library function on so many bytes or entries.
func (f *fuel) charge(bytes int) { f.left -= bytes / bytesAStep }

// step counts one step of a library function, and stops it when nothing is left.
func (f *fuel) step(l *lua.LState) {
	f.left--
	if f.left < 0 && f.look() != nil {
		l.RaiseError("%s", errStopped)
	}
}

// Deadline is part of the context: there is none.
func (f *fuel) Deadline() (time.Time, bool) { return time.Time{}, false }

// Err is what the script is stopped with.
func (f *fuel) Err() error { return errStopped }

// Value is part of the context: it holds none.
func (f *fuel) Value(any) any { return nil }
